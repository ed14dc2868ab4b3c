// One tick of a rollout: look, decide, commit. Any controller may tick any rollout at any time: what two decide at once, the
// compare-and-set of the store lets one of them do, and the other one looks again.
import { randomUUID } from 'node:crypto';
import { AspiredError } from '../../errors.js';
import { reduce } from '../rollout/reduce.js';
import { type Hold, MAX_WRITES, type RolloutPhase, type RolloutPlan, type RolloutStep } from '../rollout/types.js';
import type { CommitAnswer, FleetStore, ModelRecord, RolloutRecord } from '../store/types.js';
import { CellBook } from './cell-book.js';
import type { FleetView } from './fleet-view.js';
import { GateDesk, type GateErrand } from './gate-desk.js';
import { release } from './lost-rollouts.js';
import { type HostPicture, type Observed, observe } from './observe.js';

/** A sweep that is not older does for a tick, in ms. */
const VIEW_AGE_MS = 100;
/** How often a tick looks again when somebody else was first. */
const CONFLICTS = 3;

/** What a tick came to. */
export interface Ticked {
  readonly outcome: 'committed' | 'unchanged' | 'conflict' | 'ended' | 'gone';
  /** When to look again at the latest, ms. */
  readonly againInMs: number;
  readonly model?: string;
  readonly hold?: Hold | undefined;
}

/** What else a tick needs. */
export interface TickerOptions {
  readonly store: FleetStore;
  readonly view: FleetView;
  /** A clock that only goes on, in ms. */
  readonly clock: () => number;
  readonly heartbeatIntervalMs: number;
  /** Forward steps need as many replicas that have what was written before. */
  readonly minReplicas: number;
  readonly confirmTimeoutMs: number;
  /** 'observation-grace' while it lasts. */
  readonly grace: () => 'observation-grace' | undefined;
  /** After the commit: webhooks to ask. Must not throw. */
  readonly onErrands: (errands: readonly GateErrand[]) => void;
  /** After the commit: what was committed. Must not throw. */
  readonly onCommitted: (record: Omit<RolloutRecord, 'plan'>, step: RolloutStep, answer: CommitAnswer) => void;
  readonly onError: (error: AspiredError) => void;
}

interface Look {
  readonly record: RolloutRecord;
  readonly model: ModelRecord;
  readonly pictures: readonly HostPicture[];
  readonly observed: Observed;
  readonly stored: Parameters<GateDesk['results']>[0]['stored'];
}

/** See the top of the file. */
export class RolloutTicker {
  private readonly options: TickerOptions;
  private readonly cells: CellBook;
  private readonly desk = new GateDesk();
  /** They never change; the largest part of a record. */
  private readonly plans = new Map<string, RolloutPlan>();
  /** Since when hosts of a model are ahead of the store. */
  private readonly regressedSince = new Map<string, number>();

  constructor(options: TickerOptions) {
    this.options = options;
    this.cells = new CellBook(options.store);
  }

  /** Rejects with what the store says. */
  async tick(rollout: string): Promise<Ticked> {
    for (let attempt = 0; attempt < CONFLICTS; attempt++) {
      const ticked = await this.once(rollout);
      if (ticked.outcome !== 'conflict') return ticked;
    }
    return { outcome: 'conflict', againInMs: VIEW_AGE_MS };
  }

  /** What is cached may not be what is in the store any more. */
  distrust(all: boolean): void {
    this.cells.forget();
    if (all) this.plans.clear();
  }

  private async once(rollout: string): Promise<Ticked> {
    const { store } = this.options;
    // Reports first: what a host has accepted was written before, so a record that is read later is never behind it.
    await this.options.view.fresh(VIEW_AGE_MS);
    const record = await this.readRecord(rollout);
    if (!record) return this.forget(rollout, 'gone');
    if (record.state.phase === 'Ended') {
      await this.releaseLeftOver(record);
      return this.forget(rollout, 'ended', record.model);
    }
    const look = await this.look(record);
    if (!look) return this.forget(rollout, 'gone', record.model);
    const { observed } = look;
    const gates = this.desk.results({ rollout, ...record, ...look, observation: observed.observation });
    const step = reduce(record.plan, record.state, { ...observed.observation, gates });
    if (!step.changed) {
      this.options.onErrands(
        this.desk.errands({ rollout, plan: record.plan, stored: look.stored }, step.state, step.ask),
      );
      await this.mendRegression(look);
      return { outcome: 'unchanged', againInMs: step.againInMs, model: record.model, hold: step.state.hold };
    }
    const answer = await store.commit(commitOf(look, step));
    if (answer.outcome === 'conflict') {
      this.cells.forget(record.model);
      return { outcome: 'conflict', againInMs: 0 };
    }
    this.cells.wrote({
      model: record.model,
      before: look.model.generation,
      above: observed.highestGeneration,
      generation: answer.generation,
      hosts: record.plan.hosts,
      writes: step.writes,
    });
    this.options.onCommitted(record, step, answer);
    this.options.onErrands(
      this.desk.errands({ rollout, plan: record.plan, stored: look.stored }, step.state, step.ask),
    );
    await this.confirm(record.state.phase, step);
    if (step.state.phase === 'Ended') return this.forget(rollout, 'ended', record.model);
    return { outcome: 'committed', againInMs: 0, model: record.model, hold: step.state.hold };
  }

  /** Whoever closed it as lost died before the second step: no other rollout of the model could start. */
  private async releaseLeftOver(record: RolloutRecord): Promise<void> {
    const { store } = this.options;
    const model = await store.model(record.model);
    if (model?.active === record.id) await release(store, record);
  }

