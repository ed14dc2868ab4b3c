// The hosts of one model, as they are: what each has accepted, what it has loaded, what plain names resolve to. Invariants
// are judged by this, never by the store. All of it in typed arrays by place.
import { SEEN, TOLD } from '#lib/fleet/rollout/types.js';
import type { Dice } from './dice.js';
import type { Mutant } from './mutants.js';
import { PlaceSet } from './place-set.js';
import { LEASE_MS } from './timeline.js';

export const NONE = 0;
export const LOADING = 1;
export const READY = 2;
export const FAILED = 3;

/** What is wrong with the new version. */
export type Poison = 'none' | 'all-fail' | 'some-fail' | 'slow-retry' | 'bad-traffic' | 'crashes';

const { OLD, NEW, PRIMARY_NEW, PREFETCH, COLD, ROLLED_BACK } = TOLD;

export interface Violation {
  readonly invariant: string;
  readonly message: string;
}

export class SimHosts {
  readonly accepted: Uint8Array;
  readonly generation: Uint32Array;
  readonly oldState: Uint8Array;
  readonly newState: Uint8Array;
  private readonly oldDue: Float64Array;
  private readonly newDue: Float64Array;
  /** Versions that fit in at once: 2, or 1. */
  readonly slots: Uint8Array;
  private readonly loadMs: Float64Array;
  readonly boot: Uint32Array;
  /** When something is done by itself at the earliest. */
  readonly due: Float64Array;
  /** It has something to report. */
  readonly dirty: Uint8Array;
  readonly downUntil: Float64Array;
  /** Killed by the test, or crashed, and not available since. */
  readonly excused: Uint8Array;
  readonly failsHere: Uint8Array;
  /** Has ever accepted a rollback of this version. */
  readonly witness: Uint8Array;
  // What was reported last.
  readonly repGeneration: Uint32Array;
  readonly repSeen: Uint8Array;
  readonly repFree: Uint32Array;
  readonly repRolledBack: Uint8Array;
  /** Something is to be done there at the next tick, or may be; all others stay as they are. */
  readonly awake: PlaceSet;
  /** What controllers know of it may be another thing than at their last look. */
  readonly news: PlaceSet;
  /** Its lease is renewed with each tick, and ends at `renewedUntil`; that of others at `leaseUntil`. */
  private readonly renews: Uint8Array;
  renewedUntil = LEASE_MS;
  private readonly leaseUntil: Float64Array;
  violation: Violation | undefined;

  constructor(
    readonly size: number,
    private readonly dice: Dice,
    hasOld: boolean,
    private readonly poison: Poison,
    private readonly mutant: Mutant['host'],
  ) {
    this.accepted = new Uint8Array(size).fill(hasOld ? OLD : 0);
    this.generation = new Uint32Array(size).fill(hasOld ? 1 : 0);
    this.oldState = new Uint8Array(size).fill(hasOld ? READY : NONE);
    this.newState = new Uint8Array(size);
    this.oldDue = new Float64Array(size);
    this.newDue = new Float64Array(size);
    this.slots = new Uint8Array(size);
    this.loadMs = new Float64Array(size);
    this.boot = new Uint32Array(size);
    this.due = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
    this.dirty = new Uint8Array(size);
    this.downUntil = new Float64Array(size);
    this.excused = new Uint8Array(size);
    this.failsHere = new Uint8Array(size);
    this.witness = new Uint8Array(size);
    this.repGeneration = this.generation.slice();
    this.repSeen = new Uint8Array(size);
    this.repFree = new Uint32Array(size);
    this.repRolledBack = new Uint8Array(size);
    this.awake = new PlaceSet(size);
    this.news = new PlaceSet(size);
    this.awake.addAll();
    this.renews = new Uint8Array(size);
    this.leaseUntil = new Float64Array(size).fill(LEASE_MS);
    const tight = dice.chance(0.6) ? dice.next() * 0.5 : 0;
    for (let place = 0; place < size; place++) {
      this.slots[place] = hasOld && dice.chance(tight) ? 1 : 2;
      this.loadMs[place] = dice.between(100, 3000) * (dice.chance(0.005) ? 20 : 1);
      this.failsHere[place] = poison === 'all-fail' || (poison === 'some-fail' && dice.chance(0.2)) ? 1 : 0;
      this.report(place);
    }
  }

  /** A process that has started anew since the last look loads what it had accepted. */
  restart(place: number, now: number, boot: number): void {
    this.boot[place] = boot;
    this.excused[place] = 1;
    this.oldState[place] = NONE;
    this.newState[place] = NONE;
    this.settle(place, now);
  }

  /** The document as it was read; generation 0: it is missing. */
  read(place: number, told: number, generation: number, now: number): void {
    const had = this.generation[place] as number;
    if (generation === 0 && this.mutant === 'empties-on-missing') this.accept(place, 0, had, now);
    else if (generation > had || (this.mutant === 'accepts-old' && generation > 0 && generation !== had)) {
      this.accept(place, told, generation, now);
    }
  }

  private accept(place: number, told: number, generation: number, now: number): void {
    const had = this.accepted[place] as number;
    const from = this.generation[place] as number;
    if (generation < from) this.break('I6', `place ${place} went from generation ${from} to ${generation}`);
    const gone = had & ~told & (OLD | NEW);
    if (gone !== 0 && generation <= from) this.break('I7', `place ${place} unloads without a newer document`);
    this.accepted[place] = told;
    this.generation[place] = generation;
    if ((told & ROLLED_BACK) !== 0) this.witness[place] = 1;
    this.settle(place, now);
  }

