// Bakes from end to end: a new version proves itself under requests while the old one stays, or goes back by itself.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AspiredError, type BakeOptions, type BakeReport, type Loader } from 'aspired';
import { deadline, eventually, turns } from '../../support/deadline.js';
import { CountingLoader, FailingLoader, one } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

const LONG: BakeOptions = { for: '10m', minRequests: 10, maxErrorRate: 0.01 };

const start = (t: TestContext, options: TestManagerOptions = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, bake: LONG, ...options });

/** A servable whose requests fail when it says so. */
interface Answering {
  readonly version: number;
  answer(): number;
}

const good = (version: number): CountingLoader<Answering> =>
  new CountingLoader<Answering>({ version, answer: () => version });

/** Every nth request fails. */
function flaky(version: number, nth = 2): CountingLoader<Answering> {
  let requests = 0;
  const answer = (): number => {
    if (++requests % nth === 0) throw new Error(`${version} says no`);
    return version;
  };
  return new CountingLoader<Answering>({ version, answer });
}

const isClosed = (error: unknown): boolean => error instanceof AspiredError && error.code === 'ERR_MANAGER_CLOSED';

/** Requests without a pause, until stopped. */
class Traffic {
  readonly served = new Map<number, number>();
  readonly hurt = new Map<number, number>();
  readonly others: unknown[] = [];
  private running = true;
  private readonly done: Promise<void>;

  constructor(
    private readonly m: TestManager,
    readers = 4,
  ) {
    this.done = Promise.all(Array.from({ length: readers }, () => this.read())).then(() => {});
  }

  private async read(): Promise<void> {
    while (this.running) {
      let version = 0;
      try {
        await this.m.manager.withServable<Answering, void>('m', async (servable) => {
          version = servable.version;
          await nextTurn();
          servable.answer();
        });
        this.served.set(version, (this.served.get(version) ?? 0) + 1);
      } catch (error) {
        if (!/says no/.test(String(error))) this.others.push(error);
        if (isClosed(error)) return; // the test is over, and has not come to stop()
        this.hurt.set(version, (this.hurt.get(version) ?? 0) + 1);
      }
      await nextTurn();
    }
  }

  /** Ends the requests; nothing failed but what a servable threw. */
  async stop(): Promise<void> {
    this.running = false;
    await deadline(this.done, 'the readers');
    assert.deepEqual(this.others, []);
  }
}

/** Serves m/1 by a good loader, then m/2 by this one, under traffic, until the list has settled. */
async function promote(m: TestManager, young: Loader) {
  const old = good(1);
  await m.aspire('m', one(1, old));
  const traffic = new Traffic(m);
  const result = await m.aspire('m', one(2, young));
  return { old, traffic, result };
}

const reportOf = (error: AspiredError | undefined): BakeReport => {
  coded('ERR_BAKE_FAILED', 'FAILED_PRECONDITION')(error);
  return error?.cause as BakeReport;
};

test('a version that breaks its limit is gone, the old one serves again, and settled says why', async (t) => {
  const m = start(t);
  const young = flaky(2);
  const { old, traffic, result } = await promote(m, young);
  await turns();
  await traffic.stop();
  const [version] = result.versions;
  assert.deepEqual([version?.version, version?.managerState, result.superseded], [2, 'End', false]);
  const report = reportOf(version?.error);
  assert.equal(report.reason, 'error-rate');
  assert.deepEqual({ ...version?.error?.servable }, { name: 'm', version: 2 });
  assert.match(version?.error?.message ?? '', /^m\/2 did not pass its bake \(\d+ of 600000 ms\): .* requests failed/);
  assert.deepEqual(report.limits, { forMs: 600_000, minRequests: 10, maxErrorRate: 0.01 });
  assert.equal(report.errorRate, report.errors / report.requests);
  assert.equal(report.previous?.version, 1);
  assert.equal(report.previous?.errors, 0);
  assert.equal(m.resolve('m'), 'm/1');
  assert.deepEqual([old.loads, old.unloads, young.loads, young.unloads], [1, 0, 1, 1]);
  assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available']);
  assert.deepEqual(m.events.statesOf('m', 2), ['Start', 'Loading', 'Available', 'Unloading', 'End']);
});

