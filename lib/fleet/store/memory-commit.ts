// Changes of rollouts and models in memory: what the scripts do in Redis, step by step the same.
import { AspiredError } from '../../errors.js';
import { encodeCell } from '../codec.js';
import type { CellWrite, PendingVerb, RolloutVerb } from '../rollout/types.js';
import { MAX_WRITES } from '../rollout/types.js';
import type { Intent } from '../types.js';
import { type ModelData, type RolloutData, remember, type SharedMemory } from './memory-fleet.js';
import {
  type AuditEntry,
  type Commit,
  type CommitAnswer,
  type FleetStore,
  GENERATION_JUMP,
  type RolloutRecord,
  type RolloutStart,
  type StartAnswer,
} from './types.js';

/** Rollouts of a model that are kept. */
const KEPT_ROLLOUTS = 20;

export type AssertChange = Parameters<FleetStore['assertCells']>[0];

export function modelOf(fleet: SharedMemory, name: string): ModelData {
  let model = fleet.data.models.get(name);
  if (!model) {
    model = { generation: 0, previous: [], tombstones: [], operations: new Map(), history: [], audit: [] };
    fleet.data.models.set(name, model);
  }
  return model;
}

export function rolloutOf(fleet: SharedMemory, id: string): RolloutData {
  const rollout = fleet.data.rollouts.get(id);
  if (rollout) return rollout;
  throw new AspiredError('ERR_ROLLOUT_NOT_FOUND', `No rollout has the id ${JSON.stringify(id)}.`);
}

export function record(fleet: SharedMemory, trail: AuditEntry[], entry: Omit<AuditEntry, 'id' | 'at'>): void {
  trail.push({ id: nextId(fleet), at: fleet.now(), ...entry });
}

/** Ascending, as numbers and as text. */
export function nextId(fleet: SharedMemory): string {
  return String(fleet.data.nextId++).padStart(12, '0');
}

/** A revision that no document has had, not even one whose write was lost: the time, where it goes on. */
export function nextRevision(fleet: SharedMemory): number {
  fleet.data.revision = Math.max(fleet.data.revision + 1, Math.floor(fleet.now()));
  return fleet.data.revision;
}

/** The hosts and cells of writes; throws before anything is changed. */
export function placed(writes: readonly CellWrite[], hosts: readonly string[]): { host: string; write: CellWrite }[] {
  if (writes.length > MAX_WRITES) {
    const message = `One change writes to at most ${MAX_WRITES} hosts, but received ${writes.length}.`;
    throw new AspiredError('ERR_INVALID_ARGUMENT', message);
  }
  return writes.map((write) => {
    const host = hosts[write.place];
    if (host !== undefined) return { host, write };
    throw new AspiredError('ERR_INVALID_ARGUMENT', `No host has the place ${write.place} of ${hosts.length}.`);
  });
}

function nextGeneration(fleet: SharedMemory, model: ModelData, least = 0): void {
  const jump = model.generation > 0 && model.run !== fleet.run ? GENERATION_JUMP * (1 + fleet.run) : 1;
  model.generation = Math.max(model.generation, least) + jump;
  model.run = fleet.run;
}

function writeCells(fleet: SharedMemory, model: string, generation: number, writes: ReturnType<typeof placed>): void {
  if (writes.length === 0) return;
  const cells = writes.map(({ host, write }) => ({ host, text: encodeCell({ ...write.cell, generation }) }));
  const revision = nextRevision(fleet);
  for (const { host, text } of cells) {
    const document = fleet.data.desired.get(host) ?? { revision, cells: new Map<string, string>() };
    document.revision = revision;
    document.cells.set(model, text);
    fleet.data.desired.set(host, document);
    fleet.ring(host);
  }
}

function setStable(model: ModelData, stable: number): void {
  const old = model.stable;
  if (old !== undefined && old !== stable) {
    model.previous = [old, ...model.previous.filter((version) => version !== old && version !== stable)].slice(0, 10);
  }
  model.stable = stable;
}

function addTombstones(model: ModelData, versions: readonly number[]): void {
  model.tombstones = [...new Set([...model.tombstones, ...versions])].sort((a, b) => a - b);
}

export function recordOf(id: string, { model, revision, plan, state, stamps }: RolloutData): RolloutRecord {
  return { id, model, revision, plan, state, stamps };
}