  private async readRecord(rollout: string): Promise<RolloutRecord | undefined> {
    const { store } = this.options;
    const plan = this.plans.get(rollout);
    if (plan) {
      const rest = await store.rolloutState(rollout);
      return rest && { ...rest, plan };
    }
    const record = await store.rollout(rollout);
    if (record) this.plans.set(rollout, record.plan);
    return record;
  }

  private async look(record: RolloutRecord): Promise<Look | undefined> {
    const { store, view } = this.options;
    const { plan, state, stamps } = record;
    const asksOthers = plan.gates.some(({ kind }) => kind === 'webhook');
    const [model, verbs, stored, now, isConfirmed] = await Promise.all([
      store.model(record.model),
      store.pendingVerbs(record.id),
      asksOthers ? store.gateResults(record.id) : new Map(),
      store.now(),
      // A way back waits for no replica.
      state.phase === 'Rollback' || this.isConfirmed(),
    ]);
    if (model?.active !== record.id) return undefined;
    const cells = await this.cells.read(record.model, model.generation, plan.hosts);
    const pictures = plan.hosts.map((host) => view.picture(host));
    const { held } = view.leases;
    const storeHold =
      this.options.grace() ?? (held.size > 0 ? 'mass-expiry' : undefined) ?? (isConfirmed ? undefined : 'unconfirmed');
    const observed = observe({
      ...{ now, plan, state, stamps, pictures, cells, generation: model.generation, verbs, gates: new Map() },
      ...{ storeHold, storeHosts: storeHold === 'mass-expiry' ? [...held] : undefined },
    });
    return { record, model, pictures, observed, stored };
  }

  /** Whether enough replicas have what this connection wrote. Nothing is asked when none are wanted. */
  private async isConfirmed(): Promise<boolean> {
    const { store, minReplicas, confirmTimeoutMs } = this.options;
    return minReplicas === 0 || (await store.confirm(minReplicas, confirmTimeoutMs)) >= minReplicas;
  }

  /** What must not be lost is waited for; that it is not there does not undo it. */
  private async confirm(before: RolloutPhase, { state, verbs }: RolloutStep): Promise<void> {
    const isEntered = state.phase !== before && (state.phase === 'Rollback' || state.phase === 'Ended');
    if (!isEntered && (verbs?.answers.length ?? 0) === 0) return;
    if (await this.isConfirmed()) return;
    const { minReplicas, onError } = this.options;
    const what = state.phase === 'Ended' ? `the end (${state.outcome})` : `a step of ${state.phase}`;
    const message = `Fewer than ${minReplicas} replicas confirmed ${what} in time: a failover could lose it.`;
    onError(new AspiredError('ERR_STORE_UNCONFIRMED', message));
  }

  /**
   * Hosts are ahead of the store: writes were lost. After a while, in which those that know of a rollback can say so, what
   * the store has is told anew with a generation above all that were seen: else they would never listen again. A host that
   * has no room for it beside what it has keeps that until its wave, or the rollback, lets it go within the budget.
   */
  private async mendRegression({ record, model, observed }: Look): Promise<void> {
    const { store, clock, heartbeatIntervalMs } = this.options;
    if (observed.regressed.length === 0) {
      this.regressedSince.delete(record.model);
      return;
    }
    const since = this.regressedSince.get(record.model) ?? clock();
    this.regressedSince.set(record.model, since);
    const { plan, state } = record;
    // What a witness knows is gone with the next generation: not before its rollback is committed. After that a host that was
    // told the same before is not written to by the rollback, and would never listen again.
    const isUnheard = observed.observation.witness !== undefined && !state.rollback?.everywhere;
    if (clock() - since < 2 * heartbeatIntervalMs || isUnheard) return;
    const places = observed.regressed.slice(0, MAX_WRITES);
    const cells = await this.cells.read(record.model, model.generation, plan.hosts);
    const writes = places.flatMap((place) => {
      const cell = cells[place];
      if (cell) {
        const { generation: _, ...same } = cell;
        return [{ place, cell: same }];
      }
      return state.from === undefined ? [] : [{ place, cell: { versions: [state.from], primary: state.from } }];
    });
    if (writes.length === 0) return;
    await store.assertCells({
      model: record.model,
      expectGeneration: model.generation,
      generationAbove: observed.highestGeneration,
      hosts: plan.hosts,
      writes,
      intent: {
        actor: 'controller',
        reason: `${observed.regressed.length} hosts accepted generations that the store has lost: told anew`,
        operation: randomUUID(),
      },
    });
    this.cells.forget(record.model);
  }

  private forget(rollout: string, outcome: 'ended' | 'gone', model?: string): Ticked {
    this.plans.delete(rollout);
    this.desk.forget(rollout);
    if (model !== undefined) {
      this.cells.forget(model);
      this.regressedSince.delete(model);
    }
    return { outcome, againInMs: Number.POSITIVE_INFINITY, ...(model !== undefined && { model }) };
  }
}

function commitOf({ record, model, observed }: Look, step: RolloutStep): Parameters<FleetStore['commit']>[0] {
  if (!step.audit) throw new AspiredError('ERR_INTERNAL', `A step of rollout ${record.id} has no line for the audit.`);
  return {
    rollout: record.id,
    model: record.model,
    expectRevision: record.revision,
    expectGeneration: model.generation,
    operation: randomUUID(),
    state: step.state,
    stamps: step.stamps,
    writes: step.writes,
    hosts: record.plan.hosts,
    generationAbove: observed.highestGeneration,
    audit: step.audit,
    ...(step.verbs && { verbs: step.verbs }),
    ...(step.model && { modelChange: step.model }),
  };
}
