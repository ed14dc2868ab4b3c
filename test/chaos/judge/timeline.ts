// What several checkers want to know of a history.
import { type ChaosEvent, type EventOf, eventsOf, type History, type Violation } from '../history/events.js';

export type Checker = (history: History) => Violation[];

/** A span of time, monotonic ms. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** When the store lost writes: what was told before the first of them and after the last is of different stores. */
export function epochOf(history: Pick<History, 'events'>): (t: number) => number {
  const losses = eventsOf(history, 'lost-writes').map(({ t }) => t);
  return (t) => losses.filter((loss) => loss <= t).length;
}

/** The same for a commit, by the store's clock: its answer may be written down after the loss that it came before. */
export function epochOfCommits(history: Pick<History, 'events'>): (commit: EventOf<'commit'>) => number {
  const losses = eventsOf(history, 'lost-writes');
  return (commit) => losses.filter(({ t, at }) => (at === undefined ? t <= commit.t : at < commit.at)).length;
}

/** Commits that were carried out, by epoch and a key of the caller's, in the order of the store's clock. */
export function commitsBy(
  history: Pick<History, 'events'>,
  key: (commit: EventOf<'commit'>) => string,
): ReadonlyMap<string, readonly EventOf<'commit'>[]> {
  const epoch = epochOfCommits(history);
  const groups = new Map<string, EventOf<'commit'>[]>();
  for (const commit of eventsOf(history, 'commit')) {
    if (commit.outcome !== 'committed') continue;
    const name = `${epoch(commit)} ${key(commit)}`;
    groups.set(name, [...(groups.get(name) ?? []), commit]);
  }
  for (const group of groups.values()) group.sort((a, b) => a.at - b.at || a.revision - b.revision);
  return groups;
}

export function last<T>(items: readonly T[], matches: (item: T) => boolean): T | undefined {
  return items.findLast(matches);
}

/** Whether a host has a process now: its last word is that it began. */
export function isUp(events: readonly ChaosEvent[], host: string): boolean {
  const word = last(events, (event) => (event.e === 'boot' || event.e === 'down') && event.host === host);
  return word?.e === 'boot';
}

/** When something was wrong, with the time that it takes to be right again. */
export function disturbances(history: Pick<History, 'events'>, aftermathMs: number): readonly Span[] {
  const overs = eventsOf(history, 'fault-over');
  const end = history.events.at(-1)?.t ?? 0;
  return eventsOf(history, 'fault').map(({ n, t }) => ({
    from: t,
    to: (overs.find((over) => over.n === n)?.t ?? end) + aftermathMs,
  }));
}

/** How much of a span none of the others covers, in ms. */
export function uncovered({ from, to }: Span, others: readonly Span[]): number {
  let at = from;
  let free = 0;
  for (const other of [...others].sort((a, b) => a.from - b.from)) {
    if (other.from > at) free += Math.max(0, Math.min(other.from, to) - at);
    at = Math.max(at, other.to);
  }
  return free + Math.max(0, to - at);
}

/** Rollouts whose bakes and gates an operator passed over, or tried to. */
export function hurried(history: Pick<History, 'events'>): ReadonlySet<string> {
  const verbs = eventsOf(history, 'verb').filter(({ verb }) => verb === 'promote' || verb === 'promote-full');
  return new Set(verbs.map(({ rollout }) => rollout));
}

/** Groups in the order of their first members. */
export function grouped<T>(items: readonly T[], key: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

export function list(versions: readonly number[]): string {
  return `{${versions.join()}}`;
}
