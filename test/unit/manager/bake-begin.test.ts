// What a bake counts: each request from the switch on, and none before it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { BakeReport, Transition } from 'aspired';
import { eventually } from '../../support/deadline.js';
import { CountingLoader, one } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

interface Answering {
  answer(): void;
}

/** A servable that answers until it is told to fail. */
class Turncoat extends CountingLoader<Answering> {
  fails = false;

  constructor() {
    super({
      answer: () => {
        if (this.fails) throw new Error('from now on');
      },
    });
  }
}

const GOOD = 50;

class Bed {
  readonly m: TestManager;
  readonly old = new Turncoat();
  readonly young = new Turncoat();

  constructor(t: TestContext, options: TestManagerOptions = {}) {
    this.m = new TestManager(t, { bake: { for: '10m', minRequests: 10, maxErrorRate: 0.01 }, ...options });
  }

  list(version: 1 | 2): Transition {
    const list = one(version, version === 1 ? this.old : this.young);
    return this.m.manager.setAspiredVersions('m', list);
  }

  request(request: string | { name: string; version: number } = 'm'): void {
    this.m.manager.withServableSync<Answering, void>(request, (servable) => servable.answer());
  }

  /** Answers that readers get from version 2, one a turn from the first at which they see it; then it fails. */
  async serveThenFail(served = 0): Promise<void> {
    let count = served;
    const good = (): boolean => {
      if (this.m.resolve('m') === 'm/2') this.request();
      else return false;
      return ++count === GOOD;
    };
    await eventually(good, `${GOOD} answers`);
    this.young.fails = true;
    const isGone = (): boolean => {
      if (this.m.resolve('m') !== 'm/2') return true;
      assert.throws(() => this.request(), /from now on/);
      return false;
    };
    await eventually(isGone, 'the way back');
  }

  /** Every error comes after all the rest, so what went well is known exactly, whenever the verdict came. */
  async checkReport(transition: Transition): Promise<void> {
    const { versions } = await this.m.settled(transition);
    const error = versions.find(({ version }) => version === 2)?.error;
    assert.ok(coded('ERR_BAKE_FAILED', 'FAILED_PRECONDITION')(error) && error);
    const { requests, errors } = error.cause as BakeReport;
    assert.deepEqual([requests - errors, errors > 0], [GOOD, true]);
  }
}

test('a version that opens as the one aspired counts from its first request', async (t) => {
  // Whether readers are there between the switch and the begin of the bake is chance.
  for (let round = 0; round < 20; round++) {
    const bed = new Bed(t);
    await bed.m.settled(bed.list(1));
    const transition = bed.list(2);
    await bed.serveThenFail();
    await bed.checkReport(transition);
  }
});

test('a version that was dropped in its bake and is wanted again at once counts from that list', async (t) => {
  const bed = new Bed(t);
  await bed.m.settled(bed.list(1));
  bed.list(2);
  await bed.m.saw('m', 2, 'Available');
  for (let i = 0; i < 20; i++) bed.request({ name: 'm', version: 2 });
  bed.list(1);
  const transition = bed.list(2);
  for (let i = 0; i < 7; i++) bed.request();
  await bed.serveThenFail(7);
  await bed.checkReport(transition);
});

test('a standby that opens again counts from then on', async (t) => {
  const bed = new Bed(t, { standby: { versions: 1 } });
  await bed.m.settled(bed.list(1));
  bed.list(2);
  await bed.m.saw('m', 2, 'Available');
  for (let i = 0; i < 20; i++) bed.request({ name: 'm', version: 2 });
  await bed.m.settled(bed.list(1));
  assert.equal(bed.m.resolve('m'), 'm/1');
  const transition = bed.list(2);
  await bed.serveThenFail();
  await bed.checkReport(transition);
  assert.equal(bed.young.loads, 1);
});

test('beside an old version that stays aspired it counts from the switch of the primary, and goes back to the old one', async (t) => {
  const bed = new Bed(t);
  await bed.m.settled(bed.list(1));
  const both = [...one(1, bed.old), ...one(2, bed.young)];
  await bed.m.settled(bed.m.manager.setAspiredVersions('m', both, { primary: 1 }));
  for (let i = 0; i < 20; i++) bed.request({ name: 'm', version: 2 });
  assert.equal(bed.m.resolve('m'), 'm/1');
  bed.m.manager.setVersionLabels('m', {}, { primary: 2 });
  await bed.serveThenFail();
  const { error } = await bed.m.saw('m', 2, 'End');
  assert.ok(coded('ERR_BAKE_FAILED', 'FAILED_PRECONDITION')(error) && error);
  const { requests, errors } = error.cause as BakeReport;
  assert.deepEqual([requests - errors, errors > 0], [GOOD, true]);
  assert.equal(bed.m.resolve('m'), 'm/1');
  assert.equal(bed.old.unloads, 0);
});
