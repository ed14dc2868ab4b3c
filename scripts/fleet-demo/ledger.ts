import type { HostCount } from './messages.js';
import type { Child } from './processes.js';

/** Requests of all hosts together, between two moments. */
export interface Requests {
  readonly answered: number;
  /** Of versions that failed them, by version. */
  readonly failed: Readonly<Record<number, number>>;
  /** Reached no version at all. */
  readonly lost: number;
}

/** A moment of the ledger. */
export type Counts = ReadonlyMap<string, HostCount>;

/** What every host counted until now. */
export async function countAll(hosts: readonly Child[]): Promise<Counts> {
  return new Map(await Promise.all(hosts.map(async (host) => [host.name, await host.count()] as const)));
}

/** Requests of all hosts from one moment to another. */
export function between(before: Counts, after: Counts): Requests {
  const from = sum(before);
  const to = sum(after);
  const failed: Record<number, number> = {};
  for (const [version, count] of Object.entries(to.failed)) {
    const more = count - (from.failed[Number(version)] ?? 0);
    if (more > 0) failed[Number(version)] = more;
  }
  return { answered: to.answered - from.answered, failed, lost: to.lost - from.lost };
}

export function sum(counts: Counts): Requests {
  const failed: Record<number, number> = {};
  let answered = 0;
  let lost = 0;
  for (const count of counts.values()) {
    lost += count.lost;
    for (const of of count.versions) {
      answered += of.answered;
      if (of.failed > 0) failed[of.version] = (failed[of.version] ?? 0) + of.failed;
    }
  }
  return { answered, failed, lost };
}

/** Hosts that got an answer or a failure from this version at any time. */
export function hostsThatMet(counts: Counts, version: number): readonly string[] {
  return [...counts].flatMap(([host, { versions }]) => (versions.some((of) => of.version === version) ? [host] : []));
}
