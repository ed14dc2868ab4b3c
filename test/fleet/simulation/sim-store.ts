// The store of one model: what the Redis store promises, with the faults that it can have.
import { toldOf } from '#lib/fleet/rollout/cells.js';
import type { RolloutPlan, RolloutStamps, RolloutState, RolloutStep } from '#lib/fleet/rollout/types.js';
import type { Mutant } from './mutants.js';
import { PlaceSet } from './place-set.js';

export interface SimRecord {
  readonly id: number;
  readonly plan: RolloutPlan;
  revision: number;
  state: RolloutState;
  stamps: RolloutStamps;
}

export interface SimAudit {
  readonly rollout: number;
  readonly revision: number;
  readonly phase: RolloutState['phase'];
  readonly wave: number;
  readonly skips: boolean;
  readonly at: number;
  readonly actor: string;
}

export class SimStore {
  generation = 1;
  stable: number | undefined;
  readonly tombstones = new Set<number>();
  active: number[] = [];
  records: SimRecord[] = [];
  audit: SimAudit[] = [];
  readonly told: Uint8Array;
  readonly generations: Uint32Array;
  /** Whose cell was written since the hosts looked last. */
  readonly unread: PlaceSet;
  /** Looks at each cell that a rollout writes: what its host was told, and is told now. */
  judge: (state: RolloutState, place: number, before: number, now: number) => void = () => {};
  private last = '';
  private saved: (() => void) | undefined;

  constructor(
    readonly size: number,
    private readonly mutant: Mutant['store'],
  ) {
    this.told = new Uint8Array(size);
    this.generations = new Uint32Array(size);
    this.unread = new PlaceSet(size);
  }

  start(plan: RolloutPlan, state: RolloutState, now: number): boolean {
    if (this.active.length > 0 && this.mutant !== 'two-active') return false;
    const id = this.records.length;
    this.records.push({ id, plan, revision: 0, state, stamps: { startedAt: now, phaseAt: now, progressAt: now } });
    this.active.push(id);
    return true;
  }

  /** 'duplicate': this operation was the last one, and is done. */
  commit(
    id: number,
    expect: { readonly revision: number; readonly generation: number },
    operation: string,
    step: RolloutStep,
    now: number,
  ): 'committed' | 'duplicate' | 'conflict' {
    const record = this.records[id];
    if (!record) return 'conflict';
    if (operation === this.last) return 'duplicate';
    if (this.mutant !== 'no-cas') {
      if (record.revision !== expect.revision || !this.active.includes(id)) return 'conflict';
      // Cells were written again outside of the rollout meanwhile: the budget of this step is not true any more.
      if (this.generation !== expect.generation) return 'conflict';
    }
    this.last = operation;
    record.revision = expect.revision + 1;
    record.state = step.state;
    for (const stamp of step.stamps) record.stamps = { ...record.stamps, [stamp]: now };
    if (step.writes.length > 0) this.generation++;
    let last: RolloutStep['writes'][number]['cell'] | undefined;
    let told = 0;
    for (const { place, cell } of step.writes) {
      if (cell !== last) told = toldOf(cell, record.plan.version, step.state.from);
      last = cell;
      this.judge(step.state, place, this.told[place] as number, told);
      this.told[place] = told;
      this.write(place);
    }
    const { phase, wave, skipAll, skipWave } = step.state;
    const skips = skipAll === true || skipWave === true;
    const actor = step.audit?.actor ?? '';
    this.audit.push({ rollout: id, revision: record.revision, phase, wave, skips, at: now, actor });
    this.changeModel(id, step);
    return 'committed';
  }

  private write(place: number): void {
    this.generations[place] = this.generation;
    this.unread.add(place);
  }

  private changeModel(id: number, { model = {} }: RolloutStep): void {
    if (model.stable !== undefined) this.stable = model.stable;
    if (model.tombstone !== undefined) this.tombstones.add(model.tombstone);
    if (model.unTombstone !== undefined) this.tombstones.delete(model.unTombstone);
    if (model.release) this.active = this.active.filter((active) => active !== id);
  }

  /** Cells again, with a newer generation: what a controller does after lost writes. */
  reassert(places: readonly number[]): void {
    if (places.length === 0) return;
    this.generation++;
    for (const place of places) this.write(place);
  }

  snapshot(): void {
    const { generation, stable, last } = this;
    const active = [...this.active];
    const tombstones = [...this.tombstones];
    const records = this.records.map((record) => ({ ...record }));
    const audit = this.audit.slice();
    const told = this.told.slice();
    const generations = this.generations.slice();
    this.saved = () => {
      Object.assign(this, { generation, stable, last, active, records, audit });
      this.tombstones.clear();
      for (const version of tombstones) this.tombstones.add(version);
      this.told.set(told);
      this.generations.set(generations);
      this.unread.addAll();
    };
  }

  /** Back to the last snapshot; true: something was lost. Whoever writes first is far above what any host can have seen. */
  restore(): boolean {
    if (!this.saved) return false;
    const before = this.audit.length;
    this.saved();
    this.saved = undefined;
    if (this.mutant !== 'no-jump') this.generation += 1000;
    return this.audit.length < before;
  }
}
