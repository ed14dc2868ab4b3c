// I2, I6, I7, I8, I11: what hosts did, by what they wrote down themselves.
import { type ChaosEvent, type EventOf, eventsOf, type Violation } from '../history/events.js';
import { type Checker, grouped, isUp, last, list } from './timeline.js';

interface Standing {
  readonly zone: string;
  readonly versions: readonly number[];
  /** It lost its process, and has not had the model since. */
  excused: boolean;
}

/** I2: of each model and zone no more hosts lack it than may, but for those that lost their process. */
export const availability: Checker = (history) => {
  const zones = new Map(eventsOf(history, 'boot').map(({ host, zone }) => [host, zone]));
  const { maxUnavailable } = history.settings;
  /** By model and host; a host counts from when it has the model first. */
  const models = new Map<string, Map<string, Standing>>();
  const found: Violation[] = [];
  for (const event of history.events) {
    if (event.e === 'final') break;
    if (event.e === 'down') {
      for (const hosts of models.values()) {
        const standing = hosts.get(event.host);
        if (standing) hosts.set(event.host, { ...standing, versions: [], excused: true });
      }
    }
    if (event.e !== 'available') continue;
    const { host, model, versions, t } = event;
    const zone = zones.get(host) ?? '';
    const hosts = models.get(model) ?? new Map<string, Standing>();
    models.set(model, hosts);
    const excused = versions.length === 0 && hosts.get(host)?.excused === true;
    hosts.set(host, { zone, versions, excused });
    const lacking = [...hosts].filter(([, s]) => s.zone === zone && s.versions.length === 0 && !s.excused);
    if (versions.length > 0 || lacking.length <= maxUnavailable) continue;
    const names = lacking.map(([name]) => name).join(' ');
    found.push({ invariant: 'I2', t, message: `${names} of ${zone} lack ${model} at once, ${maxUnavailable} may` });
  }
  return found;
};

/** I6: a host never acts on a lower generation than one that it acted on. */
export const generations: Checker = (history) => {
  const highest = new Map<string, number>();
  const found: Violation[] = [];
  for (const { t, host, model, generation } of eventsOf(history, 'cell', 'list')) {
    if (generation === undefined) continue;
    const key = `${host} ${model}`;
    const before = highest.get(key) ?? 0;
    if (generation < before) {
      found.push({
        invariant: 'I6',
        t,
        message: `${host} acts on generation ${generation} of ${model} after ${before}`,
      });
    }
    highest.set(key, Math.max(before, generation));
  }
  return found;
};

interface Told {
  readonly versions: readonly number[];
  readonly generation: number | undefined;
}

/** I7: a version goes only after a newer document that does not have it. */
export const unloads: Checker = (history) => {
  const found: Violation[] = [];
  /** What the process of a host was told last, and the highest generation with which it was told each version. */
  const told = new Map<string, Told>();
  const keptBy = new Map<string, number>();
  const had = new Map<string, readonly number[]>();
  const check = (t: number, host: string, model: string, version: number): void => {
    const now = told.get(`${host} ${model}`);
    const kept = keptBy.get(`${host} ${model} ${version}`) ?? 0;
    if (now && !now.versions.includes(version) && (now.generation ?? 0) > kept) return;
    const why = now
      ? `told ${list(now.versions)} by generation ${now.generation}, and to have it by ${kept}`
      : 'told nothing';
    found.push({ invariant: 'I7', t, message: `${host} lets ${model} ${version} go, ${why}` });
  };
  const forget = (host: string): void => {
    for (const map of [told, keptBy, had]) {
      for (const key of map.keys()) if (key.startsWith(`${host} `)) map.delete(key);
    }
  };
  for (const event of history.events) {
    if (event.e === 'final') break;
    if (event.e === 'down' || event.e === 'boot') forget(event.host);
    if (event.e === 'list') noteList(event, told, keptBy);
    if (event.e === 'unloaded') check(event.t, event.host, event.model, event.version);
    if (event.e !== 'available') continue;
    const key = `${event.host} ${event.model}`;
    const gone = (had.get(key) ?? []).filter((version) => !event.versions.includes(version));
    for (const version of gone) check(event.t, event.host, event.model, version);
    had.set(key, event.versions);
  }
  return found;
};

