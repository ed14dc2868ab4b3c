// A rollout on a few hosts, for unit tests: commits always work, hosts do what they are told when react() is called, time
// passes when it is told to.
import assert from 'node:assert/strict';
import type { GateResult } from '#lib/fleet/gates/types.js';
import { toldOf } from '#lib/fleet/rollout/cells.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import { firstState, reduce } from '#lib/fleet/rollout/reduce.js';
import {
  type Observation,
  type PendingVerb,
  type RolloutPhase,
  type RolloutPlan,
  type RolloutPlanOptions,
  type RolloutState,
  type RolloutStep,
  type RolloutVerb,
  SEEN,
  TOLD,
} from '#lib/fleet/rollout/types.js';
import type { FleetHost } from '#lib/fleet/types.js';

export const PASS: GateResult = { verdict: 'pass', message: 'as good as before' };
export const FAIL: GateResult = { verdict: 'fail', message: 'error rate 9 % against 1 %' };
export const NO_DATA: GateResult = { verdict: 'insufficient-data', message: '3 of 100 requests' };
export const MIB = 1_048_576;

/** `count` hosts named h0, h1, ..., spread over the zones a, b, ... */
export function hostsOf(count: number, zones = 1, more: Partial<FleetHost['info']> = {}): FleetHost[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    cordoned: false,
    info: {
      id: `h${index}`,
      zone: String.fromCharCode(97 + (index % zones)),
      labels: {},
      capacityBytes: 0,
      agentVersion: '1.0.0',
      schema: 1,
      ...more,
    },
  }));
}

export interface SmallFleetOptions {
  readonly hosts?: number;
  readonly zones?: number;
  /** null: a first deployment. */
  readonly from?: number | null;
  readonly plan?: Partial<RolloutPlanOptions>;
  /** Instead of firstState() and makePlan(). */
  readonly start?: { readonly plan: RolloutPlan; readonly state: RolloutState };
}

/** From version 1 to version 2, without gates and bake, unless said otherwise. */
export class SmallFleet {
  readonly plan: RolloutPlan;
  state: RolloutState;
  stamps: Observation['stamps'];
  now = 1_000_000;
  readonly told: Uint8Array;
  readonly seen: Uint8Array;
  readonly upToDate: Uint8Array;
  readonly freeMib: Uint32Array;
  readonly errors = new Map<number, string>();
  readonly gates = new Map<number, GateResult>();
  measuredBytes = 0;
  storeHold: Observation['storeHold'];
  storeHosts: Observation['storeHosts'];
  witness: Observation['witness'];
  readonly audit: string[] = [];
  readonly phases: string[] = [];
  readonly answers: NonNullable<RolloutStep['verbs']>['answers'][number][] = [];
  readonly model: { stable?: number; tombstones: Set<number>; released: boolean } = {
    tombstones: new Set(),
    released: false,
  };
  private verbs: PendingVerb[] = [];
  private nextVerb = 1;

  constructor({ hosts = 4, zones = 1, from = 1, plan = {}, start }: SmallFleetOptions = {}) {
    const stable = from ?? undefined;
    this.plan =
      start?.plan ??
      makePlan({ model: 'm', version: 2, gates: [], bake: 0, ...plan }, { hosts: hostsOf(hosts, zones), stable });
    this.state = start?.state ?? firstState(this.plan, { from: stable, actor: 'ops', reason: 'test' });
    this.stamps = { startedAt: this.now, phaseAt: this.now, progressAt: this.now };
    const size = this.plan.hosts.length;
    const old = this.state.from !== undefined;
    this.told = new Uint8Array(size).fill(old ? TOLD.OLD : 0);
    this.seen = new Uint8Array(size).fill(old ? SEEN.ALIVE | SEEN.OLD_READY | SEEN.OLD_RESIDENT : SEEN.ALIVE);
    this.upToDate = new Uint8Array(size).fill(1);
    this.freeMib = new Uint32Array(size).fill(0xffffffff);
  }

  get phase(): RolloutPhase {
    return this.state.phase;
  }

  get observation(): Observation {
    return {
      now: this.now,
      stamps: this.stamps,
      told: this.told,
      seen: this.seen,
      upToDate: this.upToDate,
      freeMib: this.freeMib,
      permanentErrors: this.errors,
      verbs: this.verbs,
      gates: this.gates,
      measuredBytes: this.measuredBytes,
      ...(this.storeHold ? { storeHold: this.storeHold } : {}),
      ...(this.storeHosts ? { storeHosts: this.storeHosts } : {}),
      ...(this.witness ? { witness: this.witness } : {}),
    };
  }