test('the event of its end has the report, and so do the log and the state of the version, as long as they show it', async (t) => {
  const m = start(t);
  const { traffic, result } = await promote(m, flaky(2));
  await traffic.stop();
  const report = reportOf(result.versions[0]?.error);
  const end = await m.saw('m', 2, 'End');
  assert.deepEqual(reportOf(end.error), report);
  const logged = m.manager.getEventLog().find(({ id, managerState }) => id.version === 2 && managerState === 'End');
  assert.deepEqual(reportOf(logged?.error), report);
  const [row] = m.manager.getServableStates('m');
  assert.deepEqual([row?.id.version, row?.bad, row?.baking, row?.aspired, row?.degraded], [2, true, false, true, true]);
  assert.equal(row?.nextRetryAt, undefined);
  assert.deepEqual(reportOf(row?.error), report);
});

test('while it bakes: readers are on the new version, the old one stays loaded, settled waits', async (t) => {
  const m = start(t, { bake: { ...LONG, for: '1h' } });
  const old = good(1);
  await m.aspire('m', one(1, old));
  let settled = false;
  const transition = m.manager.setAspiredVersions('m', one(2, good(2)));
  void transition.settled.then(() => {
    settled = true;
  });
  await m.saw('m', 2, 'Available');
  await m.until(
    eventually(() => m.manager.getServableStates('m')[0]?.baking === true, 'the bake'),
    'the bake',
  );
  await turns();
  assert.deepEqual(
    m.manager.getServableStates('m').map(({ id, state, baking, aspired }) => [id.version, state, baking, aspired]),
    [
      [2, 'Ready', true, true],
      [1, 'Ready', false, false],
    ],
  );
  assert.deepEqual([settled, m.resolve('m'), m.resolve({ name: 'm', version: 1 })], [false, 'm/2', 'm/1']);
});

test('a good version passes at the end of its bake, and the old one goes', async (t) => {
  const m = start(t, { bake: { for: 60, minRequests: 10, maxErrorRate: 0.01 } });
  const { old, traffic, result } = await promote(m, good(2));
  await traffic.stop();
  assert.deepEqual(result.versions, [{ version: 2, managerState: 'Available' }]);
  assert.equal(old.unloads, 1);
  assert.deepEqual(traffic.hurt, new Map());
  assert.ok((traffic.served.get(2) ?? 0) >= 10);
  assert.deepEqual(
    m.manager.getServableStates('m').map(({ id, baking, bad }) => [id.version, baking, bad]),
    [[2, false, false]],
  );
});

test('without requests nothing speaks against a version, and it passes', async (t) => {
  const m = start(t, { bake: { for: 30, maxErrorRate: 0 } });
  await m.aspire('m', one(1, good(1)));
  const { versions } = await m.aspire('m', one(2, good(2)));
  assert.deepEqual(versions, [{ version: 2, managerState: 'Available' }]);
  assert.deepEqual(m.available(), ['m/2']);
});

test('the first version has no bake: there is nothing to go back to', async (t) => {
  const m = start(t);
  const { versions } = await m.aspire('m', one(1, flaky(1, 1)));
  assert.equal(versions[0]?.managerState, 'Available');
  assert.equal(m.manager.getServableStates('m')[0]?.baking, false);
});

test('what is bad is not retried with the same loader, is with another one', async (t) => {
  const m = start(t, { slowRetryIntervalMs: 1 });
  const young = flaky(2);
  const { traffic, result } = await promote(m, young);
  await traffic.stop();
  const { error } = result.versions[0] ?? {};
  for (let i = 0; i < 3; i++) {
    const again = await m.aspire('m', one(2, young));
    assert.equal(again.versions[0]?.managerState, 'End');
    assert.deepEqual(reportOf(again.versions[0]?.error), reportOf(error));
  }
  assert.deepEqual([young.loads, m.resolve('m')], [1, 'm/1']);
  const mended = good(2);
  m.manager.setServableOptions('m', { bake: { ...LONG, for: 20 } });
  const { versions } = await m.aspire('m', one(2, mended));
  assert.deepEqual(versions, [{ version: 2, managerState: 'Available' }]);
  assert.deepEqual([mended.loads, m.resolve('m')], [1, 'm/2']);
});

