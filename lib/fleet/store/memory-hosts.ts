// Hosts in memory: leases, reports, hints, and what an export is made of.
import { randomUUID } from 'node:crypto';
import { AspiredError } from '../../errors.js';
import { FLEET_SCHEMA, type FleetHost, type HostInfo, type HostReport, type Intent } from '../types.js';
import { checkExport } from './export-check.js';
import { nextRevision, record } from './memory-commit.js';
import { type ReportData, remember, type SharedMemory } from './memory-fleet.js';
import type { FleetExport, FleetMeta, Heartbeat, HeartbeatAnswer, Lease } from './types.js';

/** Hints that are kept. */
export const MAX_HINTS = 10_000;

export function leaseOf(fleet: SharedMemory, host: string): Lease | undefined {
  const lease = fleet.data.leases.get(host);
  if (!lease || lease.expiresAt <= fleet.now()) return undefined;
  return { bootId: lease.bootId, sequence: lease.sequence };
}

export function heartbeat(fleet: SharedMemory, beat: Heartbeat): HeartbeatAnswer {
  const { host, bootId, sequence, leaseMs, info } = beat;
  const { data } = fleet;
  const document = data.desired.get(host);
  const answer: HeartbeatAnswer = {
    known: document !== undefined,
    ...(document ? { revision: document.revision } : {}),
  };
  const lease = leaseOf(fleet, host);
  if (lease && lease.bootId !== bootId) return { ...answer, heldBy: lease.bootId };
  const before = data.reports.get(host);
  const last = before?.bootId === bootId ? before.sequence : undefined;
  const says = Boolean(info ?? beat.status) || (beat.models?.size ?? 0) > 0;
  const goesOn = Boolean(last) && (last === sequence || (says && last === sequence - 1));
  const isWhole = Boolean(info) || goesOn;
  if (says) writeReport(fleet, beat, last === undefined ? undefined : before);
  const report = data.reports.get(host);
  // 0 until a whole report comes: the answer that asks for it may be lost.
  if (!isWhole && report?.bootId === bootId) report.sequence = 0;
  // A lease speaks of the report that is there.
  const stored = report?.bootId === bootId ? report.sequence : 0;
  data.leases.set(host, { bootId, sequence: stored, expiresAt: fleet.now() + leaseMs });
  return isWhole ? answer : { ...answer, resend: true };
}

function writeReport(fleet: SharedMemory, beat: Heartbeat, before: ReportData | undefined): void {
  const { host, bootId, sequence, info, status, models } = beat;
  const report: ReportData = before ?? { bootId, sequence, models: new Map() };
  report.sequence = sequence;
  if (info) report.info = info;
  if (status) report.status = status;
  for (const [name, model] of models ?? []) {
    if (model) report.models.set(name, model);
    else report.models.delete(name);
  }
  fleet.data.reports.set(host, report);
}

export function reportOf(fleet: SharedMemory, host: string, models?: readonly string[]): HostReport | undefined {
  const { info, status, models: all } = fleet.data.reports.get(host) ?? {};
  if (!info || !status || !all) return undefined;
  if (!models) return { info, status, models: new Map(all) };
  return { info, status, models: new Map([...all].filter(([name]) => models.includes(name))) };
}

export function hint(fleet: SharedMemory, host: string): void {
  const { hints } = fleet.data;
  hints.push({ id: fleet.data.nextId++, host });
  if (hints.length > MAX_HINTS) hints.shift();
}

export function readHints(fleet: SharedMemory, after: string): { hosts: readonly string[]; next: string } {
  const fresh = fleet.data.hints.filter(({ id }) => id > Number(after));
  return { hosts: [...new Set(fresh.map(({ host }) => host))], next: String(fresh.at(-1)?.id ?? after) };
}

export function enterHosts(fleet: SharedMemory, infos: readonly HostInfo[]): readonly FleetHost[] {
  const { data } = fleet;
  return infos.map((info) => {
    const known = data.hosts.get(info.id);
    const host = { index: known?.index ?? data.nextIndex++, info, cordoned: known?.cordoned ?? false };
    data.hosts.set(info.id, host);
    // The document tells the host that it is known.
    if (!data.desired.has(info.id)) {
      data.desired.set(info.id, { revision: nextRevision(fleet), cells: new Map() });
      fleet.ring(info.id);
    }
    return host;
  });
}

export function setCordoned(fleet: SharedMemory, id: string, cordoned: boolean, intent: Intent): void {
  const host = hostOf(fleet, id);
  if (!isFirst(fleet, intent)) return;
  fleet.data.hosts.set(id, { ...host, cordoned });
  const event = cordoned ? 'cordon' : 'uncordon';
  record(fleet, fleet.data.audit, entry(event, id, intent));
}

export function removeHost(fleet: SharedMemory, id: string, intent: Intent): void {
  if (fleet.data.operations.has(intent.operation)) return;
  hostOf(fleet, id);
  isFirst(fleet, intent);
  for (const map of [fleet.data.hosts, fleet.data.desired, fleet.data.reports, fleet.data.leases]) map.delete(id);
  record(fleet, fleet.data.audit, entry('remove', id, intent));
}

function hostOf(fleet: SharedMemory, id: string): FleetHost {
  const host = fleet.data.hosts.get(id);
  if (host) return host;
  throw new AspiredError('ERR_HOST_NOT_FOUND', `No host of the fleet ${fleet.name} has the id ${JSON.stringify(id)}.`);
}

function isFirst(fleet: SharedMemory, { operation }: Intent): boolean {
  if (fleet.data.operations.has(operation)) return false;
  remember(fleet.data.operations, operation, true);
  return true;
}

function entry(event: string, host: string, { actor, reason }: Intent) {
  return { rollout: '', event, message: host === '' ? reason : `${host}: ${reason}`, actor, hosts: 1 };
}

export function importAll(fleet: SharedMemory, from: FleetExport, intent: Intent): FleetMeta {
  checkExport(from, fleet.name);
  const { data } = fleet;
  if (data.meta && data.operations.has(intent.operation)) return data.meta;
  if (data.meta) {
    const message = `The fleet ${fleet.name} is there already: an import goes into an empty store only.`;
    throw new AspiredError('ERR_ROLLOUT_CONFLICT', message);
  }
  data.meta = { schema: FLEET_SCHEMA, incarnation: randomUUID(), createdAt: Math.floor(fleet.now()) };
  for (const { name, generation, stable, previous, tombstones } of from.models) {
    const model = { generation, previous: [...previous], tombstones: [...tombstones], history: [], audit: [] };
    data.models.set(name, { ...model, operations: new Map(), ...(stable === undefined ? {} : { stable }) });
  }
  data.desired.clear();
  for (const host of from.hosts) {
    data.hosts.set(host.info.id, host);
    data.nextIndex = Math.max(data.nextIndex, host.index + 1);
    const cells = new Map(Object.entries(from.desired[host.info.id] ?? {}));
    data.desired.set(host.info.id, { revision: nextRevision(fleet), cells });
    fleet.ring(host.info.id);
  }
  remember(data.operations, intent.operation, true);
  record(fleet, data.audit, { ...entry('import', '', intent), hosts: from.hosts.length });
  return data.meta;
}
