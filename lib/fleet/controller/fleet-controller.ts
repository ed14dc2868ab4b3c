import { AspiredError } from '../../errors.js';
import type { Hold } from '../rollout/types.js';
import type { FleetStore } from '../store/types.js';
import { ActiveRollouts } from './active-rollouts.js';
import { Complaints } from './complaints.js';
import { type Errands, localErrands, type MakeErrands } from './errands.js';
import { FleetView } from './fleet-view.js';
import { runGate } from './gate-runner.js';
import { type ControllerSettings, checkControllerOptions, type FleetControllerOptions, openStore } from './options.js';
import { queueErrands } from './queue-errands.js';
import { Registrar } from './registrar.js';
import { Repeater } from './repeater.js';
import { StoreLoss } from './store-loss.js';
import { TickLoop } from './tick-loop.js';
import { RolloutTicker, type Ticked } from './ticker.js';
import { within } from './within.js';

/** How often new rollouts, verbs and hosts that ask to join are looked for, in ms. */
const POLL_MS = 200;
/** The same when there has been no rollout for QUIET_MS: most of the time, and most of what an idle fleet costs. */
const IDLE_POLL_MS = 1_000;
const QUIET_MS = 5_000;
/** The share of sweeps that look at one model on all hosts: one in so many heartbeat intervals. */
const SETTLE_HEARTBEATS = 3;
/** How old the list of hosts may be, in ms: other controllers enter hosts too, and operators cordon them. */
const REGISTRY_MS = 1_000;
/** What close() waits for at most, in ms, twice. */
const CLOSE_MS = 3_000;

/** What a controller is about, for a page of health. */
export interface ControllerStatus {
  readonly id: string;
  /** Ids of active rollouts, with why each does not go on. */
  readonly active: ReadonlyMap<string, Hold | undefined>;
  /** Ticks that this controller has made. */
  readonly ticks: number;
  /** 'empty': the store does not have the fleet any more; nothing is written. */
  readonly store: 'present' | 'empty' | 'unknown';
  /** Workers that stopped consuming and were replaced. */
  readonly replacedWorkers: number;
}

/**
 * Makes rollouts go on. Any number of controllers may run: none is the leader, and one that is stopped, slow or out of its mind
 * with an old picture can delay a rollout, but not harm it.
 *
 * With a store in memory everything runs on timers of this process. With Redis the ticks, webhooks, notifications, planned
 * starts and the archive go through BullMQ.
 */
export class FleetController {
  private readonly clock = (): number => performance.now();
  private readonly complaints: Complaints;
  private readonly view: FleetView;
  private readonly ticker: RolloutTicker;
  private readonly loop: TickLoop;
  private readonly active: ActiveRollouts;
  private readonly registrar: Registrar;
  private readonly loss: StoreLoss;
  private readonly errands: Errands;
  private readonly repeaters: readonly Repeater[];
  private ticks = 0;
  /** Whom it finds silent at first may have died long ago, or have been cut off together with it. */
  private hasSwept = false;
  private registryAt = Number.NEGATIVE_INFINITY;
  /** When there was a rollout last. */
  private busyAt = performance.now();
  private closing: Promise<void> | undefined;

  private constructor(
    private readonly store: FleetStore,
    private readonly owned: boolean,
    private readonly settings: ControllerSettings,
    makeErrands: MakeErrands,
  ) {
    const { clock } = this;
    const { heartbeatIntervalMs, minReplicas, confirmTimeoutMs, sweepIntervalMs, tickIntervalMs } = settings;
    this.complaints = new Complaints(settings.onError, clock);
    const onError = (error: unknown): void => this.complaints.tell(error);
    this.view = new FleetView({ store, heartbeatIntervalMs, clock });
    this.active = new ActiveRollouts(store);
    this.registrar = new Registrar(store, this.view);
    this.loss = new StoreLoss({
      ...{ store, heartbeatIntervalMs, clock, onError },
      hosts: () => this.view.hosts.map(({ info }) => info.id),
      markOf: (host) => this.view.markOf(host),
      remembered: () => this.active.records(),
      onDistrust: (all) => this.distrust(all),
    });
    this.errands = makeErrands({
      tick: (rollout) => this.loop.run(rollout),
      gate: (errand, signal) => runGate(store, errand, signal),
      onGateDone: ({ rollout }) => this.loop.wake(rollout),
      onError,
    });
    this.ticker = new RolloutTicker({
      ...{ store, view: this.view, clock, heartbeatIntervalMs, minReplicas, confirmTimeoutMs, onError },
      grace: this.loss.grace,
      onErrands: (errands) => {
        for (const errand of errands) this.errands.gate(errand);
      },
      onCommitted: (record, step, answer) => this.errands.committed(record, step, answer),
    });
    const { enqueue } = this.errands;
    this.loop = new TickLoop({
      ...{ clock, tickIntervalMs, onError, enqueue },
      tick: (rollout) => this.tick(rollout),
      onTicked: (rollout, ticked) => this.onTicked(rollout, ticked),
    });
    const repeat = (work: () => Promise<void>, intervalMs: () => number): Repeater =>
      new Repeater(work, intervalMs, onError);
    const paced = (ms: number) => (): number => (this.active.size > 0 ? ms : Math.max(ms, heartbeatIntervalMs));
    this.repeaters = [
      repeat(
        () => this.poll(),
        () => this.pollIntervalMs(),
      ),
      repeat(() => this.sweep(), paced(sweepIntervalMs)),
      repeat(
        () => this.supervise(),
        () => tickIntervalMs,
      ),
      repeat(
        () => this.settle(),
        () => SETTLE_HEARTBEATS * heartbeatIntervalMs,
      ),
    ];
  }

