// Models without a rollout, after the store lost writes: hosts are ahead of it, and would not listen to it any more.
import { randomUUID } from 'node:crypto';
import { MAX_WRITES } from '../rollout/types.js';
import type { FleetStore } from '../store/types.js';
import { decoded } from './cell-book.js';
import { badOf, electStable, type ModelTestimony, Testimony } from './testimony.js';

const CHUNK = 200;

/**
 * Looks at all reports. For each model that no rollout is active for, and that hosts know a newer generation of than the
 * store: what most hosts serve becomes stable, what a host was told to take back becomes a tombstone, and every host is
 * told so with a generation above all that were seen. The answer is the models that were mended.
 *
 * Rollouts see to their own models.
 */
export async function mendLostWrites(store: FleetStore, hosts: readonly string[]): Promise<readonly string[]> {
  const testimony = new Testimony();
  for (let from = 0; from < hosts.length; from += CHUNK) {
    const reports = await store.readReports(hosts.slice(from, from + CHUNK));
    for (const report of reports) if (report) testimony.add(report);
  }
  const mended: string[] = [];
  for (const [model, said] of testimony.models) {
    if (await mendModel(store, model, said, hosts)) mended.push(model);
  }
  return mended;
}

async function mendModel(
  store: FleetStore,
  name: string,
  said: ModelTestimony,
  hosts: readonly string[],
): Promise<boolean> {
  const model = await store.model(name);
  const stored = model?.generation ?? 0;
  if (model?.active !== undefined) return false;
  if (said.generation <= stored && !(await isAhead(store, name, hosts))) return false;
  const stable = electStable(said, model?.tombstones) ?? model?.stable;
  const tombstones = badOf(said).filter((version) => version !== stable);
  let expectGeneration = stored;
  for (let from = 0; from < hosts.length; from += MAX_WRITES) {
    const chunk = hosts.slice(from, from + MAX_WRITES);
    const answer = await store.assertCells({
      model: name,
      expectGeneration,
      generationAbove: said.generation,
      hosts: chunk,
      writes:
        stable === undefined ? [] : chunk.map((_, place) => ({ place, cell: { versions: [stable], primary: stable } })),
      ...(stable !== undefined && { stable }),
      tombstones,
      intent: {
        actor: 'controller',
        reason: `hosts accepted generation ${said.generation}, the store had ${stored}: its last writes were lost`,
        operation: randomUUID(),
      },
    });
    if (answer.outcome === 'conflict') return false;
    expectGeneration = answer.generation;
  }
  return true;
}

/** Whether a host accepted a newer generation than its cell has: a mending that did not get to the end. */
async function isAhead(store: FleetStore, model: string, hosts: readonly string[]): Promise<boolean> {
  const cells = await store.readCells(model, hosts);
  const reports = await store.readReports(hosts, [model]);
  return reports.some((report, index) => {
    const accepted = report?.models.get(model)?.generation ?? 0;
    return accepted > (decoded(cells[index])?.generation ?? 0);
  });
}
