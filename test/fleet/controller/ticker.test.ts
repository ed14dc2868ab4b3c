// Ticks of rollouts over what hosts say, one by one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetView } from '#lib/fleet/controller/fleet-view.js';
import { TickLoop } from '#lib/fleet/controller/tick-loop.js';
import { RolloutTicker, type Ticked } from '#lib/fleet/controller/ticker.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import { firstState } from '#lib/fleet/rollout/reduce.js';
import type { RolloutState } from '#lib/fleet/rollout/types.js';
import { MODEL } from './fleet.js';
import { WrittenFleet } from './written-fleet.js';

const HEARTBEAT_MS = 1_000;

class Ticking {
  now = 0;
  private readonly ticker: RolloutTicker;

  constructor(readonly fleet: WrittenFleet) {
    const clock = (): number => this.now;
    const { store } = fleet;
    const view = new FleetView({ store, heartbeatIntervalMs: HEARTBEAT_MS, clock });
    view.watch([MODEL]);
    this.ticker = new RolloutTicker({
      ...{ store, view, clock, heartbeatIntervalMs: HEARTBEAT_MS, minReplicas: 0, confirmTimeoutMs: 1 },
      grace: () => undefined,
      onErrands: () => {},
      onCommitted: () => {},
      onError: (error) => assert.fail(error),
    });
  }

  /** A rollout to version 2 in this state. */
  async start(id: string, more: Partial<RolloutState>): Promise<void> {
    const { store } = this.fleet;
    const plan = makePlan({ model: MODEL, version: 2, gates: [] }, { hosts: await store.hosts(), stable: 1 });
    const state = { ...firstState(plan, { from: 1, actor: 'ops', reason: 'test' }), ...more };
    await store.startRollout({ id, plan, state, force: false, actor: 'ops', reason: 'test', operation: id });
  }

  /** Some time later. */
  tick(id: string, afterMs = 200): Promise<Ticked> {
    this.now += afterMs;
    return this.ticker.tick(id);
  }
}

test('after a rollback by a witness hosts that were told the same before are told anew, above what they have seen', async () => {
  const fleet = await WrittenFleet.of(2);
  const ticking = new Ticking(fleet);
  await fleet.tell({ versions: [1], primary: 1, rolledBack: [2] }, 1);
  // The store has lost later generations, that said the same.
  await fleet.reportAll([1], 5, [2]);
  const seen = (await fleet.told()).map((generation) => generation + 5);
  const rollback = { outcome: 'Aborted', reason: 'aborted by ops: test', tombstone: true } as const;
  await ticking.start('r', { phase: 'Rollback', rollback });
  assert.equal((await ticking.tick('r')).outcome, 'committed');
  const { state } = (await fleet.store.rollout('r')) ?? {};
  assert.equal(state?.rollback?.everywhere, true);
  assert.equal(state?.rollback?.outcome, 'Aborted', 'what the operator called it');
  assert.ok(
    (await fleet.told()).every((generation, index) => generation < (seen[index] as number)),
    'not written yet',
  );
  await ticking.tick('r');
  await ticking.tick('r', 2 * HEARTBEAT_MS);
  assert.ok((await fleet.told()).every((generation, index) => generation > (seen[index] as number)));
  await fleet.reportAll([1], 0, [2]);
  assert.equal((await ticking.tick('r')).outcome, 'ended');
});

test('a witness is heard before hosts are told anew: what it knows would be gone', async () => {
  const fleet = await WrittenFleet.of(2);
  const ticking = new Ticking(fleet);
  await fleet.tell({ versions: [1, 2], primary: 1 }, 1);
  await fleet.reportAll([2, 1], 5, [2]);
  await ticking.start('r', { phase: 'Bake' });
  await ticking.tick('r');
  const { state } = (await fleet.store.rollout('r')) ?? {};
  assert.deepEqual([state?.phase, state?.rollback?.everywhere], ['Rollback', true]);
  assert.deepEqual((await fleet.store.model(MODEL))?.tombstones, [2]);
});

test('a rollout that was closed as lost, and not released, does not keep the next one from starting', async () => {
  const fleet = await WrittenFleet.of(1);
  const ticking = new Ticking(fleet);
  await fleet.tell({ versions: [1], primary: 1 }, 1);
  await fleet.reportAll([1]);
  await ticking.start('lost', { phase: 'Ended', outcome: 'StoreLost' });
  assert.equal((await ticking.tick('lost')).outcome, 'ended');
  assert.equal((await fleet.store.model(MODEL))?.active, undefined);
  await ticking.start('next', {});
  assert.equal((await fleet.store.model(MODEL))?.active, 'next');
});

test('a loop of ticks keeps nothing of rollouts that have ended', async () => {
  const loop: TickLoop = new TickLoop({
    tick: async () => ({ outcome: 'ended', againInMs: Number.POSITIVE_INFINITY }),
    enqueue: undefined,
    tickIntervalMs: 1_000,
    clock: () => 0,
    onTicked: (rollout) => loop.forget(rollout),
    onError: (error) => assert.fail(String(error)),
  });
  await Promise.all(['a', 'b', 'c'].map((rollout) => loop.run(rollout)));
  assert.equal(loop.size, 0);
  await loop.close();
});