test('what is bad is retried when its digest changes, and when it was dropped in between', async (t) => {
  const m = start(t);
  const list = (loader: Loader, digest: string) => [{ version: 2, loader, digest }];
  await m.aspire('m', [{ version: 1, loader: good(1), digest: 'one' }]);
  const loader: Loader<Answering> & { loads: number } = {
    loads: 0,
    load() {
      this.loads++;
      return flaky(2).value;
    },
  };
  const traffic = new Traffic(m);
  const reported: number[] = [];
  const aspire = async (digest: string) => {
    const { versions } = await m.aspire('m', list(loader, digest));
    coded('ERR_BAKE_FAILED')(versions[0]?.error);
    reported.push(loader.loads);
  };
  await aspire('a');
  await aspire('a');
  await aspire('b');
  await aspire('b');
  await m.aspire('m', [{ version: 1, loader: good(1), digest: 'one' }]);
  await aspire('b');
  await traffic.stop();
  assert.deepEqual(reported, [1, 1, 2, 2, 3]);
  assert.equal(m.resolve('m'), 'm/1');
});

test('a list during a bake: the old one is aspired to again, and is at once', async (t) => {
  const m = start(t);
  const old = good(1);
  await m.aspire('m', one(1, old));
  await m.aspire('other', one(1, good(1))); // a round has seen that the first version needs no bake
  const first = m.manager.setAspiredVersions('m', one(2, good(2)));
  await m.saw('m', 2, 'Available');
  const { versions } = await m.aspire('m', one(1, good(1)));
  assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  const { superseded } = await m.settled(first);
  assert.equal(superseded, true);
  assert.deepEqual([old.loads, old.unloads, m.resolve('m')], [1, 0, 'm/1']);
  assert.equal((await m.saw('m', 2, 'End')).error, undefined, 'it was dropped, not refused');
});

test('a list during a bake: a third version; when it is bad, an earlier one serves', async (t) => {
  const m = start(t);
  await m.aspire('m', one(1, good(1)));
  m.manager.setAspiredVersions('m', one(2, good(2)));
  await m.saw('m', 2, 'Available');
  const traffic = new Traffic(m);
  const { versions } = await m.aspire('m', one(3, flaky(3)));
  await traffic.stop();
  reportOf(versions[0]?.error);
  assert.notEqual(traffic.hurt.get(3), undefined);
  assert.match(m.resolve('m'), /^m\/[12]$/);
});

test('a new list that leaves the bad version out is over with it', async (t) => {
  const m = start(t, { bake: { ...LONG } });
  const { traffic } = await promote(m, flaky(2));
  await traffic.stop();
  await m.aspire('m', one(1, good(1)));
  assert.deepEqual(
    m.manager.getServableStates('m').map(({ id, aspired, bad }) => [id.version, aspired, bad]),
    [[1, true, false]],
  );
});

test('readers never see a gap: through the switch and the way back only what a servable threw failed', async (t) => {
  const m = start(t, { numLoadThreads: 4 });
  await m.aspire('m', one(1, good(1)));
  const traffic = new Traffic(m, 32);
  let errors = 0;
  for (let version = 2; version <= 12; version++) {
    const { versions } = await m.aspire('m', one(version, flaky(version, 3)));
    errors += reportOf(versions[0]?.error).errors;
    assert.equal(m.resolve('m'), 'm/1');
  }
  await traffic.stop();
  const hurt = [...traffic.hurt.values()].reduce((a, b) => a + b, 0);
  assert.ok(hurt >= errors && errors > 0, `${hurt} requests failed, ${errors} were reported`);
  // After the breach only those fail that had begun before: one for each reader.
  assert.ok(hurt - errors <= 11 * 32, `${hurt - errors} requests failed after the breach`);
  assert.equal(traffic.hurt.get(1), undefined);
});

test('one bad version after another goes back to the same good one, with a standby as well', async (t) => {
  const m = start(t, { standby: { versions: 2 } });
  const old = good(1);
  await m.aspire('m', one(1, old));
  const traffic = new Traffic(m);
  for (const version of [2, 3]) {
    const young = flaky(version);
    const { versions } = await m.aspire('m', one(version, young));
    reportOf(versions[0]?.error);
    assert.deepEqual([m.resolve('m'), young.unloads], ['m/1', 1], 'what is bad is no standby');
  }
  await traffic.stop();
  assert.equal(old.unloads, 0);
});

