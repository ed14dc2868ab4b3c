import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError } from '../../errors.js';
import { checkInteger, checkVersion } from '../../options.js';
import { checkFleetName } from '../names.js';
import { explain } from '../rollout/explain.js';
import { makePlan } from '../rollout/plan.js';
import { firstState } from '../rollout/reduce.js';
import type { RolloutPlan, RolloutPlanOptions, RolloutVerb, VerbAnswer } from '../rollout/types.js';
import { answerAfterEnd } from '../rollout/verbs.js';
import type {
  AuditEntry,
  FleetExport,
  FleetMeta,
  FleetStore,
  ModelRecord,
  RolloutRecord,
  RolloutStart,
} from '../store/types.js';
import type { Intent } from '../types.js';
import { checkIntent, type IntentOptions } from './intent.js';
import { type HostView, type RolloutView, readHostViews, readRolloutView } from './inventory.js';
import { type ClientSettings, checkClientOptions, type FleetClientOptions, openStore } from './options.js';
import { type RestoreOptions, restoreFromHosts } from './restore.js';
import { retryOf, undoOf } from './successors.js';

/** Between two looks for the answer of a verb, in ms. */
const LOOK_MS = 25;
/** How often a start is made anew for a stable version that is another one by then. */
const STARTS = 3;
/** Verbs that make a rollout go on: they wait for replicas. The others are never held up. */
const FORWARD: ReadonlySet<RolloutVerb> = new Set<RolloutVerb>(['resume', 'promote', 'promote-full', 'retry']);

/** What became of a verb, and how safe it is. */
export interface VerbDone {
  /** Id of the rollout that it was for; of the new one, for start, retry, and undo of one that had ended. */
  readonly rollout: string;
  /** 'pending': written down, but no controller has looked at it within the time. It is still going to be done. */
  readonly outcome: VerbAnswer['outcome'] | 'pending';
  /** For people. */
  readonly message: string;
  /** Of the rollout, now. */
  readonly revision: number;
  /** How many replicas have it. */
  readonly replicated: number;
  /** How many were asked for: `minReplicas`, else all that are connected. */
  readonly replicas: number;
}

/**
 * What people and programs do with a fleet. It decides nothing of a rollout and needs no controller in its process: verbs are
 * written down, and answered by the controller that ticks next.
 *
 * `rollout` is always the id of a rollout, or a model: its active rollout then, else its last one.
 */
export class FleetClient {
  private constructor(
    private readonly store: FleetStore,
    private readonly owned: boolean,
    private readonly settings: ClientSettings,
  ) {}

  /** @throws AspiredError ERR_INVALID_ARGUMENT and others of the options, ERR_STORE_UNAVAILABLE, ERR_STORE_DENIED */
  static async connect(options: FleetClientOptions): Promise<FleetClient> {
    const settings = checkClientOptions(options);
    const { store, owned } = await openStore(settings);
    return new FleetClient(store, owned, settings);
  }

  /** Closes the store, where this client opened it. */
  async close(): Promise<void> {
    if (this.owned) await this.store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Makes the fleet where there is none: for a first start, never for a repair. */
  create(): Promise<FleetMeta> {
    return this.store.create();
  }

  /**
   * Starts a rollout over all hosts that are not cordoned. The same operation again starts nothing and gets the same
   * answer.
   *
   * @throws AspiredError ERR_PLAN_*, ERR_ROLLOUT_ACTIVE, ERR_VERSION_TOMBSTONED, ERR_ROLLOUT_CONFLICT, ERR_STORE_EMPTY,
   * ERR_STORE_UNCONFIRMED
   */
  async start(plan: RolloutPlanOptions, intent: IntentOptions): Promise<VerbDone> {
    const checked = checkIntent(intent);
    // Before the id is made of it: else a name that is none would be refused as that of a rollout.
    const name = checkFleetName('model', plan.model);
    const id = idOf(name, `v${checkVersion('version', plan.version)}`, checked);
    const known = await this.startedBy(id);
    if (known) return known;
    const { actor, reason } = checked;
    return this.begin(async () => {
      const { store } = this;
      const [meta, registry, model] = await Promise.all([store.meta(), store.hosts(), store.model(name)]);
      if (!meta) throw new AspiredError('ERR_STORE_EMPTY', `The store does not have the fleet ${store.fleet}.`);
      const hosts = registry.filter(({ cordoned }) => !cordoned);
      const from = model?.stable;
      const made = makePlan(plan, { hosts, ...(from !== undefined && { stable: from }) });
      const state = firstState(made, { from, actor, reason });
      return { id, plan: made, state, force: plan.force ?? false, expectStable: from ?? null, ...checked };
    });
  }

  pause(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'pause', intent);
  }

