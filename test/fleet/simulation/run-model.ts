// One model of one seed, from its rollout to the quiet after it, and the invariants, judged by what the hosts are.
import { layoutOf } from '#lib/fleet/rollout/layout.js';
import { firstState } from '#lib/fleet/rollout/reduce.js';
import { type RolloutState, type RolloutVerb, TOLD } from '#lib/fleet/rollout/types.js';
import type { Dice } from './dice.js';
import type { Mutant } from './mutants.js';
import { BAKE_MS, DEADLINE_MS, PROGRESS_MS, type SimPlan } from './plans.js';
import { SimController } from './sim-controller.js';
import { SimFleet } from './sim-fleet.js';
import { LOADING, NONE, type Poison, READY, SimHosts, type Violation } from './sim-hosts.js';
import { type SimAudit, SimStore } from './sim-store.js';
import { FAULTS_END_MS, type Fault, ZONES } from './timeline.js';

const POISONS: readonly Poison[] = ['all-fail', 'some-fail', 'slow-retry', 'bad-traffic', 'crashes'];
const VERBS: readonly RolloutVerb[] = [
  'pause',
  'resume',
  'promote',
  'promote-full',
  'abort',
  'undo',
  'retry',
  'freeze',
];
/** An operator looks after what still stands then. */
const OPERATOR_MS = FAULTS_END_MS + DEADLINE_MS;
const END_MS = 900_000;
/** The slowest load, and what leases and reports take. */
const QUIET_MS = 120_000;

export interface ModelResult {
  readonly violation?: Violation;
  readonly outcomes: readonly string[];
  readonly rounds: number;
}

export class ModelRun {
  private now = 0;
  private rounds = 0;
  private readonly store: SimStore;
  private readonly hosts: SimHosts;
  private readonly fleet: SimFleet;
  private readonly controller: SimController;
  private readonly verbs: { at: number; verb: RolloutVerb }[] = [];
  /** By place: its host is unavailable, and not excused. */
  private readonly isMissing: Uint8Array;
  /** By zone: how many are. */
  private readonly unavailable = new Int32Array(ZONES);
  private startedAt: number;
  private operatorCame = -1;
  private followUps: number;
  /** It lives through all faults, also when its rollout has ended before. */
  private readonly patient: boolean;
  /** A retry: what was taken back before is wanted again. */
  private again = false;

  constructor(
    private readonly sim: SimPlan,
    private readonly dice: Dice,
    faults: readonly Fault[],
    private readonly mutant: Mutant,
  ) {
    const size = sim.plan.hosts.length;
    const poison = dice.chance(0.6) ? 'none' : dice.pick(POISONS);
    this.store = new SimStore(size, mutant.store);
    this.hosts = new SimHosts(size, dice, sim.hasOld, poison, mutant.host);
    this.store.judge = (state, place, before, now) => this.judgeWrite(state, place, now & ~before);
    this.isMissing = new Uint8Array(size);
    this.fleet = new SimFleet(
      faults,
      (kind) => this.storeFault(kind),
      (host) => this.wake(host),
    );
    this.controller = new SimController(sim, this.store, this.hosts, dice, poison, mutant);
    this.startedAt = dice.between(1000, 60_000);
    this.followUps = dice.chance(0.2) ? 1 : 0;
    this.patient = dice.chance(0.15);
    if (sim.hasOld) {
      this.store.told.fill(TOLD.OLD);
      this.store.generations.fill(1);
      this.store.stable = 1;
    }
    this.planVerbs(faults);
  }

  private planVerbs(faults: readonly Fault[]): void {
    const { dice, verbs } = this;
    if (dice.chance(0.3)) {
      for (let i = dice.between(1, 4); i > 0; i--) {
        verbs.push({ at: this.startedAt + dice.between(0, 60_000), verb: dice.pick(VERBS) });
      }
    }
    // An abort that is lost again is the worst that lost writes can do: the version must not come back to life.
    const snapshot = faults.find(({ kind }) => kind === 'snapshot');
    if (snapshot && dice.chance(0.2)) verbs.push({ at: snapshot.at + dice.between(0, 2000), verb: 'abort' });
    verbs.sort((one, other) => one.at - other.at);
  }