  /** The leases of all who renew theirs. */
  renewLeases(now: number): void {
    this.renewedUntil = now + LEASE_MS;
  }

  /** Its lease ends as at the last tick, unless it writes again. */
  stopRenewing(place: number, lastUntil: number): void {
    if (this.renews[place] === 1) this.leaseUntil[place] = lastUntil;
    this.renews[place] = 0;
  }

  /** It writes to the store; `renew`: and gets a lease for it. */
  writes(place: number, renew: boolean): void {
    if (renew) this.leaseUntil[place] = this.renewedUntil;
    this.renews[place] = this.leaseUntil[place] === this.renewedUntil ? 1 : 0;
  }

  /** Its lease is renewed with each tick without being looked at. */
  isRenewing(place: number): boolean {
    return this.renews[place] === 1;
  }

  leaseOf(place: number): number {
    return this.renews[place] === 1 ? this.renewedUntil : (this.leaseUntil[place] as number);
  }

  /** Nothing happens there by itself: whoever is told something, or has a fault, is woken. */
  isCalm(place: number, hears: boolean, desired: number): boolean {
    if (this.due[place] !== Number.POSITIVE_INFINITY) return false;
    return !hears || (this.renews[place] === 1 && this.dirty[place] === 0 && this.generation[place] === desired);
  }

  /** Loads that are done by now. */
  step(place: number, now: number): void {
    if (this.oldState[place] === LOADING && (this.oldDue[place] as number) <= now) {
      this.oldState[place] = READY;
      this.settle(place, now);
    }
    if (this.newState[place] === LOADING && (this.newDue[place] as number) <= now) {
      if (this.poison === 'crashes') {
        this.downUntil[place] = now + 3000;
        this.boot[place] = 0xffffffff;
        this.excused[place] = 1;
        return;
      }
      this.newState[place] = this.failsHere[place] === 1 ? FAILED : READY;
      this.settle(place, now);
    }
  }

  // What a manager does with an aspired list: without COLD it gives up nothing before it has the other one.
  private settle(place: number, now: number): void {
    const told = this.accepted[place] as number;
    const wantOld = (told & OLD) !== 0;
    const wantNew = (told & NEW) !== 0;
    const cold = (told & COLD) !== 0;
    if (!wantOld && (!wantNew || cold || this.newState[place] === READY)) this.oldState[place] = NONE;
    if (!wantNew && (!wantOld || cold || this.oldState[place] === READY)) this.newState[place] = NONE;
    if (!wantNew && this.newState[place] !== READY) this.newState[place] = NONE;
    if (!wantOld && this.oldState[place] !== READY) this.oldState[place] = NONE;
    if (wantOld && this.oldState[place] === NONE) {
      this.oldState[place] = LOADING;
      this.oldDue[place] = now + (this.loadMs[place] as number);
    }
    if (wantNew && this.newState[place] === NONE) {
      this.newState[place] = LOADING;
      const retries = this.poison === 'slow-retry' && this.dice.chance(0.3) ? 4 : 1;
      this.newDue[place] = now + (this.loadMs[place] as number) * retries;
    }
    this.dirty[place] = 1;
    this.awake.add(place);
    const oldDue = this.oldState[place] === LOADING ? (this.oldDue[place] as number) : Number.POSITIVE_INFINITY;
    const newDue = this.newState[place] === LOADING ? (this.newDue[place] as number) : Number.POSITIVE_INFINITY;
    this.due[place] = Math.min(oldDue, newDue);
    if (this.memory(place) > (this.slots[place] as number)) {
      this.break('I8', `place ${place} has ${this.memory(place)} versions in memory and room for ${this.slots[place]}`);
    }
  }

  private memory(place: number): number {
    const takes = (state: number | undefined): number => (state === LOADING || state === READY ? 1 : 0);
    return takes(this.oldState[place]) + takes(this.newState[place]);
  }

  isAvailable(place: number): boolean {
    return this.oldState[place] === READY || this.newState[place] === READY;
  }

  /** What a plain name resolves to. */
  servesNew(place: number): boolean {
    if (this.newState[place] !== READY) return false;
    const told = this.accepted[place] as number;
    return this.oldState[place] !== READY || (told & PRIMARY_NEW) !== 0;
  }

  report(place: number): void {
    this.dirty[place] = 0;
    const told = this.accepted[place] as number;
    let seen = 0;
    if (this.oldState[place] === READY) seen |= SEEN.OLD_READY;
    if (this.oldState[place] !== NONE) seen |= SEEN.OLD_RESIDENT;
    if (this.newState[place] === READY) seen |= SEEN.NEW_READY;
    if (this.newState[place] === FAILED) seen |= SEEN.NEW_ERROR;
    if (this.servesNew(place)) seen |= SEEN.PRIMARY_NEW;
    if ((told & (PREFETCH | NEW)) !== 0) seen |= SEEN.PREFETCHED;
    this.repSeen[place] = seen;
    this.repGeneration[place] = this.generation[place] as number;
    this.repRolledBack[place] = (told & ROLLED_BACK) !== 0 ? 1 : 0;
    const reserved =
      ((told & OLD) !== 0 || this.oldState[place] !== NONE ? 1 : 0) +
      ((told & NEW) !== 0 || this.newState[place] !== NONE ? 1 : 0);
    this.repFree[place] = Math.max(0, (this.slots[place] as number) - reserved) * 100;
  }

  break(invariant: string, message: string): void {
    this.violation ??= { invariant, message };
  }
}