  resume(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'resume', intent);
  }

  /** The current wave does not wait for its bake and gates any more. */
  promote(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'promote', intent);
  }

  /** No wave does. */
  promoteFull(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'promote-full', intent);
  }

  abort(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'abort', intent);
  }

  freeze(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'freeze', intent);
  }

  /** Takes a rollout back. One that has ended: by a new one, on all hosts at once, to the version that was stable before. */
  undo(rollout: string, intent: IntentOptions): Promise<VerbDone> {
    return this.verb(rollout, 'undo', intent);
  }

  /** Starts the plan of a rollout that has ended anew, with the hosts of now. `force`: although it was rolled back as bad. */
  retry(rollout: string, intent: IntentOptions, options: { readonly force?: boolean } = {}): Promise<VerbDone> {
    return this.verb(rollout, 'retry', intent, options);
  }

  /**
   * Any verb. In every state of the rollout there is an answer: what cannot be done is refused or a no-op, and says why.
   *
   * @throws AspiredError ERR_ROLLOUT_NOT_FOUND; ERR_STORE_UNCONFIRMED for verbs that make it go on
   */
  async verb(
    rollout: string,
    verb: RolloutVerb,
    intent: IntentOptions,
    { force = false }: { readonly force?: boolean } = {},
  ): Promise<VerbDone> {
    const checked = checkIntent(intent);
    const record = await this.get(rollout);
    if (record.state.phase === 'Ended') return this.verbOnEnded(record, verb, checked, force);
    if (FORWARD.has(verb)) await this.needReplicas(`${verb} was not written`);
    await this.store.addVerb(record.id, verb, checked);
    return this.waitForAnswer(record, verb, checked);
  }

  /** @throws AspiredError ERR_ROLLOUT_NOT_FOUND */
  async get(rollout: string): Promise<RolloutRecord> {
    const record = await this.store.rollout(rollout);
    if (record) return record;
    const model = await this.store.model(rollout);
    const id = model?.active ?? (await this.store.history(rollout, 1))[0];
    const latest = id === undefined ? undefined : await this.store.rollout(id);
    if (latest) return latest;
    throw new AspiredError(
      'ERR_ROLLOUT_NOT_FOUND',
      `No rollout is called ${rollout}, and no model of that name has one.`,
    );
  }

  /** A rollout with what its hosts are told and report. @throws AspiredError ERR_ROLLOUT_NOT_FOUND */
  async view(rollout: string): Promise<RolloutView> {
    return readRolloutView(this.store, await this.get(rollout));
  }

  /** Why it is where it is, in a sentence or two. @throws AspiredError ERR_ROLLOUT_NOT_FOUND */
  async explain(rollout: string): Promise<string> {
    return explain(await this.get(rollout));
  }

  /** Active rollouts. */
  async list(): Promise<readonly RolloutRecord[]> {
    return this.records(await this.store.activeRollouts());
  }

  /** Rollouts of a model, the latest first. */
  async history(model: string, count = 20): Promise<readonly RolloutRecord[]> {
    return this.records(await this.store.history(model, checkInteger('count', count, 20, 1)));
  }

  /** Undefined: there is none of that name. */
  model(name: string): Promise<ModelRecord | undefined> {
    return this.store.model(name);
  }

  models(): Promise<readonly string[]> {
    return this.store.models();
  }

  /** All hosts, with what they are to have and what they reported last. */
  hosts(): Promise<readonly HostView[]> {
    return readHostViews(this.store);
  }

  /** Out of rollouts until it is uncordoned: neither told nor counted. @throws AspiredError ERR_HOST_NOT_FOUND */
  async cordon(host: string, intent: IntentOptions): Promise<void> {
    await this.store.setCordoned(host, true, checkIntent(intent));
  }

  /** It is given what it missed. @throws AspiredError ERR_HOST_NOT_FOUND */
  async uncordon(host: string, intent: IntentOptions): Promise<void> {
    await this.store.setCordoned(host, false, checkIntent(intent));
    // Controllers look at hosts that ask for it at once, and at all of them only now and then.
    await this.store.hint(host);
  }

  /** Forgets a host that is gone for good. @throws AspiredError ERR_HOST_NOT_FOUND */
  async removeHost(host: string, intent: IntentOptions): Promise<void> {
    await this.store.removeHost(host, checkIntent(intent));
  }

  /** The store's clock, in ms since the epoch: that of all times in records. */
  now(): Promise<number> {
    return this.store.now();
  }

  /** The audit trail of a model, oldest first; '' as the model: hosts and restores. */
  audit(model: string, after?: string, count?: number): Promise<readonly AuditEntry[]> {
    return this.store.audit(model, after, count);
  }

  /** The latest entries of it, oldest first: the last `count`, or the last ones before the entry with the id given. */
  latestAudit(model: string, before?: string, count?: number): Promise<readonly AuditEntry[]> {
    return this.store.latestAudit(model, before, count);
  }

  /** Everything that a new store needs to go on. Rollouts that are active are not in it. */
  exportAll(): Promise<FleetExport> {
    return this.store.exportAll();
  }

  /**
   * Fills an empty store from an export.
   *
   * @throws AspiredError ERR_ROLLOUT_CONFLICT: it is not empty. ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME,
   * ERR_SCHEMA_UNSUPPORTED, ERR_DOCUMENT_UNDECODABLE: it is no export of this fleet, and the message says where.
   */
  async restore(data: FleetExport, intent: IntentOptions): Promise<FleetMeta> {
    return this.store.importAll(data, checkIntent(intent));
  }

  /** Fills an empty store from what the hosts report. @throws AspiredError ERR_ROLLOUT_CONFLICT: it is not empty */
  async restoreFromHosts(intent: IntentOptions, options?: RestoreOptions): Promise<FleetMeta> {
    return restoreFromHosts(this.store, checkIntent(intent), options);
  }

  private async verbOnEnded(
    record: RolloutRecord,
    verb: RolloutVerb,
    intent: Intent,
    force: boolean,
  ): Promise<VerbDone> {
    // The answer that it got while it was active, when this is the same operation again.
    const before = await this.store.verbAnswer(record.id, intent.operation);
    if (before) return this.done(record.id, before);
    if (verb === 'retry') return this.succeed(retryOf, record, intent, force);
    if (verb === 'undo') return this.succeed(undoOf, record, intent, true);
    return this.done(record.id, answerAfterEnd(verb, record.state));
  }

  /** Starts the rollout that follows from one that has ended, if any does. */
  private async succeed(
    make: typeof retryOf,
    record: RolloutRecord,
    intent: Intent,
    force: boolean,
  ): Promise<VerbDone> {
    const id = idOf(record.model, make === undoOf ? 'undo' : 'retry', intent);
    const known = await this.startedBy(id);
    if (known) return known;
    return this.begin(async () => {
      const model = await this.store.model(record.model);
      const hosts = (await this.store.hosts()).filter(({ cordoned }) => !cordoned);
      const next = make({ record, model, hosts, intent, force });
      if ('refused' in next) return { rollout: record.id, ...next };
      return { id, ...next, force, expectStable: model?.stable ?? null, ...intent };
    });
  }

  /** `make` is asked again when another version has become stable since it looked. */
  private async begin(
    make: () => Promise<RolloutStart | { readonly rollout: string; readonly refused: string }>,
  ): Promise<VerbDone> {
    for (let attempt = 1; ; attempt++) {
      const start = await make();
      if ('refused' in start) return this.done(start.rollout, { outcome: 'refused', message: start.refused });
      const done = await this.tryToBegin(start);
      if (done) return done;
      if (attempt < STARTS) continue;
      const message = `Model ${start.plan.model} gets another stable version each time that it is looked at.`;
      throw new AspiredError('ERR_ROLLOUT_CONFLICT', message);
    }
  }

  /** Undefined: another version is stable than the one that it was made for. */
  private async tryToBegin(start: RolloutStart): Promise<VerbDone | undefined> {
    const { plan, state } = start;
    const isBack = state.rollback !== undefined;
    if (!isBack) await this.needReplicas('nothing was started');
    const started = await this.store.startRollout(start);
    if (started.outcome === 'conflict') return undefined;
    if (started.outcome === 'active') {
      throw new AspiredError('ERR_ROLLOUT_ACTIVE', `Model ${plan.model} has an active rollout: ${started.active}.`);
    }
    if (started.outcome === 'tombstoned') {
      const message = `Version ${plan.version} of ${plan.model} was rolled back as bad; force starts it all the same.`;
      throw new AspiredError('ERR_VERSION_TOMBSTONED', message);
    }
    const { record } = started;
    const done = await this.done(record.id, { outcome: 'applied', message: startedText(plan) });
    const { minReplicas } = this.settings;
    if (isBack || done.replicated >= minReplicas) return done;
    throw this.unconfirmed(`rollout ${record.id} is written, and waits until they do`, done.replicated);
  }

  /** What an operation started before, when this is the same one again. */
  private async startedBy(id: string): Promise<VerbDone | undefined> {
    const record = await this.store.rollout(id);
    return record && this.done(record.id, { outcome: 'applied', message: startedText(record.plan) });
  }

  private async waitForAnswer({ id }: RolloutRecord, verb: RolloutVerb, { operation }: Intent): Promise<VerbDone> {
    const end = performance.now() + this.settings.answerTimeoutMs;
    for (;;) {
      const answer = await this.store.verbAnswer(id, operation);
      if (answer) return this.done(id, answer);
      const record = await this.store.rolloutState(id);
      if (record?.state.phase === 'Ended') {
        // Its last commit may have been the answer.
        const last = await this.store.verbAnswer(id, operation);
        const { outcome } = answerAfterEnd(verb, record.state);
        const message = `It ended (${record.state.outcome}) before ${verb} was looked at`;
        return this.done(id, last ?? { outcome, message });
      }
      if (performance.now() >= end) {
        const message = `${verb} is written, and no controller has looked at it within ${this.settings.answerTimeoutMs} ms`;
        return this.done(id, { outcome: 'pending', message });
      }
      await sleep(LOOK_MS);
    }
  }

  private async done(rollout: string, { outcome, message }: Pick<VerbDone, 'outcome' | 'message'>): Promise<VerbDone> {
    const { minReplicas, confirmTimeoutMs } = this.settings;
    const revision = (await this.store.rolloutState(rollout))?.revision ?? 0;
    // None wanted, none held up for: but the answer is about those that there are, not about what they had a moment ago.
    const replicas = minReplicas || (await this.store.replicas());
    // After a read of what was written, by whomever: it counts from there.
    const replicated = replicas === 0 ? 0 : await this.store.confirm(replicas, confirmTimeoutMs);
    return { rollout, outcome, message, revision, replicated, replicas };
  }

  private async needReplicas(otherwise: string): Promise<void> {
    const { minReplicas, confirmTimeoutMs } = this.settings;
    if (minReplicas === 0) return;
    const replicated = await this.store.confirm(minReplicas, confirmTimeoutMs);
    if (replicated < minReplicas) throw this.unconfirmed(otherwise, replicated);
  }

  private unconfirmed(what: string, replicated: number): AspiredError {
    const wanted = `${this.settings.minReplicas} wanted`;
    return new AspiredError('ERR_STORE_UNCONFIRMED', `Only ${replicated} of ${wanted} replicas have it: ${what}.`);
  }

  private async records(ids: readonly string[]): Promise<readonly RolloutRecord[]> {
    const records = await Promise.all(ids.map((id) => this.store.rollout(id)));
    return records.filter((record) => record !== undefined);
  }
}

/** The same for the same operation, and readable: 'ranker-v43-0f3a91c27b'. */
function idOf(model: string, what: string, { operation }: Intent): string {
  const hash = createHash('sha256').update(operation).digest('hex').slice(0, 10);
  return `${String(model).slice(0, 80)}-${what}-${hash}`;
}

function startedText({ version, hosts, waves }: RolloutPlan): string {
  const count = (many: readonly unknown[], noun: string): string =>
    `${many.length} ${noun}${many.length === 1 ? '' : 's'}`;
  return `version ${version} on ${count(hosts, 'host')} in ${count(waves, 'wave')}`;
}
