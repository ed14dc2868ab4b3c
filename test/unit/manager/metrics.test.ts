// Health of versions: what withServable() counts, how exact the histogram is, and what it costs in memory.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AspiredVersionsManager } from 'aspired';
import {
  bucketBounds,
  METRICS_LENGTH,
  mergeSnapshots,
  NO_METRICS,
  quantile,
  since,
  summarize,
  VersionMetrics,
} from '#lib/manager/metrics.js';
import { counted, PendingCall } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const MINUTE = 60_000;

function measured(...latencies: number[]): VersionMetrics {
  const metrics = new VersionMetrics();
  for (const ms of latencies) metrics.record(ms, false);
  return metrics;
}

// ------------------------------------------------------------------- the histogram

test('a latency from 1 us to 2 hours is within 6.25 % of what quantile() answers', () => {
  for (let ms = 0.001; ms < 2 * 60 * MINUTE; ms *= 1.0137) {
    const metrics = measured(ms, ms, 2 * ms);
    const off = Math.abs(quantile(metrics.snapshot(), 0.5) - ms) / ms;
    assert.ok(off <= 0.0625, `${ms} ms is ${off * 100} % off`);
  }
});

test('a latency lies within the bounds of its bucket, and the buckets leave no gap', () => {
  for (let ms = 0.0005; ms < 200 * MINUTE; ms *= 1.0091) {
    const { counts } = measured(ms).snapshot();
    const { low, high } = bucketBounds(counts.length - 1);
    assert.ok(low <= ms && ms < high, `${ms} in ${low}..${high}`);
    assert.equal(low, counts.length === 1 ? 0 : bucketBounds(counts.length - 2).high);
  }
});

test('faster than 1 us and slower than 131 minutes count at the ends', () => {
  const snapshot = measured(0, 1e-5, 133 * MINUTE, Number.POSITIVE_INFINITY).snapshot();
  assert.deepEqual([snapshot.counts[0], snapshot.counts.at(-1), snapshot.requests], [2, 2, 4]);
  assert.equal(quantile(measured(133 * MINUTE).snapshot(), 0.5), 133 * MINUTE);
});

test('quantiles follow the ranks; mean and max are exact', () => {
  const metrics = new VersionMetrics();
  for (let ms = 1; ms <= 1000; ms++) metrics.record(ms, ms % 10 === 0);
  const snapshot = metrics.snapshot();
  const { mean, p50, p90, p99, max } = summarize(snapshot);
  assert.deepEqual([snapshot.requests, snapshot.errors, mean, max], [1000, 100, 500.5, 1000]);
  for (const [got, exact] of [
    [p50, 500],
    [p90, 900],
    [p99, 990],
  ] as const) {
    assert.ok(Math.abs(got - exact) <= 0.0625 * exact, `${got} for ${exact}`);
  }
  assert.equal(quantile(snapshot, 1), 992, 'the middle of the last bucket, which begins at 960 and ends at 1024');
});

test('nothing counted is 0 everywhere', () => {
  assert.deepEqual(new VersionMetrics().snapshot(), NO_METRICS);
  assert.deepEqual(summarize(NO_METRICS), { mean: 0, p50: 0, p90: 0, p99: 0, max: 0 });
});

test('a snapshot is plain: JSON and structuredClone keep it', () => {
  const snapshot = measured(1, 20, 300).snapshot();
  assert.deepEqual(JSON.parse(JSON.stringify(snapshot)), snapshot);
  assert.deepEqual(structuredClone(snapshot), snapshot);
});

test('the sum of two threads is what one would have counted', () => {
  const [a, b, both] = [new VersionMetrics(), new VersionMetrics(), new VersionMetrics()];
  for (let i = 1; i <= 1000; i++) {
    for (const metrics of [i % 3 ? a : b, both]) metrics.record(i / 8, i % 7 === 0);
  }
  a.begin();
  both.begin();
  assert.deepEqual(mergeSnapshots([a.snapshot(), b.snapshot()]), both.snapshot());
  assert.deepEqual(mergeSnapshots([b.snapshot(), NO_METRICS, a.snapshot()]), both.snapshot());
  assert.deepEqual(mergeSnapshots([]), NO_METRICS);
});

