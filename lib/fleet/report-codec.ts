// Reports as text. One model is a line like that of its cell, with the state of each version as a letter, and what few
// versions have (errors, traffic) as JSON at the end:
//
//   1;57;42A:1048576:812,43L*;j{"43":{"e":[...]}}
//
// schema 1, generation 57; 42 is Available, takes 1 MiB and was loaded in 812 ms; 43, the primary, is loading.
//   =N primary that is none of the versions   rN,N rolled back by this generation   j... JSON, always the last
import { AspiredError } from '../errors.js';
import { describe } from '../options.js';
import { encodeNumber, Fields } from './codec.js';
import { FLEET_SCHEMA, type HostInfo, type HostStatus, type ModelReport, type VersionReport } from './types.js';

type State = VersionReport['managerState'];
type Traffic = NonNullable<VersionReport['traffic']>;

const LETTERS: Readonly<Record<State, string>> = {
  Start: 'S',
  Loading: 'L',
  Available: 'A',
  Unloading: 'U',
  End: 'E',
  Prefetching: 'f',
  Prefetched: 'F',
};
const STATES = new Map(Object.entries(LETTERS).map(([state, letter]) => [letter, state as State]));
/** Version, state, bytes, milliseconds, star. */
const VERSION = /^(\d+)([A-Za-z])(?::([\d.e+-]*))?(?::([\d.e+-]*))?(\*?)$/;

/** What is said of a version in JSON: [code, message, attempts, permanent], and the traffic as numbers. */
interface Extra {
  readonly e?: readonly [string, string, number, 0 | 1];
  /** Requests, errors, in flight, sum of ms, max ms, the first bucket that counted, and the counts from there. */
  readonly t?: readonly number[];
}

/** The text of a report of one model. */
export function encodeModelReport(report: ModelReport): string {
  const { primary, rolledBack } = report;
  const extras: Record<string, Extra> = {};
  const versions = report.versions.map((version) => {
    const extra = extraOf(version);
    if (extra) extras[version.version] = extra;
    return encodeVersion(version, primary);
  });
  let text = `${FLEET_SCHEMA};${encodeNumber('generation', report.generation)};${versions.join(',')}`;
  if (primary !== undefined && !report.versions.some(({ version }) => version === primary)) {
    text += `;=${encodeNumber('primary', primary)}`;
  }
  if (rolledBack && rolledBack.length > 0)
    text += `;r${rolledBack.map((v) => encodeNumber('rolledBack', v)).join(',')}`;
  if (Object.keys(extras).length > 0) text += `;j${JSON.stringify(extras)}`;
  return text;
}

/**
 * The report that a text says.
 *
 * @throws AspiredError ERR_DOCUMENT_UNDECODABLE, ERR_SCHEMA_UNSUPPORTED
 */
export function decodeModelReport(text: string): ModelReport {
  const fields = new Fields('A report of a model', text);
  const generation = fields.number(fields.next());
  const items = fields.next();
  let primary: number | undefined;
  let rolledBack: readonly number[] | undefined;
  let extras: Readonly<Record<string, Extra>> = {};
  for (let field = fields.more(); field !== undefined; field = fields.more()) {
    if (field[0] === '=') primary = fields.number(field.slice(1));
    else if (field[0] === 'r')
      rolledBack = field
        .slice(1)
        .split(',')
        .map((item) => fields.number(item));
    else if (field[0] === 'j') extras = parseExtras(fields, fields.restFrom(field).slice(1));
  }
  const versions: VersionReport[] = [];
  for (const item of items === '' ? [] : items.split(',')) {
    const [, version = '', letter = '', ram, loadMs, star] = VERSION.exec(item) ?? [];
    const managerState = STATES.get(letter);
    if (managerState === undefined) throw fields.undecodable(`${JSON.stringify(item)} is no version with its state`);
    const number = fields.number(version);
    if (star) primary = number;
    versions.push({
      version: number,
      managerState,
      ...(ram ? { ramBytes: measure(fields, ram) } : {}),
      ...(loadMs ? { loadMs: measure(fields, loadMs) } : {}),
      ...decodeExtra(fields, extras[version]),
    });
  }
  return {
    generation,
    versions,
    ...(primary === undefined ? {} : { primary }),
    ...(rolledBack ? { rolledBack } : {}),
  };
}

function encodeVersion({ version, managerState, ramBytes, loadMs }: VersionReport, primary?: number): string {
  const ram = ramBytes === undefined ? '' : measured('ramBytes', ramBytes);
  const load = loadMs === undefined ? '' : measured('loadMs', loadMs);
  const tail = load === '' ? (ram === '' ? '' : `:${ram}`) : `:${ram}:${load}`;
  return `${encodeNumber('version', version)}${LETTERS[managerState]}${tail}${version === primary ? '*' : ''}`;
}

function measured(name: string, value: number): string {
  if (Number.isFinite(value) && value >= 0) return String(value + 0);
  throw new AspiredError(
    'ERR_INVALID_ARGUMENT',
    `Expected a number >= 0 for ${name}, but received ${describe(value)}.`,
  );
}

