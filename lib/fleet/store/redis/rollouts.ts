// Rollouts and models in Redis: each change is one script.
import { AspiredError } from '../../../errors.js';
import { encodeCellBody } from '../../codec.js';
import type { GateResult } from '../../gates/types.js';
import {
  type CellWrite,
  MAX_WRITES,
  type PendingVerb,
  type RolloutVerb,
  type VerbAnswer,
} from '../../rollout/types.js';
import type { Intent } from '../../types.js';
import type {
  AuditEntry,
  Commit,
  CommitAnswer,
  FleetStore,
  ModelRecord,
  RolloutRecord,
  RolloutStart,
  StartAnswer,
} from '../types.js';
import { refused } from './answers.js';
import type { RedisConnection } from './connection.js';
import { ASSERT, COMMIT, FORGET, GATE, START, VERB } from './scripts/index.js';

/** Rollouts of a model that are kept. The audit trail remembers more. */
export const KEPT_ROLLOUTS = 20;

type AssertChange = Parameters<FleetStore['assertCells']>[0];
type Answer = readonly (string | null)[];

export class RedisRollouts {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async models(): Promise<readonly string[]> {
    const names = await this.#connection.call('models', (redis) => redis.smembers(this.#connection.keys.models));
    return names.sort();
  }

  async model(name: string): Promise<ModelRecord | undefined> {
    const key = this.#connection.keys.model(name);
    const fields = await this.#connection.call('model', (redis) => redis.hgetall(key));
    return Object.keys(fields).length === 0 ? undefined : modelRecord(name, fields);
  }