test('since() takes away what was counted before', () => {
  const metrics = measured(5000, 1);
  const before = metrics.snapshot();
  metrics.record(2, true);
  const after = since(metrics.snapshot(), before);
  assert.deepEqual({ ...after, maxMs: 0 }, { ...measured(2).snapshot(), errors: 1, maxMs: 0 });
  assert.ok(after.maxMs >= 2 && after.maxMs <= 2.25, `the max of before is forgotten: ${after.maxMs}`);
  metrics.record(9000, false);
  assert.equal(since(metrics.snapshot(), before).maxMs, 9000);
  // Another version took its place and counts from 0 again.
  assert.deepEqual(since(measured(1).snapshot(), before).requests, 0);
});

test('the counters can lie on shared memory, and another reader sees them', () => {
  const shared = new SharedArrayBuffer(METRICS_LENGTH * 8);
  const writer = new VersionMetrics(new Float64Array(shared));
  const reader = new VersionMetrics(new Float64Array(shared));
  writer.begin();
  writer.record(3, true);
  assert.deepEqual(reader.snapshot(), { ...measured(3).snapshot(), errors: 1, inFlight: 1 });
});

// ------------------------------------------------------------------- what is counted

async function serving(t: TestContext, options = {}) {
  const m = new TestManager(t, options);
  await m.aspire('m', counted(1));
  return { m, manager: m.manager };
}

const show = (manager: AspiredVersionsManager, name = 'm') =>
  manager
    .getServableMetrics(name)
    .map(({ id, requests, errors, inFlight }) => [id.version, requests, errors, inFlight]);

const fail = (): never => {
  throw new Error('of the request');
};

test('requests are counted, and errors when the function throws or rejects', async (t) => {
  const { manager } = await serving(t);
  manager.withServableSync('m', () => 1);
  await manager.withServable('m', () => 1);
  await manager.withServable('m', async () => 1);
  assert.throws(() => manager.withServableSync('m', fail), /of the request/);
  await assert.rejects(manager.withServable('m', fail), /of the request/);
  await assert.rejects(
    manager.withServable('m', () => Promise.reject(undefined)),
    (error) => error === undefined,
  );
  assert.deepEqual(show(manager), [[1, 6, 3, 0]]);
  const [metrics] = manager.getServableMetrics('m');
  const { mean = 0, p50 = 0, p99 = 0, max = 0 } = metrics?.latencyMs ?? {};
  assert.ok(mean > 0 && p50 > 0 && p50 <= p99 && p99 <= max, JSON.stringify(metrics));
});

test('a request that is not found is nobody s request', async (t) => {
  const { manager } = await serving(t);
  assert.throws(() => manager.withServableSync({ name: 'm', version: 9 }, () => 1), coded('ERR_SERVABLE_NOT_FOUND'));
  await assert.rejects(
    manager.withServable('other', () => 1),
    coded('ERR_SERVABLE_NOT_FOUND'),
  );
  assert.deepEqual(show(manager), [[1, 0, 0, 0]]);
  assert.deepEqual(show(manager, 'other'), []);
  assert.throws(() => manager.getServableMetrics(''), coded('ERR_INVALID_NAME'));
});

test('a handle is no request', async (t) => {
  const { manager } = await serving(t);
  using _handle = manager.getServableHandle('m');
  assert.deepEqual(show(manager), [[1, 0, 0, 0]]);
});

test('a request is in flight until its promise settles, and its latency is the time until then', async (t) => {
  const { manager } = await serving(t);
  const gate = new PendingCall<void>();
  const pending = manager.withServable('m', () => gate.promise);
  manager.withServableSync('m', () => assert.deepEqual(show(manager), [[1, 0, 0, 2]], 'while it runs'));
  assert.deepEqual(show(manager), [[1, 1, 0, 1]]);
  const begun = performance.now();
  while (performance.now() - begun < 12); // at least 12 ms, whatever a timer would do
  gate.succeed();
  await pending;
  assert.deepEqual(show(manager), [[1, 2, 0, 0]]);
  const max = manager.getServableMetrics('m')[0]?.latencyMs.max ?? 0;
  assert.ok(max >= 12 && max < 15_000, `${max} ms`);
});