function measure(fields: Fields, text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw fields.undecodable(`${JSON.stringify(text)} is no measure`);
  return value;
}

function extraOf({ error, traffic }: VersionReport): Extra | undefined {
  if (!error && !traffic) return undefined;
  return {
    ...(error ? { e: [error.code, error.message, error.attempts, error.permanent ? 1 : 0] } : {}),
    ...(traffic ? { t: encodeTraffic(traffic) } : {}),
  };
}

function encodeTraffic({ requests, errors, inFlight, sumMs, maxMs, counts }: Traffic): number[] {
  let first = 0;
  while (first < counts.length && counts[first] === 0) first++;
  return [requests, errors, inFlight, rounded(sumMs), rounded(maxMs), first, ...counts.slice(first)];
}

/** Microseconds are enough, and a third of the digits. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function parseExtras(fields: Fields, json: string): Readonly<Record<string, Extra>> {
  const extras: unknown = parseJson(fields, json);
  if (typeof extras !== 'object' || extras === null) throw fields.undecodable('its JSON is no object');
  return extras as Readonly<Record<string, Extra>>;
}

function parseJson(fields: Fields, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw fields.undecodable('its JSON is broken', error);
  }
}

function decodeExtra(fields: Fields, extra: Extra | undefined): Pick<VersionReport, 'error' | 'traffic'> {
  const { e, t } = extra ?? {};
  if (e !== undefined && !(Array.isArray(e) && typeof e[0] === 'string' && typeof e[1] === 'string')) {
    throw fields.undecodable('an error has no code and message');
  }
  if (t !== undefined && !(Array.isArray(t) && t.length >= 6 && t.every((n) => Number.isFinite(n) && n >= 0))) {
    throw fields.undecodable('its traffic is not made of numbers');
  }
  return {
    ...(e ? { error: { code: e[0], message: e[1], attempts: Number(e[2]), permanent: e[3] === 1 } } : {}),
    ...(t ? { traffic: decodeTraffic(t) } : {}),
  };
}

function decodeTraffic(t: readonly number[]): Traffic {
  const [requests = 0, errors = 0, inFlight = 0, sumMs = 0, maxMs = 0, first = 0] = t;
  // No histogram has more buckets: a broken number must not make a giant array.
  const counts = [...new Array<number>(Math.min(first, 4096)).fill(0), ...t.slice(6)];
  return { requests, errors, inFlight, sumMs, maxMs, counts };
}

/** The text of what a host says of itself. The schema in it is a fact to be read, also when it is not ours. */
export function encodeHostInfo(info: HostInfo): string {
  const { id, zone, labels, capacityBytes, agentVersion, schema } = info;
  return JSON.stringify({ id, zone, labels, capacityBytes, agentVersion, schema });
}

/**
 * What a host says of itself, whatever schema it speaks.
 *
 * @throws AspiredError ERR_DOCUMENT_UNDECODABLE
 */
export function decodeHostInfo(text: string): HostInfo {
  const fields = new Fields('What a host says of itself', `${FLEET_SCHEMA};${text}`);
  const value = parseJson(fields, text) as Partial<HostInfo> | null;
  const { id, zone, labels, capacityBytes, agentVersion, schema } = value ?? {};
  if (typeof id !== 'string' || typeof zone !== 'string' || typeof labels !== 'object' || labels === null) {
    throw fields.undecodable('it has no id, zone and labels');
  }
  if (typeof capacityBytes !== 'number' || typeof agentVersion !== 'string' || typeof schema !== 'number') {
    throw fields.undecodable('it has no capacity, version and schema');
  }
  return { id, zone, labels, capacityBytes, agentVersion, schema };
}

/** The text of a host's status. */
export function encodeHostStatus(status: HostStatus): string {
  const { bootId, sequence, revision, usedBytes, clock, findings } = status;
  const known = { bootId, sequence, revision, usedBytes, clock, ...(findings?.length ? { findings } : {}) };
  return `${FLEET_SCHEMA};${JSON.stringify(known)}`;
}

/**
 * The status that a text says.
 *
 * @throws AspiredError ERR_DOCUMENT_UNDECODABLE, ERR_SCHEMA_UNSUPPORTED
 */
export function decodeHostStatus(text: string): HostStatus {
  const fields = new Fields('The status of a host', text);
  const json = fields.restFrom(fields.next());
  const { bootId, sequence, revision, usedBytes, clock, findings } = (parseJson(fields, json) ??
    {}) as Partial<HostStatus>;
  const numbers = [sequence, revision, usedBytes, clock];
  if (typeof bootId !== 'string' || !numbers.every((n) => typeof n === 'number')) {
    throw fields.undecodable('it lacks its boot, sequence, revision, bytes or clock');
  }
  const status = { bootId, sequence, revision, usedBytes, clock } as HostStatus;
  return Array.isArray(findings) && findings.length > 0 ? { ...status, findings } : status;
}