  run(): ModelResult {
    let started = false;
    this.now = this.startedAt;
    let quietSince = Number.POSITIVE_INFINITY;
    while (!this.hosts.violation) {
      this.now += this.dice.between(500, 2500);
      this.rounds++;
      this.round();
      if (!started && this.now >= this.startedAt) {
        started = true;
        this.start(false);
      }
      this.askVerbs();
      if (!started || this.store.active.length > 0 || (this.patient && this.now < FAULTS_END_MS)) quietSince = this.now;
      else if (this.followUps-- > 0) this.start(true);
      else if (this.isQuiet() || this.now - quietSince > QUIET_MS) break;
      if (this.now > END_MS) this.hosts.break('I4', `not ended after ${END_MS} ms: ${this.describe()}`);
    }
    if (!this.hosts.violation) this.judgeEnd();
    const { violation } = this.hosts;
    const outcomes = this.store.records.map(({ state }) => state.outcome ?? state.phase);
    return { ...(violation ? { violation } : {}), outcomes, rounds: this.rounds };
  }

  private start(again: boolean): void {
    const { sim, store, now } = this;
    const last = store.records.at(-1);
    this.again ||= again;
    if (again && last?.state.outcome?.endsWith('Promoted') && sim.hasOld) {
      store.start(sim.undo.plan, sim.undo.state, now);
    } else if (!again || store.tombstones.has(2)) {
      const from = sim.hasOld ? 1 : undefined;
      store.start(sim.plan, firstState(sim.plan, { from, actor: 'ops', reason: 'simulated' }), now);
      // Somebody else starts one at the same time: the model is taken.
      if (this.dice.chance(0.1)) {
        store.start(sim.plan, firstState(sim.plan, { from, actor: 'ci', reason: 'simulated' }), now);
      }
    }
    if (store.active.length > 1) this.hosts.break('I1', `${store.active.length} rollouts are active`);
  }

  private askVerbs(): void {
    const { now, store, controller } = this;
    while (this.verbs.length > 0 && (this.verbs[0]?.at ?? 0) <= now) {
      const { verb } = this.verbs.shift() as { verb: RolloutVerb };
      if (store.active.length > 0) controller.queue(verb);
    }
    // What an operator froze, or a plan that freezes, waits for an operator.
    const last = store.records.length - 1;
    if (now > OPERATOR_MS && this.operatorCame < last && store.records[last]?.state.phase === 'Frozen') {
      this.operatorCame = last;
      controller.queue('abort');
    }
    if (store.active.length === 0) controller.verbs = [];
  }

  private round(): void {
    const { fleet, now, controller, dice } = this;
    fleet.advance(now);
    if (dice.chance(0.1)) this.replay();
    this.moveHosts();
    this.judgeBudget();
    controller.tick(now);
  }

  private storeFault(kind: 'snapshot' | 'restore'): void {
    if (kind === 'snapshot') this.store.snapshot();
    else {
      this.store.restore();
      this.controller.storeReturned(this.now);
    }
  }

  private wake(host: number): void {
    const place = this.sim.placeOf[host] as number;
    if (place >= 0) this.hosts.awake.add(place);
  }

  /** A document as it was once, or none: neither may change anything. */
  private replay(): void {
    const { store, hosts, now, dice } = this;
    const place = dice.between(0, store.size - 1);
    const generation = hosts.generation[place] as number;
    if (!this.isUp(place) || dice.chance(0.5)) hosts.read(place, 0, 0, now);
    else if (generation > 1) hosts.read(place, TOLD.OLD, dice.between(1, generation - 1), now);
  }