  async start(start: RolloutStart): Promise<StartAnswer> {
    const { id, plan, state, force, expectStable, actor, reason, operation } = start;
    const { keys } = this.#connection;
    const { model, version } = plan;
    const rollout = keys.rollout(id);
    const header = {
      ...{ id, model, version: String(version), force, operation: checkOperation(operation), actor },
      ...{ hosts: plan.hosts.length, message: `version ${version}: ${reason}` },
      ...(expectStable !== undefined && { expectStable: String(expectStable ?? '') }),
    };
    const history = keys.history(model);
    const [outcome, value] = await this.#connection.script(
      START,
      [
        keys.meta,
        rollout.record,
        rollout.plan,
        keys.model(model),
        keys.active,
        keys.models,
        keys.audit(model),
        history,
      ],
      [JSON.stringify(header), JSON.stringify(state), JSON.stringify(plan)],
    );
    if (outcome === 'active') return { outcome, active: String(value) };
    if (outcome === 'tombstoned' || outcome === 'conflict') return { outcome };
    if (outcome === 'started') {
      const at = Number(value);
      await this.#forget(model).catch(() => {}); // The next start does it.
      const stamps = { startedAt: at, phaseAt: at, progressAt: at };
      return { outcome, record: { id, model, revision: 0, plan, state, stamps } };
    }
    if (outcome !== 'duplicate') throw refused(outcome, keys, id);
    const record = await this.rollout(String(value));
    if (!record) throw refused('unknown', keys, String(value));
    return { outcome, record };
  }

  /** Old rollouts go: a plan names every host. */
  async #forget(model: string): Promise<void> {
    const { keys } = this.#connection;
    const history = keys.history(model);
    const old = await this.#connection.call('forget', (redis) => redis.lrange(history, KEPT_ROLLOUTS, -1));
    if (old.length === 0) return;
    await this.#connection.script(FORGET, [history, ...old.flatMap((id) => Object.values(keys.rollout(id)))], old);
  }

  async rollout(id: string): Promise<RolloutRecord | undefined> {
    const { record, plan } = this.#connection.keys.rollout(id);
    const [fields, text] = await this.#connection.pipeline('rollout', [
      ['hgetall', record],
      ['get', plan],
    ]);
    const state = rolloutState(id, fields as Record<string, string>);
    return state && typeof text === 'string' ? { ...state, plan: JSON.parse(text) } : undefined;
  }

  async rolloutState(id: string): Promise<Omit<RolloutRecord, 'plan'> | undefined> {
    const { record } = this.#connection.keys.rollout(id);
    return rolloutState(id, await this.#connection.call('rolloutState', (redis) => redis.hgetall(record)));
  }

  activeRollouts(): Promise<readonly string[]> {
    return this.#connection.call('activeRollouts', (redis) => redis.hvals(this.#connection.keys.active));
  }

  history(model: string, count: number): Promise<readonly string[]> {
    const key = this.#connection.keys.history(model);
    if (count <= 0) return Promise.resolve([]);
    return this.#connection.call('history', (redis) => redis.lrange(key, 0, count - 1));
  }

  async commit(commit: Commit): Promise<CommitAnswer> {
    const { keys } = this.#connection;
    const { rollout, model, audit, verbs, modelChange = {} } = commit;
    const { record, pending, answers } = keys.rollout(rollout);
    const { bodies, args, documents } = this.#cells(commit.writes, commit.hosts);
    const { stable, tombstone, unTombstone, release } = modelChange;
    const header = {
      ...{ id: rollout, model, operation: checkOperation(commit.operation), expect: String(commit.expectRevision) },
      expectGeneration: text(commit.expectGeneration),
      ...{
        state: JSON.stringify(commit.state),
        stamps: commit.stamps,
        above: String(commit.generationAbove ?? 0),
        bodies,
      },
      ...{ event: audit.event, message: audit.message, actor: audit.actor, hosts: audit.hosts },
      ...{ stable: text(stable), tombstone: text(tombstone), unTombstone: text(unTombstone), release },
      ...{ upTo: verbs?.upTo },
      answers: Object.fromEntries((verbs?.answers ?? []).map((answer) => [answer.id, JSON.stringify(answer)])),
    };
    const answer = await this.#connection.script(
      COMMIT,
      [keys.meta, record, keys.model(model), keys.active, keys.audit(model), pending, answers, ...documents],
      [JSON.stringify(header), ...args],
    );
    return this.#commitAnswer(answer, rollout);
  }

  async assertCells(change: AssertChange): Promise<CommitAnswer> {
    const { keys } = this.#connection;
    const { model, intent, expectGeneration, generationAbove = 0, stable, tombstones } = change;
    const { bodies, args, documents } = this.#cells(change.writes, change.hosts);
    const header = {
      ...{ model, operation: checkOperation(intent.operation), expect: String(expectGeneration) },
      ...{ above: String(generationAbove), bodies, stable: text(stable), tombstones: tombstones?.join(',') },
      ...{ message: intent.reason, actor: intent.actor },
    };
    const answer = await this.#connection.script(
      ASSERT,
      [keys.meta, keys.model(model), keys.models, keys.audit(model), ...documents],
      [JSON.stringify(header), ...args],
    );
    return this.#commitAnswer(answer);
  }

  #commitAnswer([outcome, revision, generation, at]: Answer, rollout?: string): CommitAnswer {
    if (outcome !== 'committed' && outcome !== 'duplicate' && outcome !== 'conflict') {
      throw refused(outcome, this.#connection.keys, rollout);
    }
    return { outcome, revision: Number(revision), generation: Number(generation), at: Number(at) };
  }

  /** Hosts of a wave get the same few cells: each text is sent once. */
  #cells(writes: readonly CellWrite[], hosts: readonly string[]) {
    if (writes.length > MAX_WRITES) {
      const message = `One change writes to at most ${MAX_WRITES} hosts, but received ${writes.length}.`;
      throw new AspiredError('ERR_INVALID_ARGUMENT', message);
    }
    const bodies = new Map<string, string>();
    const args: string[] = [];
    const documents: string[] = [];
    for (const { place, cell } of writes) {
      const host = hosts[place];
      if (host === undefined) {
        throw new AspiredError('ERR_INVALID_ARGUMENT', `No host has the place ${place} of ${hosts.length}.`);
      }
      const body = encodeCellBody(cell);
      const number = bodies.get(body) ?? String(bodies.size + 1);
      bodies.set(body, number);
      args.push(number);
      documents.push(this.#connection.keys.desired(host));
    }
    return { bodies: [...bodies.keys()], args, documents };
  }

  async addVerb(id: string, verb: RolloutVerb, { actor, reason, operation }: Intent): Promise<PendingVerb> {
    const { keys } = this.#connection;
    const { record, verbs, pending } = keys.rollout(id);
    const known = await this.#connection.call('addVerb', (redis) => redis.hget(record, 'model'));
    if (known === null) throw refused((await this.#isThere()) ? 'unknown' : 'empty', keys, id);
    const [outcome, line] = await this.#connection.script(
      VERB,
      [keys.meta, record, verbs, pending, keys.audit(known)],
      [id, checkOperation(operation), JSON.stringify({ verb, actor, reason }), verb, actor, reason],
    );
    if (outcome !== 'added' && outcome !== 'known') throw refused(outcome, keys, id);
    return parseVerb(String(line));
  }

  async #isThere(): Promise<boolean> {
    const { meta } = this.#connection.keys;
    return (await this.#connection.call('meta', (redis) => redis.hexists(meta, 'incarnation'))) === 1;
  }

  async pendingVerbs(id: string): Promise<readonly PendingVerb[]> {
    const { pending } = this.#connection.keys.rollout(id);
    return (await this.#connection.call('pendingVerbs', (redis) => redis.lrange(pending, 0, -1))).map(parseVerb);
  }

  async verbAnswer(id: string, operation: string): Promise<VerbAnswer | undefined> {
    const { answers } = this.#connection.keys.rollout(id);
    const answer = await this.#connection.call('verbAnswer', (redis) => redis.hget(answers, operation));
    return answer === null ? undefined : JSON.parse(answer);
  }

  async putGateResult(id: string, key: string, result: GateResult): Promise<GateResult> {
    const { keys } = this.#connection;
    const { record, gates } = keys.rollout(id);
    const [outcome, first] = await this.#connection.script(
      GATE,
      [keys.meta, record, gates],
      [key, JSON.stringify(result)],
    );
    if (outcome !== 'ok') throw refused(outcome, keys, id);
    return JSON.parse(String(first));
  }

  async gateResults(id: string): Promise<ReadonlyMap<string, GateResult>> {
    const { gates } = this.#connection.keys.rollout(id);
    const results = await this.#connection.call('gateResults', (redis) => redis.hgetall(gates));
    return new Map(Object.entries(results).map(([key, result]) => [key, JSON.parse(result)]));
  }

  async audit(model: string, after = '', count = 100): Promise<readonly AuditEntry[]> {
    const key = this.#connection.keys.audit(model);
    const from = after === '' ? '-' : `(${after}`;
    const entries = await this.#connection.call('audit', (redis) => redis.xrange(key, from, '+', 'COUNT', count));
    return entries.map(([id, fields]) => auditEntry(id, fields));
  }

  async latestAudit(model: string, before = '', count = 100): Promise<readonly AuditEntry[]> {
    const key = this.#connection.keys.audit(model);
    const from = before === '' ? '+' : `(${before}`;
    const entries = await this.#connection.call('latestAudit', (r) => r.xrevrange(key, from, '-', 'COUNT', count));
    return entries.map(([id, fields]) => auditEntry(id, fields)).reverse();
  }
}

