// What controllers make of one model: an observation out of reports, a step of the reducer, a commit. Two of them work
// without a lock between them: some commits are stalled and arrive when the other has gone on.
import { LeaseWatch } from '#lib/fleet/controller/lease-watch.js';
import { isAvailable } from '#lib/fleet/rollout/budget.js';
import { layoutOf } from '#lib/fleet/rollout/layout.js';
import { reduce } from '#lib/fleet/rollout/reduce.js';
import {
  type Observation,
  type PendingVerb,
  type RolloutPlan,
  type RolloutStep,
  type RolloutVerb,
  SEEN,
  TOLD,
} from '#lib/fleet/rollout/types.js';
import type { Dice } from './dice.js';
import type { Mutant } from './mutants.js';
import { NEED_MIB, type SimPlan } from './plans.js';
import type { Poison, SimHosts } from './sim-hosts.js';
import type { SimRecord, SimStore } from './sim-store.js';

/** Two heartbeats: observation grace, and how far apart leases may end that ended together. */
const GRACE_MS = 10_000;

interface Stalled {
  readonly at: number;
  readonly send: () => void;
}

const mutated = new WeakMap<RolloutPlan, Map<Mutant, RolloutPlan>>();

export class SimController {
  private readonly seen: Uint8Array;
  private readonly upToDate: Uint8Array;
  private readonly errors = new Map<number, string>();
  private readonly gates = new Map<number, { verdict: 'pass' | 'fail' | 'insufficient-data'; message: string }>();
  private stalled: Stalled[] = [];
  private graceUntil = 0;
  private readonly leases = new LeaseWatch(GRACE_MS);
  /** Of the hosts that were looked at: who has seen more than the store has. */
  private readonly isAhead: Uint8Array;
  private ahead = 0;
  /** Leases that are renewed are good. */
  private renewing = true;
  private errorsChanged = false;
  private asked: readonly number[] = [];
  verbs: PendingVerb[] = [];
  answered = 0;
  private operations = 0;

  constructor(
    private readonly sim: SimPlan,
    private readonly store: SimStore,
    private readonly hosts: SimHosts,
    private readonly dice: Dice,
    private readonly poison: Poison,
    private readonly mutant: Mutant,
  ) {
    this.seen = new Uint8Array(store.size);
    this.upToDate = new Uint8Array(store.size);
    this.isAhead = new Uint8Array(store.size);
    hosts.news.addAll();
  }

  queue(verb: RolloutVerb): void {
    const id = String(++this.operations).padStart(9, '0');
    this.verbs.push({ id, verb, actor: 'ops', reason: 'simulated', operation: id });
  }

  /** The store was away, and is back, perhaps with less than it had. */
  storeReturned(now: number): void {
    this.graceUntil = now + GRACE_MS;
    this.stalled = [];
  }

  tick(now: number): void {
    if (this.stalled.length > 0) {
      for (const { send } of this.stalled.filter(({ at }) => at <= now)) send();
      this.stalled = this.stalled.filter(({ at }) => at > now);
    }
    this.look(now);
    const hold = this.storeHold(now);
    for (const id of this.store.active) this.work(this.store.records[id] as SimRecord, now, hold);
    if (now >= this.graceUntil) this.reassert(now);
  }

  // As far as something may have changed since the last look.
  private look(now: number): void {
    const { hosts, store } = this;
    const { news } = hosts;
    const renewing = hosts.renewedUntil > now;
    if (renewing !== this.renewing) news.addAll();
    this.renewing = renewing;
    news.addFrom(store.unread);
    for (let place = news.next(0); place >= 0; place = news.next(place + 1)) {
      const lives = hosts.leaseOf(place) > now;
      this.setSeen(
        now,
        place,
        lives ? (hosts.repSeen[place] as number) | SEEN.ALIVE : (hosts.repSeen[place] as number),
      );
      const reported = hosts.repGeneration[place] as number;
      const stored = store.generations[place] as number;
      this.upToDate[place] = reported >= stored ? 1 : 0;
      this.setAhead(place, reported > stored ? 1 : 0);
      // A lease that nobody renews runs out by itself.
      if (!lives || hosts.isRenewing(place)) news.delete(place);
    }
    this.leases.judge(now);
  }

  private setSeen(now: number, place: number, seen: number): void {
    const changed = (this.seen[place] as number) ^ seen;
    this.seen[place] = seen;
    if ((changed & SEEN.ALIVE) !== 0) {
      this.leases.note(now, this.sim.plan.hosts[place] as string, (seen & SEEN.ALIVE) !== 0);
    }
    if ((changed & SEEN.NEW_ERROR) !== 0) this.errorsChanged = true;
  }

  private setAhead(place: number, ahead: 0 | 1): void {
    this.ahead += ahead - (this.isAhead[place] as number);
    this.isAhead[place] = ahead;
  }

  private storeHold(now: number): Observation['storeHold'] {
    if (now < this.graceUntil) return 'observation-grace';
    if (this.leases.held.size > 0) return 'mass-expiry';
    return this.regressed ? 'store-regression' : undefined;
  }

  private work(record: SimRecord, now: number, storeHold: Observation['storeHold']): void {
    const { mutant, dice, store } = this;
    const seen = this.observation(record, now, storeHold);
    const step = this.reduce(record, mutant.sees?.(seen, record.state) ?? seen);
    this.asked = step.ask;
    if (!step.changed) return;
    const { id, revision } = record;
    const expect = { revision, generation: store.generation };
    const operation = `op-${++this.operations}`;
    let at = now;
    const send = (): void => {
      const outcome = store.commit(id, expect, operation, step, at);
      if (outcome !== 'committed' || !step.verbs) return;
      this.answered += step.verbs.answers.length;
      const { upTo } = step.verbs;
      this.verbs = this.verbs.filter((verb) => verb.id > upTo);
    };
    if (dice.chance(0.08)) {
      at = now + dice.between(300, 4000);
      this.stalled.push({ at, send });
      return;
    }
    send();
    if (dice.chance(0.05)) send();
  }

