// What is wrong with the store, the hosts and the installation: for an operator who asks. Nothing here decides anything.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { AspiredErrorCode } from '../errors.js';
import type { FleetMeta, FleetStore, Lease, StoreHealth } from './store/types.js';
import { FLEET_SCHEMA, type FleetHost, type HostReport } from './types.js';

/** One thing that was looked at. */
export interface Finding {
  /** 'error': something is lost, or does not work. 'warning': it may be, some day. */
  readonly level: 'ok' | 'warning' | 'error';
  /** Of the table of errors; undefined where none fits. */
  readonly code?: AspiredErrorCode;
  /** One sentence, with what to do about it. */
  readonly message: string;
}

/** What was found out before it is judged. */
export interface Evidence {
  readonly health: StoreHealth;
  /** Undefined: the store does not know the fleet. */
  readonly meta: FleetMeta | undefined;
  readonly hosts: readonly FleetHost[];
  /** In the order of the hosts. */
  readonly leases: readonly (Lease | undefined)[];
  readonly reports: readonly (HostReport | undefined)[];
  /** The most models that a host may get. */
  readonly models: number;
  /** The store's clock, ms. */
  readonly now: number;
  /** Undefined: it is not installed. */
  readonly bullmq: string | undefined;
}

/** Clocks that are less apart than this are said to agree, ms. */
const CLOCK_TOLERANCE_MS = 5_000;
/** Connections beside those of the hosts: controllers with their queues, replicas, operators. */
const OTHER_CLIENTS = 100;
/** Older ones stop consuming for ever after an outage. */
const BULLMQ = [6, 3, 5] as const;

/** Looks at everything, and judges it. Rejects when the store does not answer. */
export async function examine(store: FleetStore): Promise<readonly Finding[]> {
  const [health, meta, hosts, models] = [
    await store.health(),
    await store.meta(),
    await store.hosts(),
    await store.models(),
  ];
  const ids = hosts.map(({ info }) => info.id);
  const [leases, reports] = [await store.readLeases(ids), await store.readReports(ids)];
  const now = await store.now();
  return judge({
    health,
    meta,
    hosts,
    leases,
    reports,
    models: models.length,
    now,
    bullmq: installedVersion('bullmq'),
  });
}

/** Judges what was found out. */
export function judge(evidence: Evidence): readonly Finding[] {
  return [...storeFindings(evidence), ...fleetFindings(evidence), ...hostFindings(evidence), ...peerFindings(evidence)];
}

function storeFindings(evidence: Evidence): Finding[] {
  const { health } = evidence;
  const { kind, version, role, replicas, listpackEntries, clockSkewMs = 0 } = health;
  if (kind === 'memory') return [warning('The store is in memory: it is for tests, and ends with this process.')];
  const found: Finding[] = [];
  if (version === undefined)
    found.push(warning('Redis does not let this user ask for INFO: little can be said of it.'));
  else if (Number.parseInt(version, 10) < 7) {
    found.push(error('ERR_STORE_UNSUPPORTED', `Redis ${version} is too old: the fleet needs 7.0 or newer.`));
  } else found.push(ok(`Redis ${version}`));
  if (role === 'slave') {
    found.push(error('ERR_STORE_READ_ONLY', 'This Redis is a replica and takes no writes: connect to its master.'));
  }
  if (health.appendOnly === false) {
    const message = 'Redis does not write to disk: after a restart the fleet is gone. Type: CONFIG SET appendonly yes';
    found.push(error('ERR_STORE_NOT_DURABLE', message));
  }
  found.push(...memoryFindings(health));
  if (role === 'master' && replicas === 0) {
    found.push(
      warning(
        'Redis has no replica: no write can be confirmed elsewhere, and when the server is gone, so is its data.',
      ),
    );
  }
  if (health.maxClients !== undefined && evidence.hosts.length + OTHER_CLIENTS > health.maxClients) {
    const { length } = evidence.hosts;
    const message = `Redis takes ${health.maxClients} connections, and each of ${length} hosts needs one.`;
    found.push(
      warning(`${message} Type: CONFIG SET maxclients ${2 * length + OTHER_CLIENTS}`, 'ERR_STORE_UNAVAILABLE'),
    );
  }
  if (listpackEntries !== undefined) found.push(...sizeFindings(evidence, listpackEntries));
  if (Math.abs(clockSkewMs) > CLOCK_TOLERANCE_MS) {
    const message = `The clock of Redis and the clock of this machine are ${seconds(clockSkewMs)} apart.`;
    found.push(warning(message, 'ERR_HOST_CLOCK_WRONG'));
  }
  return found;
}

/** A document has a field for its revision, and one for each model: with more than the limit Redis keeps it another way. */
function sizeFindings({ hosts, reports, models }: Evidence, limit: number): Finding[] {
  const large = hosts.filter((_, i) => (reports[i]?.models.size ?? 0) >= limit);
  if (models < limit && large.length === 0) return [];
  const most = reports.reduce((size, report) => Math.max(size, report?.models.size ?? 0), models);
  const whose = large.length === 0 ? '' : `, as those of ${few(large.map(({ info }) => info.id))},`;
  const type = `Type: CONFIG SET hash-max-listpack-entries ${2 * most}`;
  const then = large.length === 0 ? '' : '; those that are there shrink when Redis is restarted with it';
  return [warning(`Documents of ${limit} models and more${whose} take three times the memory. ${type}${then}`)];
}