function text(value: number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

/** Operations are kept in lines of a text. */
function checkOperation(operation: string): string {
  if (/^[\x20-\x7e]{1,200}$/.test(operation)) return operation;
  const message = `Expected 1 to 200 printable characters for an operation, but received ${JSON.stringify(operation)}.`;
  throw new AspiredError('ERR_INVALID_ARGUMENT', message);
}

function versionsOf(list: string | undefined): number[] {
  return list ? list.split(',').map(Number) : [];
}

export function modelRecord(name: string, fields: Readonly<Record<string, string>>): ModelRecord {
  const { gen = '0', stable, previous, tombstones, active } = fields;
  return {
    ...{ name, generation: Number(gen), previous: versionsOf(previous), tombstones: versionsOf(tombstones) },
    ...(stable === undefined ? {} : { stable: Number(stable) }),
    ...(active === undefined ? {} : { active }),
  };
}

function rolloutState(id: string, fields: Readonly<Record<string, string>>): Omit<RolloutRecord, 'plan'> | undefined {
  const { model, rev, state, startedAt, phaseAt, progressAt, endedAt } = fields;
  if (model === undefined || state === undefined) return undefined;
  const stamps = { startedAt: Number(startedAt), phaseAt: Number(phaseAt), progressAt: Number(progressAt) };
  return {
    ...{ id, model, revision: Number(rev), state: JSON.parse(state) },
    stamps: endedAt === undefined ? stamps : { ...stamps, endedAt: Number(endedAt) },
  };
}

function parseVerb(line: string): PendingVerb {
  const [id = '', operation = '', ...rest] = line.split('\t');
  const { verb, actor, reason } = JSON.parse(rest.join('\t'));
  return { id, verb, actor, reason, operation };
}

function auditEntry(id: string, fields: readonly string[]): AuditEntry {
  const value: Record<string, string> = {};
  for (let i = 0; i < fields.length; i += 2) value[fields[i] as string] = fields[i + 1] as string;
  const { r = '', v = '', e = '', m = '', a = '', h = '0' } = value;
  const entry = { id, at: Number(id.split('-')[0]), rollout: r, event: e, message: m, actor: a, hosts: Number(h) };
  return v === '' ? entry : { ...entry, revision: Number(v) };
}
