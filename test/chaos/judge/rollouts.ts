// I1, I3, I4, I12, and what gates are for: rollouts, by what controllers and hosts wrote down.
import { isWorse } from '../fleet.js';
import { type EventOf, eventsOf, type History, type Violation } from '../history/events.js';
import { type Checker, commitsBy, disturbances, epochOf, epochOfCommits, hurried, uncovered } from './timeline.js';

/** I1: commits of two rollouts of one model are never mixed. */
export const oneActive: Checker = (history) => {
  const found: Violation[] = [];
  for (const commits of commitsBy(history, ({ model }) => model).values()) {
    const over = new Set<string>();
    let current: string | undefined;
    for (const { rollout, model, t } of commits) {
      if (over.has(rollout)) {
        found.push({
          invariant: 'I1',
          t,
          message: `${rollout} goes on after ${current} has begun; both are of ${model}`,
        });
      }
      over.delete(rollout);
      if (current !== undefined && current !== rollout) over.add(current);
      current = rollout;
    }
  }
  return found;
};

/** Time that what was disturbed takes to be right again, ms. */
const AFTERMATH_MS = 3_000;

/** I3: no host ends on a version that was taken back, and none keeps it for long. */
export const tombstones: Checker = (history) => {
  const found: Violation[] = [];
  const { rollbackMs } = history.settings;
  const calm = disturbances(history, AFTERMATH_MS);
  const epoch = epochOf(history);
  const commitEpoch = epochOfCommits(history);
  for (const taken of eventsOf(history, 'commit')) {
    const { tombstone, model, outcome } = taken;
    if (tombstone === undefined || outcome !== 'committed') continue;
    for (const { host, from, to } of stays(history, model, tombstone)) {
      // What the store has forgotten it can tell nobody; that hosts remember is another checker's.
      if (commitEpoch(taken) !== epoch(to)) continue;
      const ms = uncovered({ from: Math.max(from, taken.t), to }, calm);
      if (to <= taken.t || ms <= rollbackMs) continue;
      const message = `${host} keeps ${model} ${tombstone} for ${Math.round(ms)} undisturbed ms after it was taken back`;
      found.push({ invariant: 'I3', t: to, message });
    }
  }
  const final = eventsOf(history, 'final').at(-1);
  for (const { name, tombstones: bad } of final?.models ?? []) {
    for (const version of bad) {
      for (const { host, to } of stays(history, name, version)) {
        if (to < (final?.t ?? 0)) continue;
        found.push({ invariant: 'I3', t: to, message: `${host} ends with ${name} ${version}, which is a tombstone` });
      }
    }
  }
  return found;
};

/** When which host could have been asked for a version. */
function stays(history: History, model: string, version: number): { host: string; from: number; to: number }[] {
  const since = new Map<string, number>();
  const all: { host: string; from: number; to: number }[] = [];
  const leave = (host: string, to: number): void => {
    const from = since.get(host);
    if (from !== undefined) all.push({ host, from, to });
    since.delete(host);
  };
  let end = 0;
  for (const event of history.events) {
    end = event.t;
    if (event.e === 'final') break;
    if (event.e === 'down') leave(event.host, event.t);
    if (event.e !== 'available' || event.model !== model) continue;
    if (!event.versions.includes(version)) leave(event.host, event.t);
    else if (!since.has(event.host)) since.set(event.host, event.t);
  }
  for (const host of [...since.keys()]) leave(host, end);
  return all;
}

/** I4: every rollout ends, in bounded time after the faults. */
export const endings: Checker = (history) => {
  const quiet = eventsOf(history, 'quiet').at(-1);
  const losses = eventsOf(history, 'lost-writes');
  const limit = (quiet?.t ?? Number.POSITIVE_INFINITY) + history.settings.endsWithinMs;
  return eventsOf(history, 'started').flatMap(({ rollout, t }): Violation[] => {
    const end = eventsOf(history, 'ended').find((ended) => ended.rollout === rollout);
    if (!end) return [{ invariant: 'I4', t: limit, message: `${rollout} has not ended` }];
    const unknown = end.outcome === 'unknown to the store';
    if (unknown && !losses.some((loss) => loss.t >= t)) {
      return [{ invariant: 'I4', t: end.t, message: `${rollout} is gone, and no writes were lost` }];
    }
    if (end.t <= limit) return [];
    return [{ invariant: 'I4', t: end.t, message: `${rollout} ended ${Math.round(end.t - limit)} ms too late` }];
  });
};

