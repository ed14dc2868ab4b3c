// I5, I9: what was acknowledged, against the audit trail.
import { type AuditLine, type EventOf, eventsOf, type History, type Violation } from '../history/events.js';
import { type Checker, commitsBy, epochOfCommits, grouped, isUp, last } from './timeline.js';

/** I5: one line per commit, without gaps; each commit follows the one that it meant to; nothing after the end. */
export const audit: Checker = (history) => {
  const final = eventsOf(history, 'final').at(-1);
  const trail = Object.values(final?.audit ?? {}).flat();
  return [
    ...fencing(history),
    ...gaps(trail, final),
    ...missing(history, trail, final),
    ...trail
      .filter(({ actor }) => actor === '')
      .map(({ rollout, event }) => ({
        invariant: 'I5',
        t: final?.t ?? 0,
        message: `nobody did ${event} of ${rollout}`,
      })),
  ];
};

function fencing(history: History): Violation[] {
  const found: Violation[] = [];
  const say = (t: number, message: string): void => void found.push({ invariant: 'I5', t, message });
  for (const commits of commitsBy(history, ({ rollout }) => rollout).values()) {
    const seen = new Set<number>();
    let end: EventOf<'commit'> | undefined;
    for (const commit of commits) {
      const { t, rollout, revision, expected, phase, by } = commit;
      if (revision !== expected + 1) say(t, `${by} wrote revision ${revision} of ${rollout} on top of ${expected}`);
      if (seen.has(revision)) say(t, `revision ${revision} of ${rollout} was written twice`);
      seen.add(revision);
      if (end && phase !== 'Ended') say(t, `${by} wrote ${phase} of ${rollout} after its end as ${end.end}`);
      if (phase === 'Ended') end ??= commit;
    }
  }
  for (const { t, rollout, revision, outcome, again, by } of eventsOf(history, 'resent')) {
    if (outcome === 'duplicate' && again === revision) continue;
    say(t, `${by} sent revision ${revision} of ${rollout} twice: ${outcome}, ${again}`);
  }
  return found;
}

function gaps(trail: readonly AuditLine[], final: EventOf<'final'> | undefined): Violation[] {
  const t = final?.t ?? 0;
  const lines = trail.filter(({ rollout, revision }) => rollout !== '' && revision !== undefined);
  return [...grouped(lines, ({ rollout }) => rollout)].flatMap(([rollout, entries]): Violation[] => {
    const revisions = entries.map(({ revision }) => revision as number);
    const found: Violation[] = [];
    if (revisions.some((revision, index) => revision !== index)) {
      found.push({ invariant: 'I5', t, message: `the audit of ${rollout} has the revisions ${revisions.join()}` });
    }
    const record = final?.rollouts.find(({ id }) => id === rollout);
    if (record?.revision !== undefined && record.revision !== revisions.length - 1) {
      const message = `${rollout} is at revision ${record.revision}, its audit has ${revisions.length} lines`;
      found.push({ invariant: 'I5', t, message });
    }
    return found;
  });
}

/** Commits that were acknowledged since the last loss, and that the trail does not have. */
function missing(history: History, trail: readonly AuditLine[], final: EventOf<'final'> | undefined): Violation[] {
  if (!final) return [];
  const epoch = epochOfCommits(history);
  const losses = eventsOf(history, 'lost-writes').length;
  return eventsOf(history, 'commit').flatMap((commit): Violation[] => {
    const { t, rollout, revision, outcome } = commit;
    if (outcome !== 'committed' || epoch(commit) !== losses) return [];
    const lines = trail.filter((line) => line.rollout === rollout && line.revision === revision);
    if (lines.length === 1) return [];
    return [
      { invariant: 'I5', t, message: `the audit has ${lines.length} lines for revision ${revision} of ${rollout}` },
    ];
  });
}

const BACK = new Set(['Aborted', 'Undone', 'RolledBack', 'StoreLost', 'unknown to the store']);

/** I9: a verb that was acknowledged is in the trail, and an abort stays one, as far as a host remembers it. */
export const verbs: Checker = (history) => {
  const final = eventsOf(history, 'final').at(-1);
  const trail = Object.values(final?.audit ?? {}).flat();
  const losses = eventsOf(history, 'lost-writes');
  const found: Violation[] = [];
  for (const verb of eventsOf(history, 'verb')) {
    const { t, rollout, outcome, actor, replicated, sent } = verb;
    if (outcome !== 'applied' && outcome !== 'pending') continue;
    // A snapshot that is older than the verb does not have it; nor has a store that was emptied.
    const lost = losses.some((loss) => loss.t >= sent && (loss.since ?? Number.NEGATIVE_INFINITY) <= t);
    const kept = trail.some((line) => line.actor === actor && (line.event === verb.verb || line.event === 'start'));
    if (!lost && !kept && replicated >= history.settings.replicas) {
      found.push({
        invariant: 'I9',
        t,
        message: `${verb.verb} of ${rollout} (${actor}) was ${outcome}, and is not in the audit`,
      });
    }
    if (verb.verb === 'abort' && outcome === 'applied') found.push(...undoneAbort(history, verb, lost));
  }
  return found;
};

function undoneAbort(history: History, { sent, rollout }: EventOf<'verb'>, lost: boolean): Violation[] {
  const started = eventsOf(history, 'started').find((event) => event.rollout === rollout);
  if (!started || (lost && !isKept(history, rollout) && !isWitnessed(history, started, sent))) return [];
  const { model, version } = started;
  const found: Violation[] = [];
  const end = last(eventsOf(history, 'ended'), (event) => event.rollout === rollout);
  if (end && !BACK.has(end.outcome)) {
    found.push({ invariant: 'I9', t: end.t, message: `${rollout} was aborted, and ended as ${end.outcome}` });
  }
  const hosts = new Set(eventsOf(history, 'boot').map(({ host }) => host));
  for (const host of hosts) {
    const has = last(eventsOf(history, 'available'), (event) => event.host === host && event.model === model);
    if (!has?.versions.includes(version) || !isUp(history.events, host)) continue;
    found.push({
      invariant: 'I9',
      t: has.t,
      message: `${rollout} was aborted, and ${host} ends with version ${version}`,
    });
  }
  return found;
}

/** Whether the rollout had ended before each export that a store was restored from: what it took back is in there. */
function isKept(history: History, rollout: string): boolean {
  const over = eventsOf(history, 'ended').find((ended) => ended.rollout === rollout)?.t ?? Number.POSITIVE_INFINITY;
  const losses = eventsOf(history, 'lost-writes').filter(({ t }) => t >= over);
  return losses.length > 0 && losses.every(({ exported = Number.NEGATIVE_INFINITY }) => exported >= over);
}

/** Whether, when writes were lost, a host that lives knew that the version had been taken back. */
function isWitnessed({ events }: History, { model, version }: EventOf<'started'>, since: number): boolean {
  const loss = events.find((event) => event.e === 'lost-writes' && event.t >= since);
  if (!loss) return false;
  const before = events.filter((event) => event.t < loss.t);
  const knows = new Map<string, boolean>();
  for (const event of before) {
    if (event.e !== 'cell' || event.model !== model) continue;
    if (event.rolledBack?.includes(version)) knows.set(event.host, true);
    else if (event.versions.includes(version)) knows.set(event.host, false);
  }
  const isSteady = (host: string): boolean =>
    isUp(before, host) && !events.some((event) => event.e === 'down' && event.host === host && event.t >= loss.t);
  return [...knows].some(([host, knowing]) => knowing && isSteady(host));
}