export function startRollout(fleet: SharedMemory, start: RolloutStart): StartAnswer {
  const { id, plan, state, force, expectStable, actor, reason, operation } = start;
  const { rollouts } = fleet.data;
  const model = modelOf(fleet, plan.model);
  const known = rollouts.has(id) ? id : (model.operations.get(operation) as string | undefined);
  if (known !== undefined) return { outcome: 'duplicate', record: recordOf(known, rolloutOf(fleet, known)) };
  if (model.active !== undefined) return { outcome: 'active', active: model.active };
  if (expectStable !== undefined && expectStable !== (model.stable ?? null)) return { outcome: 'conflict' };
  if (!force && model.tombstones.includes(plan.version)) return { outcome: 'tombstoned' };
  const now = fleet.now();
  const rollout: RolloutData = {
    ...{ model: plan.model, plan, revision: 0, state: structuredClone(state) },
    stamps: { startedAt: now, phaseAt: now, progressAt: now },
    ...{ operations: new Map(), verbs: new Map(), pending: [], answers: new Map(), gates: new Map() },
  };
  rollouts.set(id, rollout);
  model.active = id;
  model.history.unshift(id);
  for (const old of model.history.splice(KEPT_ROLLOUTS)) rollouts.delete(old);
  remember(model.operations, operation, id);
  const message = `version ${plan.version}: ${reason}`;
  record(fleet, model.audit, { rollout: id, revision: 0, event: 'start', message, actor, hosts: plan.hosts.length });
  return { outcome: 'started', record: recordOf(id, rollout) };
}

export function commit(fleet: SharedMemory, change: Commit): CommitAnswer {
  const writes = placed(change.writes, change.hosts);
  const rollout = rolloutOf(fleet, change.rollout);
  const model = modelOf(fleet, change.model);
  const at = fleet.now();
  const before = rollout.operations.get(change.operation) as CommitAnswer | undefined;
  if (before) return { ...before, outcome: 'duplicate' };
  const { expectGeneration = model.generation } = change;
  const isExpected = rollout.revision === change.expectRevision && model.generation === expectGeneration;
  if (!isExpected || model.active !== change.rollout) {
    return { outcome: 'conflict', revision: rollout.revision, generation: model.generation, at };
  }
  if (writes.length > 0) nextGeneration(fleet, model, change.generationAbove);
  writeCells(fleet, change.model, model.generation, writes);
  rollout.revision++;
  rollout.state = structuredClone(change.state);
  rollout.stamps = { ...rollout.stamps, ...Object.fromEntries(change.stamps.map((stamp) => [stamp, at])) };
  const { stable, tombstone, unTombstone, release } = change.modelChange ?? {};
  if (stable !== undefined) setStable(model, stable);
  if (tombstone !== undefined) addTombstones(model, [tombstone]);
  if (unTombstone !== undefined) model.tombstones = model.tombstones.filter((version) => version !== unTombstone);
  if (release) delete model.active;
  if (change.verbs) answerVerbs(rollout, change.verbs);
  const { revision } = rollout;
  record(fleet, model.audit, { rollout: change.rollout, revision, ...change.audit });
  const answer: CommitAnswer = { outcome: 'committed', revision, generation: model.generation, at };
  remember(rollout.operations, change.operation, answer);
  return answer;
}

function answerVerbs(rollout: RolloutData, { upTo, answers }: NonNullable<Commit['verbs']>): void {
  for (const verb of rollout.pending) {
    const answer = answers.find(({ id }) => id === verb.id);
    if (answer && verb.id <= upTo) rollout.answers.set(verb.operation, answer);
  }
  rollout.pending = rollout.pending.filter(({ id }) => id > upTo);
}

export function assertCells(fleet: SharedMemory, change: AssertChange): CommitAnswer {
  const { intent, expectGeneration, generationAbove, stable, tombstones } = change;
  const writes = placed(change.writes, change.hosts);
  const model = modelOf(fleet, change.model);
  const at = fleet.now();
  const before = model.operations.get(intent.operation) as CommitAnswer | undefined;
  if (before) return { ...before, outcome: 'duplicate' };
  if (model.generation !== expectGeneration || (stable !== undefined && model.active !== undefined)) {
    return { outcome: 'conflict', revision: 0, generation: model.generation, at };
  }
  nextGeneration(fleet, model, generationAbove);
  writeCells(fleet, change.model, model.generation, writes);
  if (stable !== undefined) setStable(model, stable);
  if (tombstones) addTombstones(model, tombstones);
  const { actor, reason: message, operation } = intent;
  record(fleet, model.audit, { rollout: '', event: 'assert', message, actor, hosts: writes.length });
  const answer: CommitAnswer = { outcome: 'committed', revision: 0, generation: model.generation, at };
  remember(model.operations, operation, answer);
  return answer;
}

export function addVerb(fleet: SharedMemory, id: string, verb: RolloutVerb, intent: Intent): PendingVerb {
  const rollout = rolloutOf(fleet, id);
  const known = rollout.verbs.get(intent.operation);
  if (known) return known;
  const { actor, reason, operation } = intent;
  const added: PendingVerb = { id: nextId(fleet), verb, actor, reason, operation };
  rollout.verbs.set(operation, added);
  rollout.pending.push(added);
  const entry = { rollout: id, event: verb, message: reason, actor, hosts: 0 };
  record(fleet, modelOf(fleet, rollout.model).audit, entry);
  return added;
}
