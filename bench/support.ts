// Managers full of models that do nothing.
import { AspiredVersionsManager, type Loader } from 'aspired';

/** A servable that does nothing. */
export interface NoOp {
  readonly value: number;
}

/** Names as a service has them: a common part and a number. */
export function namesOf(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `models/servable-${i}`);
}

/** A loader that does nothing. */
export function noOpLoader(value: number): Loader<NoOp> {
  const servable: NoOp = { value };
  return { load: () => servable };
}

/** A manager with version 1 of each name Available. */
export async function managerOf(names: readonly string[]): Promise<AspiredVersionsManager> {
  const manager = new AspiredVersionsManager();
  await aspireAll(manager, names, 1);
  return manager;
}

/** Aspires `version` of each name, and waits until everything has settled. */
export async function aspireAll(
  manager: AspiredVersionsManager,
  names: readonly string[],
  version: number,
): Promise<void> {
  const transitions = names.map((name, i) => manager.setAspiredVersions(name, [{ version, loader: noOpLoader(i) }]));
  await Promise.all(transitions.map(({ settled }) => settled));
}