function noteList(event: EventOf<'list'>, told: Map<string, Told>, keptBy: Map<string, number>): void {
  const { host, model, versions, generation } = event;
  told.set(`${host} ${model}`, { versions, generation });
  for (const version of versions) keptBy.set(`${host} ${model} ${version}`, generation ?? 0);
}

/** I8: what a host has loaded and is loading fits into its memory. */
export const memory: Checker = (history) => {
  const found: Violation[] = [];
  const capacity = new Map<string, number>();
  const used = new Map<string, number>();
  for (const event of history.events) {
    if (event.e === 'boot') {
      capacity.set(event.host, event.capacity);
      used.set(event.host, 0);
    }
    if (event.e !== 'loading' && event.e !== 'failed' && event.e !== 'unloaded') continue;
    const { t, host, model, version, bytes } = event;
    const now = (used.get(host) ?? 0) + (event.e === 'loading' ? bytes : -bytes);
    used.set(host, now);
    const most = capacity.get(host) ?? Number.POSITIVE_INFINITY;
    if (now <= most) continue;
    found.push({ invariant: 'I8', t, message: `${host} has ${now} of ${most} bytes with ${model} ${version}` });
  }
  return found;
};

/** No request is refused by a host that has the model, whatever is switched or away. */
export const requests: Checker = (history) => {
  const found: Violation[] = [];
  /** By host and model: it was without the model at some time since the last sum. */
  const lacked = new Map<string, boolean>();
  const has = new Map<string, boolean>();
  for (const event of history.events) {
    if (event.e === 'available') {
      const key = `${event.host} ${event.model}`;
      has.set(key, event.versions.length > 0);
      if (event.versions.length === 0 || !lacked.has(key)) lacked.set(key, true);
    }
    if (event.e !== 'requests') continue;
    const { t, host, model, refused } = event;
    const key = `${host} ${model}`;
    if (refused > 0 && lacked.get(key) === false) {
      found.push({ invariant: 'requests', t, message: `${host} has ${model}, and refused ${refused} requests` });
    }
    lacked.set(key, has.get(key) !== true);
  }
  return found;
};

/** I11: in the end every host has what it is to have, and, without a rollout, is to have what is stable. */
export const convergence: Checker = (history) => {
  const final = eventsOf(history, 'final').at(-1);
  if (!final) return [{ invariant: 'I11', t: 0, message: 'The run did not come to its end' }];
  const found: Violation[] = [];
  const say = (message: string): void => void found.push({ invariant: 'I11', t: final.t, message });
  for (const [host, boots] of grouped(eventsOf(history, 'boot'), (boot) => boot.host)) {
    const models = new Set(
      eventsOf(history, 'available').flatMap((event) => (event.host === host ? [event.model] : [])),
    );
    if (!isUp(history.events, host)) say(`${host} is down, after ${boots.length} starts`);
    else for (const model of models) checkEnd(history.events, final, host, model, say);
  }
  for (const { host, model, versions, primary } of final.desired) {
    const { stable, active } = final.models.find(({ name }) => name === model) ?? {};
    if (stable === undefined || active !== undefined || (primary === stable && versions.length === 1)) continue;
    say(`${host} is to have ${list(versions)} primary ${primary} of ${model} in the end, and ${stable} is stable`);
  }
  return found;
};

function checkEnd(
  events: readonly ChaosEvent[],
  final: EventOf<'final'>,
  host: string,
  model: string,
  say: (message: string) => void,
): void {
  const ofHost = <K extends 'available' | 'cell'>(kind: K): EventOf<K> | undefined =>
    last(events, (event) => event.e === kind && event.host === host && event.model === model) as EventOf<K> | undefined;
  const desired = final.desired.find((cell) => cell.host === host && cell.model === model);
  const has = ofHost('available');
  const accepted = ofHost('cell');
  if (!desired) {
    say(`${host} is told nothing of ${model}`);
    return;
  }
  const wanted = `${list(desired.versions)} primary ${desired.primary}`;
  const real = `${list(has?.versions ?? [])} primary ${has?.primary}`;
  if (wanted !== real) say(`${host} has ${real} of ${model}, and is to have ${wanted}`);
  else if (accepted && accepted.generation < desired.generation) {
    say(`${host} acts on generation ${accepted.generation} of ${model}, the store has ${desired.generation}`);
  }
}