  private reduce(record: SimRecord, seen: Observation): RolloutStep {
    const { plan, deaf } = this.mutant;
    if (deaf && record.state.paused) {
      const step = reduce(record.plan, { ...record.state, paused: false }, seen);
      return { ...step, state: { ...step.state, paused: true } };
    }
    if (!plan) return reduce(record.plan, record.state, seen);
    const known = mutated.get(record.plan) ?? new Map<Mutant, RolloutPlan>();
    mutated.set(record.plan, known);
    const other = known.get(this.mutant) ?? plan(record.plan);
    known.set(this.mutant, other);
    return reduce(other, record.state, seen);
  }

  private observation(record: SimRecord, now: number, storeHold: Observation['storeHold']): Observation {
    const witness = this.regressed ? this.witness() : undefined;
    return {
      now,
      stamps: record.stamps,
      told: this.store.told,
      seen: this.seen,
      upToDate: this.upToDate,
      freeMib: this.hosts.repFree,
      permanentErrors: this.permanentErrors(),
      verbs: this.verbs,
      gates: this.judged(record, now),
      measuredBytes: 0,
      ...(storeHold ? { storeHold } : {}),
      ...(witness ? { witness } : {}),
    };
  }

  private permanentErrors(): ReadonlyMap<number, string> {
    if (!this.errorsChanged) return this.errors;
    this.errorsChanged = false;
    this.errors.clear();
    for (let place = 0; place < this.store.size; place++) {
      if (((this.seen[place] as number) & SEEN.NEW_ERROR) !== 0) this.errors.set(place, 'unsupported format');
    }
    return this.errors;
  }

  private judged(record: SimRecord, now: number): Observation['gates'] {
    this.gates.clear();
    for (const index of this.asked) {
      const kind = record.plan.gates[index]?.kind;
      if (kind === 'load') {
        this.gates.set(index, {
          verdict: this.errors.size > 0 ? 'fail' : 'pass',
          message: `${this.errors.size} failed`,
        });
      } else if (kind === 'traffic' && record.state.phase === 'Bake') {
        const enough = now - record.stamps.phaseAt > 3000;
        const verdict = !enough ? 'insufficient-data' : this.poison === 'bad-traffic' ? 'fail' : 'pass';
        this.gates.set(index, { verdict, message: 'simulated' });
      }
    }
    return this.gates;
  }

  /** A living host that accepted a rollback which the store does not know of. */
  private witness(): Observation['witness'] {
    const { hosts, store } = this;
    for (let place = 0; place < store.size; place++) {
      if (hosts.repRolledBack[place] === 0) continue;
      const generation = hosts.repGeneration[place] as number;
      if (generation <= (store.generations[place] as number)) continue;
      return { host: this.sim.plan.hosts[place] as string, generation };
    }
    return undefined;
  }

  // Cells that hosts are ahead of are written again, above everything. Not before a witness was heard: its evidence would
  // be gone. A host that gave the old version up without room for two must let go of the new one first, within the budget.
  private reassert(now: number): void {
    if (!this.regressed) return;
    const { store, hosts } = this;
    const [active] = store.active;
    const record = active === undefined ? undefined : store.records[active];
    const witness = this.mutant.sees === undefined ? this.witness() : undefined;
    if (witness && record && !record.state.rollback) return;
    if (witness && !record) this.believe(now);
    const left = this.budget();
    const places: number[] = [];
    for (let place = 0; place < store.size; place++) {
      if ((hosts.repGeneration[place] as number) <= (store.generations[place] as number)) continue;
      const told = store.told[place] as number;
      const seen = this.seen[place] as number;
      if ((seen & SEEN.ALIVE) === 0) continue;
      const one = told & (TOLD.OLD | TOLD.NEW);
      const has = one === TOLD.OLD ? SEEN.OLD_RESIDENT : one === TOLD.NEW ? SEEN.NEW_READY : 0xff;
      if ((seen & has) === 0 && (hosts.repFree[place] as number) < NEED_MIB) {
        const zone = this.sim.plan.zoneOf[place] as number;
        if (isAvailable(told & ~TOLD.COLD, seen, true) && (left[zone] as number) <= 0) continue;
        left[zone] = (left[zone] as number) - 1;
        store.told[place] = told | TOLD.COLD;
      }
      places.push(place);
    }
    store.reassert(places);
  }

  /** A rollback was lost whole: there is no rollout that could go back. */
  private believe(now: number): void {
    const { store, sim } = this;
    if (store.stable !== 2) store.tombstones.add(2);
    else if (sim.hasOld) store.start(sim.undo.plan, sim.undo.state, now);
  }

  private budget(): Int32Array {
    const left = layoutOf(this.sim.plan).allowed.slice();
    for (let place = 0; place < this.store.size; place++) {
      const told = this.store.told[place] as number;
      if (isAvailable(told, this.seen[place] as number, this.upToDate[place] === 1)) continue;
      const zone = this.sim.plan.zoneOf[place] as number;
      left[zone] = (left[zone] as number) - 1;
    }
    return left;
  }

  private get regressed(): boolean {
    return this.ahead > 0;
  }

  /** For the last look: nothing is under way. */
  get isIdle(): boolean {
    return this.stalled.length === 0 && !this.regressed;
  }
}