  /**
   * Starts a controller.
   *
   * @throws AspiredError ERR_STORE_EMPTY: the store does not have the fleet, and `create` is not set. ERR_PEER_NOT_FOUND: bullmq
   * or ioredis is missing. ERR_STORE_*, and those of the options.
   */
  static async start(options: FleetControllerOptions): Promise<FleetController> {
    const settings = checkControllerOptions(options);
    const { store, owned, redis } = await openStore(settings);
    try {
      if (settings.create) await store.create();
      else if (!(await store.meta())) {
        throw new AspiredError(
          'ERR_STORE_EMPTY',
          `The store does not have the fleet ${settings.fleet}: restore it, or make it where there was none.`,
        );
      }
      const makeErrands = redis === undefined ? localErrands : await queueErrands(settings, store, redis);
      const controller = new FleetController(store, owned, settings, makeErrands);
      for (const repeater of controller.repeaters) repeater.start();
      return controller;
    } catch (error) {
      if (owned) await store.close();
      throw error;
    }
  }

  /** What it is about. */
  status(): ControllerStatus {
    return {
      id: this.settings.id,
      active: this.active.holds(),
      ticks: this.ticks,
      store: this.loss.presence,
      replacedWorkers: this.errands.replacedWorkers,
    };
  }

  /** Ends its ticks, and hands the rest over to the other controllers. Never rejects; also ends when the store is away. */
  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async closeAll(): Promise<void> {
    const ended = Promise.all([
      ...this.repeaters.map((repeater) => repeater.close()),
      this.loop.close(),
      this.errands.close(),
    ]);
    await within(CLOSE_MS, ended);
    if (this.owned) await within(CLOSE_MS, this.store.close());
  }

  private async tick(rollout: string): Promise<Ticked> {
    if (this.loss.presence !== 'present') return { outcome: 'unchanged', againInMs: this.settings.tickIntervalMs };
    if (!this.hasSwept) await this.sweep();
    const ticked = await this.ticker.tick(rollout);
    this.ticks++;
    this.loss.answered();
    return ticked;
  }

  private onTicked(rollout: string, { outcome, hold }: Ticked): void {
    this.active.setHold(rollout, hold);
    if (outcome === 'ended') this.ended(rollout);
    // Whether the rollout alone is gone, or the store is empty, is found out before anything else.
    if (outcome === 'gone') this.repeaters[0]?.nudge();
  }

  private ended(rollout: string): void {
    this.active.delete(rollout);
    this.loop.forget(rollout);
    this.view.watch(this.active.models());
  }

  private pollIntervalMs(): number {
    if (this.active.size > 0) this.busyAt = this.clock();
    return this.clock() - this.busyAt < QUIET_MS ? POLL_MS : IDLE_POLL_MS;
  }

  /** New rollouts, verbs, hosts that ask to join. */
  private async poll(): Promise<void> {
    if (!(await this.loss.check())) return;
    const { started, gone, wanted } = await this.active.refresh();
    this.loss.answered();
    // A store that was emptied since it was asked has not ended them, but lost them.
    if (gone.length > 0 && !(await this.loss.check())) return;
    for (const rollout of gone) this.ended(rollout);
    if (started.length > 0) {
      this.view.watch(this.active.models());
      this.repeaters[1]?.nudge();
    }
    for (const rollout of new Set([...started, ...wanted])) this.loop.wake(rollout);
    await this.registrar.enter();
    await this.registrar.settleFresh();
  }

  /** Leases and reports. */
  private async sweep(): Promise<void> {
    if (this.loss.presence !== 'present') return;
    if (this.clock() - this.registryAt > REGISTRY_MS) {
      await this.view.readRegistry();
      this.registryAt = this.clock();
    }
    const changed = await this.view.sweep();
    this.loss.answered();
    if (!this.hasSwept && this.view.isMostlySilent) this.loss.beginGrace();
    this.hasSwept = true;
    if (changed.size === 0) return;
    for (const rollout of this.active.touchedBy(changed)) this.loop.wake(rollout);
  }

  /** Ticks that Redis lost, a server that is another one, a worker that hangs. */
  private async supervise(): Promise<void> {
    if (this.loss.presence !== 'present') return;
    for (const rollout of this.active.ids()) this.loop.wake(rollout);
    await this.loss.checkHistory();
    await this.loss.mend();
    await this.errands.supervise();
  }

  /** Hosts that came late, one model at a time. */
  private async settle(): Promise<void> {
    if (this.loss.presence !== 'present' || this.loss.grace()) return;
    await this.registrar.settleNext();
  }

  private distrust(all: boolean): void {
    this.ticker.distrust(all);
    if (!all) return;
    this.view.reset();
    this.registrar.reset();
    this.repeaters[2]?.nudge();
  }
}