  /** One look and its commit. */
  tick(): RolloutStep {
    const step = reduce(this.plan, this.state, this.observation);
    assert.equal(step.audit !== undefined, step.changed, 'one line of audit for each step that changes something');
    if (!step.changed) return step;
    const before = this.state;
    this.state = step.state;
    for (const stamp of step.stamps) this.stamps = { ...this.stamps, [stamp]: this.now };
    for (const { place, cell } of step.writes) {
      this.told[place] = toldOf(cell, this.plan.version, this.state.from);
      this.upToDate[place] = 0;
    }
    if (step.model?.stable !== undefined) this.model.stable = step.model.stable;
    if (step.model?.tombstone !== undefined) this.model.tombstones.add(step.model.tombstone);
    if (step.model?.unTombstone !== undefined) this.model.tombstones.delete(step.model.unTombstone);
    if (step.model?.release) this.model.released = true;
    if (step.verbs) this.answers.push(...step.verbs.answers);
    this.verbs = [];
    this.audit.push(`${step.audit?.event}: ${step.audit?.message}`);
    if (before.phase !== this.state.phase || before.wave !== this.state.wave) {
      this.phases.push(this.state.phase === 'Ended' ? 'Ended' : `${this.state.phase} ${this.state.wave}`);
    }
    return step;
  }

  /** Living hosts (those given, or all) accept what they were told and do it. */
  react(places: Iterable<number> = this.told.keys()): void {
    for (const place of places) {
      const bits = this.seen[place] as number;
      if ((bits & SEEN.ALIVE) === 0) continue;
      const told = this.told[place] as number;
      this.upToDate[place] = 1;
      let now = bits & (SEEN.ALIVE | SEEN.CORDONED);
      if ((told & TOLD.OLD) !== 0) now |= SEEN.OLD_READY | SEEN.OLD_RESIDENT;
      if ((told & TOLD.NEW) !== 0) now |= this.errors.has(place) ? SEEN.NEW_ERROR : SEEN.NEW_READY;
      if ((told & (TOLD.PREFETCH | TOLD.NEW)) !== 0) now |= SEEN.PREFETCHED;
      const only = (told & (TOLD.OLD | TOLD.NEW)) === TOLD.NEW;
      if ((now & SEEN.NEW_READY) !== 0 && ((told & TOLD.PRIMARY_NEW) !== 0 || only)) now |= SEEN.PRIMARY_NEW;
      this.seen[place] = now;
    }
  }

  /** The phase (and wave) is reached, with hosts that do what they are told and `ms` between two looks. */
  runTo(phase: RolloutPhase, wave?: number, ms = 10): void {
    for (let steps = 0; steps < 500; steps++) {
      if (this.phase === phase && (wave === undefined || this.state.wave === wave)) return;
      this.tick();
      if (this.phase === phase && (wave === undefined || this.state.wave === wave)) return;
      this.react();
      this.now += ms;
    }
    assert.fail(`${phase} was not reached: ${JSON.stringify(this.state)}\n${this.audit.join('\n')}`);
  }

  verb(verb: RolloutVerb): NonNullable<RolloutStep['verbs']>['answers'][number] {
    this.queue(verb);
    const step = this.tick();
    const answer = step.verbs?.answers.at(-1);
    assert.ok(answer, `${verb} got no answer in ${this.phase}`);
    this.verbs = [];
    return answer;
  }

  queue(verb: RolloutVerb): void {
    const id = String(this.nextVerb++).padStart(6, '0');
    this.verbs.push({ id, verb, actor: 'ops', reason: 'because', operation: `op-${id}` });
  }

  kill(...places: number[]): void {
    for (const place of places) this.seen[place] = (this.seen[place] as number) & ~SEEN.ALIVE;
  }

  revive(...places: number[]): void {
    for (const place of places) this.seen[place] = (this.seen[place] as number) | SEEN.ALIVE;
  }

  /** Places whose cell has all these bits. */
  toldAll(bits: number): number[] {
    return [...this.told.keys()].filter((place) => ((this.told[place] as number) & bits) === bits);
  }
}