test('a standby that comes back needs no bake', async (t) => {
  const m = start(t, { standby: { versions: 1 }, bake: { for: 20, maxErrorRate: 0 } });
  await m.aspire('m', one(1, good(1)));
  await m.aspire('other', one(1, good(1)));
  await m.aspire('m', one(2, good(2)));
  m.manager.setServableOptions('m', { bake: LONG });
  const { versions } = await m.aspire('m', one(1, good(1)));
  assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  assert.equal(m.manager.getServableStates('m').find(({ id }) => id.version === 1)?.baking, false);
});

test('too slow is bad as well', async (t) => {
  const m = start(t, { bake: { for: '10m', minRequests: 20, maxLatencyIncrease: 1 } });
  const slow = new CountingLoader<Answering>({
    version: 2,
    answer: () => {
      const end = performance.now() + 4;
      while (performance.now() < end);
      return 2;
    },
  });
  await m.aspire('m', one(1, good(1)));
  const traffic = new Traffic(m, 1);
  await m.until(
    eventually(() => (traffic.served.get(1) ?? 0) > 300, 'requests to the old version'),
    'requests to the old version',
  );
  const { versions } = await m.aspire('m', one(2, slow));
  await traffic.stop();
  const report = reportOf(versions[0]?.error);
  assert.equal(report.reason, 'latency');
  assert.equal(report.errors, 0);
  assert.ok(report.latencyMs.p50 > (report.previous?.latencyMs.p50 ?? Number.POSITIVE_INFINITY));
  assert.equal(m.resolve('m'), 'm/1');
});

test('close() during a bake settles the list and ends everything', async (t) => {
  const m = start(t);
  await m.aspire('m', one(1, good(1)));
  const transition = m.manager.setAspiredVersions('m', one(2, good(2)));
  await m.saw('m', 2, 'Available');
  const { settled } = transition;
  assert.deepEqual((await deadline(m.manager.close(), 'close()')).abandoned, []);
  await deadline(settled, 'settled');
});

test('a version that fails its load has no bake, and the old one serves', async (t) => {
  const m = start(t);
  const old = good(1);
  await m.aspire('m', one(1, old));
  const { versions } = await m.aspire('m', one(2, new FailingLoader(2)));
  coded('ERR_LOAD_FAILED')(versions[0]?.error);
  assert.deepEqual([m.resolve('m'), m.manager.getServableStates('m')[0]?.bad], ['m/1', false]);
});

test('a bake that is switched off while it runs goes on, and the next version has none', async (t) => {
  const m = start(t);
  await m.aspire('m', one(1, good(1)));
  const transition = m.manager.setAspiredVersions('m', one(2, flaky(2)));
  // Available is told before the bake begins.
  const isBaking = (): boolean => m.manager.getServableStates('m').some(({ id, baking }) => id.version === 2 && baking);
  await m.until(eventually(isBaking, 'its bake'), 'its bake');
  await m.aspire('other', one(1, good(1))); // told after the begin of the bake: by now that was heard of
  m.manager.setServableOptions('m', { bake: false });
  const traffic = new Traffic(m);
  const { versions } = await m.settled(transition);
  await traffic.stop();
  reportOf(versions[0]?.error);
  assert.equal((await m.aspire('m', one(3, flaky(3)))).versions[0]?.managerState, 'Available');
  assert.equal(m.resolve('m'), 'm/3');
});

test('the loader that failed a bake is known also when its list came before the bake was asked for', async (t) => {
  const m = start(t, { bake: false });
  await m.aspire('m', one(1, good(1)));
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { value } = flaky(2);
  let loads = 0;
  const young: Loader<Answering> = {
    async load() {
      loads++;
      await gate;
      return value;
    },
  };
  const transition = m.manager.setAspiredVersions('m', one(2, young));
  await m.saw('m', 2, 'Loading');
  m.manager.setServableOptions('m', { bake: LONG });
  const traffic = new Traffic(m);
  release();
  reportOf((await m.settled(transition)).versions[0]?.error);
  await m.aspire('m', one(2, young));
  await traffic.stop();
  assert.deepEqual([loads, m.resolve('m')], [1, 'm/1']);
});