  private isUp(place: number): boolean {
    const host = this.sim.hostOf[place] as number;
    return this.fleet.up[host] === 1 && (this.hosts.downUntil[place] as number) <= this.now;
  }

  // Those for whom something may have changed, in the order of their places; the others are as they were.
  private moveHosts(): void {
    const { now, store } = this;
    const { awake, renewedUntil } = this.hosts;
    const lossy = this.dice.between(0, 0x7fffffff);
    if (this.mutant.everyone) awake.addAll();
    awake.addFrom(store.unread);
    store.unread.clear();
    if (!this.fleet.leasesStop) this.hosts.renewLeases(now);
    for (let place = awake.next(0); place >= 0; place = awake.next(place + 1)) {
      this.hosts.news.add(place);
      this.hosts.stopRenewing(place, renewedUntil);
      this.setMissing(place, this.moveHost(place, lossy));
    }
  }

  /** What a host does in one tick; true: it is unavailable then, without an excuse. */
  private moveHost(place: number, lossy: number): boolean {
    const { hosts, now, store } = this;
    const { up, cut, boot, leasesStop } = this.fleet;
    const host = this.sim.hostOf[place] as number;
    const desired = store.generations[place] as number;
    if (!this.isUp(place)) {
      hosts.excused[place] = 1;
      if (up[host] === 0) hosts.awake.delete(place);
      return false;
    }
    if (hosts.boot[place] !== boot[host]) hosts.restart(place, now, boot[host] as number);
    const hears = cut[host] === 0;
    if (hosts.generation[place] !== desired && hears && this.luck(place, lossy) > 1) {
      hosts.read(place, store.told[place] as number, desired, now);
    }
    if ((hosts.due[place] as number) <= now) hosts.step(place, now);
    if (hears) {
      hosts.writes(place, !leasesStop);
      if (hosts.dirty[place] === 1 && this.luck(place, lossy) < 14) hosts.report(place);
    }
    if (hosts.isCalm(place, hears, desired)) hosts.awake.delete(place);
    const isAvailable = hosts.isAvailable(place);
    if (isAvailable) hosts.excused[place] = 0;
    return !isAvailable && hosts.excused[place] === 0;
  }

  private setMissing(place: number, isMissing: boolean): void {
    const now = isMissing ? 1 : 0;
    if (this.isMissing[place] === now) return;
    this.isMissing[place] = now;
    const zone = layoutOf(this.sim.plan).zoneOf[place] as number;
    this.unavailable[zone] = (this.unavailable[zone] as number) + (isMissing ? 1 : -1);
  }

  private luck(place: number, lossy: number): number {
    return (Math.imul(place + 1, 0x9e3779b1) ^ lossy) >>> 28;
  }

  /** What stands still, or goes back, asks no host for the new version, and nothing asks one before its wave. */
  private judgeWrite({ paused, phase, rollback, wave }: RolloutState, place: number, gained: number): void {
    if ((gained & (TOLD.NEW | TOLD.PRIMARY_NEW)) === 0) return;
    const own = layoutOf(this.sim.plan).waveOf[place] as number;
    if (own > wave) this.hosts.break('waves', `place ${place} of wave ${own} is told in wave ${wave}`);
    if (paused || phase === 'Frozen' || rollback) {
      this.hosts.break('stands', `place ${place} is told of the new version in ${phase}; ${this.describe(place)}`);
    }
  }

  private judgeBudget(): void {
    if (!this.sim.hasOld) return;
    const { allowed } = layoutOf(this.sim.plan);
    for (let zone = 0; zone < allowed.length; zone++) {
      if ((this.unavailable[zone] as number) <= (allowed[zone] as number) || this.isLifted()) continue;
      const figures = `${this.unavailable[zone]} hosts of ${this.sim.plan.zones[zone]}, allowed ${allowed[zone]}`;
      this.hosts.break('I2', `unavailable at ${this.now} ms: ${figures}; ${this.describe()}`);
    }
  }