const AFTER_BAKE = new Set(['Prefetch', 'Expand', 'WaitReady', 'Flip']);

/** I12: no bake is shorter than it is to be; by the store's clock, and by what hosts did. */
export const bakes: Checker = (history) => {
  const skipped = hurried(history);
  const found: Violation[] = [];
  for (const commits of commitsBy(history, ({ rollout }) => rollout).values()) {
    if (commits[0] && skipped.has(commits[0].rollout)) continue;
    found.push(...shortBakes(commits, history.settings.bakeMs));
  }
  const epoch = epochOf(history);
  const end = history.events.at(-1)?.t ?? 0;
  for (const started of eventsOf(history, 'started')) {
    const over = eventsOf(history, 'ended').find(({ rollout }) => rollout === started.rollout)?.t ?? end;
    if (skipped.has(started.rollout) || epoch(started.t) !== epoch(over)) continue;
    found.push(...earlyHosts(history, started));
  }
  return found;
};

function shortBakes(commits: readonly EventOf<'commit'>[], bakeMs: number): Violation[] {
  const begun = new Map<number, number>();
  return commits.flatMap(({ phase, wave, at, t, rollout }): Violation[] => {
    if (phase === 'Bake' && !begun.has(wave)) begun.set(wave, at);
    const done = phase === 'Contract' ? wave : AFTER_BAKE.has(phase) ? wave - 1 : -1;
    const since = begun.get(done);
    if (since === undefined) return [];
    begun.delete(done);
    if (at - since >= bakeMs) return [];
    return [{ invariant: 'I12', t, message: `${rollout} baked wave ${done + 1} for ${at - since} ms, not ${bakeMs}` }];
  });
}

/** Hosts of a wave that were told before those of the wave before had served for as long as a bake takes. */
function earlyHosts(history: History, { rollout, model, version, waves, t: begin }: EventOf<'started'>): Violation[] {
  const told = new Map<number, number>();
  const flipped = new Map<number, number>();
  const first = (map: Map<number, number>, wave: number | undefined, t: number): void => {
    if (wave !== undefined && !map.has(wave)) map.set(wave, t);
  };
  for (const event of history.events) {
    if (event.t < begin) continue;
    if (event.e === 'list' && event.model === model && event.versions.includes(version)) {
      first(told, waves[event.host], event.t);
    }
    if (event.e === 'available' && event.model === model && event.primary === version) {
      first(flipped, waves[event.host], event.t);
    }
  }
  return [...told].flatMap(([wave, t]): Violation[] => {
    const before = flipped.get(wave - 1);
    if (wave === 0 || (before !== undefined && t - before >= history.settings.bakeMs)) return [];
    const message =
      before === undefined
        ? `hosts of wave ${wave + 1} of ${rollout} were told before any of the wave before served`
        : `hosts of wave ${wave + 1} of ${rollout} were told ${Math.round(t - before)} ms after the wave before served`;
    return [{ invariant: 'I12', t, message }];
  });
}

/** F7: a version that does harm is not made stable, unless an operator passes over the gates. */
export const gates: Checker = (history) => {
  const skipped = hurried(history);
  const started = new Map(eventsOf(history, 'started').map((event) => [event.rollout, event]));
  return eventsOf(history, 'ended').flatMap(({ rollout, outcome, t }): Violation[] => {
    const { version = 0, from = 0 } = started.get(rollout) ?? {};
    // An operator, or a store that is restored from hosts that have it, can have made another one like it stable.
    if (!outcome.endsWith('Promoted') || !isWorse(version, from) || skipped.has(rollout)) return [];
    return [{ invariant: 'gates', t, message: `${rollout} made the poisoned version ${version} stable` }];
  });
};