function memoryFindings({ maxmemoryPolicy, maxmemory = 0, usedMemory = 0 }: StoreHealth): Finding[] {
  const found: Finding[] = [];
  if (maxmemoryPolicy !== undefined && maxmemoryPolicy !== 'noeviction') {
    const message = `maxmemory-policy is ${maxmemoryPolicy}: Redis may drop the fleet for want of memory. Type: CONFIG SET maxmemory-policy noeviction`;
    // Without a limit nothing is evicted, until somebody sets one.
    found.push(maxmemory > 0 ? error('ERR_STORE_EVICTS', message) : warning(message, 'ERR_STORE_EVICTS'));
  }
  if (maxmemory > 0 && usedMemory > 0.8 * maxmemory) {
    const percent = Math.round((100 * usedMemory) / maxmemory);
    const message = `Redis uses ${percent} % of its maxmemory: at 100 % it takes no writes.`;
    found.push(warning(message, 'ERR_STORE_READ_ONLY'));
  }
  return found;
}

function fleetFindings({ meta }: Evidence): Finding[] {
  if (!meta) {
    const message =
      'The store does not know the fleet: it was never made here, or its data was lost. See create and restore.';
    return [error('ERR_STORE_EMPTY', message)];
  }
  if (meta.schema === FLEET_SCHEMA) return [];
  const message = `The fleet was made with schema ${meta.schema}, this package writes ${FLEET_SCHEMA}.`;
  return [error('ERR_SCHEMA_UNSUPPORTED', message)];
}

/** Findings of hosts that mean that a host does not do what it is told. */
const SEVERE: ReadonlySet<string> = new Set<AspiredErrorCode>([
  ...([
    'ERR_DOCUMENT_UNDECODABLE',
    'ERR_DOCUMENT_MISSING',
    'ERR_SCHEMA_UNSUPPORTED',
    'ERR_ACCEPTED_UNWRITABLE',
    'ERR_LOAD_FAILED',
  ] as const),
]);

function hostFindings({ hosts, leases, reports, now }: Evidence): Finding[] {
  const groups = new Map<string, { readonly ids: string[]; readonly finding: (ids: string) => Finding }>();
  const add = (key: string, id: string, finding: (ids: string) => Finding) => {
    const group = groups.get(key) ?? { ids: [], finding };
    groups.set(key, group);
    if (!group.ids.includes(id)) group.ids.push(id);
  };
  hosts.forEach(({ info }, i) => {
    const { id, schema } = info;
    const report = reports[i];
    if (schema !== FLEET_SCHEMA) {
      const said = `speak schema ${schema}, this package ${FLEET_SCHEMA}`;
      add(`schema ${schema}`, id, (ids) => error('ERR_SCHEMA_UNSUPPORTED', `Agents that ${said}: ${ids}.`));
    }
    if (!leases[i]) add('away', id, (ids) => warning(`Hosts that are away: ${ids}.`));
    else if (!report) {
      add('unreadable', id, (ids) =>
        warning(`Hosts whose report is missing or unreadable: ${ids}.`, 'ERR_DOCUMENT_UNDECODABLE'),
      );
    }
    if (!report) return;
    // A report was written in the past: a clock that says later is ahead. One that is behind only the host can tell.
    if (report.status.clock > now + CLOCK_TOLERANCE_MS) {
      add('ERR_HOST_CLOCK_WRONG', id, (ids) =>
        warning(`Clocks that are far from that of the store: ${ids}.`, 'ERR_HOST_CLOCK_WRONG'),
      );
    }
    for (const { code, message } of report.status.findings ?? []) {
      const known = code as AspiredErrorCode;
      const judged = (text: string) => (SEVERE.has(code) ? error(known, text) : warning(text, known));
      add(code, id, (ids) => judged(`${ids}: ${message}`));
    }
  });
  const found = [...groups.values()].map(({ ids, finding }) => finding(few(ids)));
  const alive = leases.filter((lease) => lease !== undefined).length;
  return [ok(`${alive} of ${hosts.length} hosts alive`), ...found];
}

function peerFindings({ bullmq }: Evidence): Finding[] {
  const wanted = BULLMQ.join('.');
  const type = `Type: npm install bullmq@^${wanted}`;
  if (bullmq === undefined)
    return [warning(`bullmq is not installed: no controller runs here. ${type}`, 'ERR_PEER_NOT_FOUND')];
  const parts = bullmq.split('.').map((part) => Number.parseInt(part, 10));
  const at = BULLMQ.findIndex((least, i) => parts[i] !== least);
  if (at < 0 || (parts[at] ?? 0) > (BULLMQ[at] as number)) return [ok(`bullmq ${bullmq}`)];
  const message = `bullmq ${bullmq} stops for ever after an outage of Redis: it must be ${wanted} or newer. ${type}`;
  return [error('ERR_PEER_NOT_FOUND', message)];
}

/** The version of a package that is installed here; undefined: none is. It is not loaded. */
export function installedVersion(name: string): string | undefined {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve(name));
  } catch {
    return undefined;
  }
  for (; dirname(folder) !== folder; folder = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (found.name === name) return found.version;
    } catch {
      // The folders inside of a package have none.
    }
  }
  return undefined;
}

function few(ids: readonly string[]): string {
  const shown = ids.slice(0, 5).join(', ');
  return ids.length > 5 ? `${shown} and ${ids.length - 5} more` : shown;
}

function seconds(ms: number): string {
  return `${Math.round(Math.abs(ms) / 1000)} s`;
}

function ok(message: string): Finding {
  return { level: 'ok', message };
}

function warning(message: string, code?: AspiredErrorCode): Finding {
  return code === undefined ? { level: 'warning', message } : { level: 'warning', code, message };
}

function error(code: AspiredErrorCode, message: string): Finding {
  return { level: 'error', code, message };
}