test('a thenable of one s own is waited for, be it an object or a function', async (t) => {
  const { manager } = await serving(t);
  type Then = (resolve: (value: number) => void, reject: (error: unknown) => void) => void;
  const thenable = (value: object, then: Then) =>
    Object.defineProperty(value, 'then', { value: then }) as PromiseLike<number>;
  assert.equal(await manager.withServable('m', () => thenable({}, (resolve) => resolve(7))), 7);
  assert.equal(
    await manager.withServable('m', () =>
      thenable(
        () => 0,
        (resolve) => resolve(8),
      ),
    ),
    8,
  );
  await assert.rejects(
    manager.withServable('m', () => thenable({}, (_resolve, reject) => reject(new Error('no')))),
    /no/,
  );
  assert.deepEqual(show(manager), [[1, 3, 1, 0]]);
});

test('each version has its own, highest first; a draining one is still shown', async (t) => {
  const { m, manager } = await serving(t);
  const gate = new PendingCall<void>();
  const pending = manager.withServable('m', () => gate.promise);
  const transition = manager.setAspiredVersions('m', counted(2));
  await m.saw('m', 1, 'Unloading');
  manager.withServableSync('m', () => 1);
  assert.deepEqual(show(manager), [
    [2, 1, 0, 0],
    [1, 0, 0, 1],
  ]);
  gate.succeed();
  await pending;
  await m.settled(transition);
  assert.deepEqual(show(manager), [[2, 1, 0, 0]]);
});

test('a version that is loaded again starts at 0', async (t) => {
  const { m, manager } = await serving(t);
  manager.withServableSync('m', () => 1);
  await m.aspire('m', []);
  await m.aspire('m', counted(1));
  assert.deepEqual(show(manager), [[1, 0, 0, 0]]);
});

test('with metrics: false nothing is counted, and all else is the same', async (t) => {
  const { manager } = await serving(t, { metrics: false });
  assert.equal(
    manager.withServableSync('m', (servable) => servable),
    1,
  );
  assert.equal(await manager.withServable('m', async (servable) => servable), 1);
  assert.throws(() => manager.withServableSync('m', fail), /of the request/);
  await assert.rejects(manager.withServable('m', fail), /of the request/);
  assert.deepEqual(manager.getServableMetrics('m'), []);
  assert.equal(manager.getServableStates('m')[0]?.leases, 0);
});

test('metrics is a boolean', () => {
  for (const value of [null, 0, 'yes', {}]) {
    assert.throws(
      () => new AspiredVersionsManager({ metrics: value as never }),
      /Expected a boolean for option metrics/,
    );
  }
});

test('after close() there are none to be had', async () => {
  const manager = new AspiredVersionsManager();
  await manager.close();
  assert.throws(() => manager.getServableMetrics('m'), coded('ERR_MANAGER_CLOSED'));
});

// ------------------------------------------------------------------- what it costs

const collected = (): number => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let i = 0; i < 3; i++) gc();
  return process.memoryUsage().arrayBuffers;
};

test('the metrics of a version that is gone are given back; an idle version has none', async (t) => {
  const { m, manager } = await serving(t);
  const before = collected();
  await m.aspire('idle', counted(...Array(500).keys()));
  assert.ok(collected() - before < 100_000, 'idle versions take memory');
  await m.aspire('idle', []);
  for (let version = 2; version < 502; version++) {
    await m.aspire('m', counted(version));
    manager.withServableSync('m', () => 1);
  }
  const grown = collected() - before;
  assert.ok(grown < 100_000, `500 versions that came and went left ${grown} bytes; one has ${METRICS_LENGTH * 8}`);
});

test('a request allocates nothing for its metrics', async () => {
  const program = new URL('../../support/allocation-program.js', import.meta.url).pathname;
  const flags = ['--min-semi-space-size=512', '--max-semi-space-size=512'];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program], { timeout: 60_000 });
  const bytes = JSON.parse(stdout) as Record<string, { without: number; with: number }>;
  for (const way of ['sync', 'async']) {
    const { without = 0, with: measured = 1e9 } = bytes[way] ?? {};
    assert.ok(measured - without < 8, `${way}: ${measured} bytes per request, and ${without} without metrics`);
  }
});