  private liftedOnce = false;

  /** A rollback that hangs is allowed to end the bad version above the budget; what it began then ends after it. */
  private isLifted(): boolean {
    const record = this.store.records.at(-1);
    if (record?.state.phase === 'Rollback' && this.now - record.stamps.phaseAt >= PROGRESS_MS) this.liftedOnce = true;
    return this.liftedOnce;
  }

  private isQuiet(): boolean {
    const { hosts, store, controller } = this;
    if (!controller.isIdle) return false;
    for (let place = 0; place < store.size; place++) {
      if (!this.isUp(place)) continue;
      if (hosts.generation[place] !== store.generations[place]) return false;
      if (hosts.oldState[place] === LOADING || hosts.newState[place] === LOADING) return false;
    }
    return true;
  }

  private judgeEnd(): void {
    const { hosts, store } = this;
    const isBad = store.tombstones.has(2) && store.stable !== 2;
    for (let place = 0; place < store.size; place++) {
      if (!this.isUp(place)) continue;
      const told = store.told[place] as number;
      if (isBad && (hosts.newState[place] === READY || ((hosts.accepted[place] as number) & TOLD.NEW) !== 0)) {
        hosts.break('I3', `place ${place} has the version that was taken back; ${this.describe(place)}`);
      }
      if (hosts.witness[place] === 1 && !isBad && !this.again) {
        hosts.break('I3', `place ${place} saw version 2 taken back, and it is stable; ${this.describe(place)}`);
      }
      if (hosts.accepted[place] !== told)
        hosts.break('I11', `place ${place} is not as desired; ${this.describe(place)}`);
      if ((told & TOLD.OLD) !== 0 && hosts.oldState[place] === NONE) {
        hosts.break('I11', `place ${place} lacks the old version; ${this.describe(place)}`);
      }
    }
    this.judgeAudit();
  }

  private judgeAudit(): void {
    const { store, hosts } = this;
    for (const { id } of store.records) {
      let revision = 0;
      let ended = false;
      let last: SimAudit | undefined;
      let bakeFrom: number | undefined;
      let skips = false;
      for (const entry of store.audit) {
        if (entry.rollout !== id) continue;
        if (entry.revision !== ++revision) hosts.break('I5', `revision ${entry.revision} follows ${revision - 1}`);
        if (ended) hosts.break('I5', `revision ${entry.revision} after the end`);
        if (entry.actor === '') hosts.break('I5', `revision ${entry.revision} has no actor`);
        ended = entry.phase === 'Ended';
        const isBake = entry.phase === 'Bake';
        if (isBake && (last?.phase !== 'Bake' || last.wave !== entry.wave)) {
          bakeFrom = entry.at;
          skips = false;
        }
        skips ||= entry.skips;
        const forward = !isBake && entry.phase !== 'Rollback' && entry.phase !== 'Frozen';
        const { bakeMs } = this.sim.plan;
        if (last?.phase === 'Bake' && forward && !skips && bakeMs > 0 && entry.at - (bakeFrom as number) < BAKE_MS) {
          hosts.break('I12', `a bake of ${entry.at - (bakeFrom as number)} ms, ${bakeMs} were asked for`);
        }
        last = entry;
      }
    }
  }

  private describe(place?: number): string {
    const record = this.store.records.at(-1);
    const { hosts, store } = this;
    const state = record ? JSON.stringify({ ...record.state, hold: record.state.hold?.message }) : 'no rollout';
    if (place === undefined) return state;
    const figures = {
      told: store.told[place],
      generation: store.generations[place],
      accepted: hosts.accepted[place],
      at: hosts.generation[place],
      old: hosts.oldState[place],
      new: hosts.newState[place],
      slots: hosts.slots[place],
    };
    return `${JSON.stringify(figures)}; ${state}`;
  }
}
