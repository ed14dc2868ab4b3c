import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evidenceOfSlowness, evidenceOfSpeed, type LatencyPair } from '#lib/fleet/gates/latency.js';
import { Random } from '../../../scripts/models/random.js';
import { counted, Traffic } from './traffic.js';

const FACTOR = 1.5;
const FAIL = 0.00125;
const PASS = 0.025;
const isSlow = (pairs: readonly LatencyPair[]): boolean =>
  evidenceOfSlowness(pairs, FACTOR, FAIL) >= Math.log(1 / FAIL);
const isFast = (pairs: readonly LatencyPair[]): boolean => evidenceOfSpeed(pairs, FACTOR, PASS) >= Math.log(1 / PASS);

interface Run {
  /** p99 of the new version over that of the control group. */
  readonly ratio: number;
  /** Requests to the control group for one to the new version. @default 2 */
  readonly share?: number;
  readonly zones?: number;
  readonly requests: number;
}

/** Requests to the new version until `stops` says so after a batch of 100, per run; Infinity when it never does. */
function repeat(runs: number, seed: number, run: Run, stops: (pairs: readonly LatencyPair[]) => boolean): number[] {
  const { ratio, share = 2, zones = 1, requests } = run;
  const random = new Random(seed);
  const once = (): number => {
    // Zones differ in latency.
    const parts = Array.from({ length: zones }, (_, i) => ({
      current: new Traffic(random, 0, 10 * (i + 1) * ratio),
      control: new Traffic(random, 0, 10 * (i + 1)),
    }));
    for (let sent = 100; sent <= requests; sent += 100) {
      for (const { current, control } of parts) {
        current.send(100 / zones);
        control.send((share * 100) / zones);
      }
      const pairs = parts.map(({ current, control }) => ({ current: current.snapshot(), control: control.snapshot() }));
      if (stops(pairs)) return sent;
    }
    return Number.POSITIVE_INFINITY;
  };
  return Array.from({ length: runs }, once).sort((a, b) => a - b);
}

const shareOf = (stopped: readonly number[]): number => stopped.filter(Number.isFinite).length / stopped.length;
const middle = (sorted: readonly number[]): number => sorted[sorted.length >> 1] as number;

test('a p99 at the limit is neither failed nor passed by looking often', (t) => {
  const alarms = shareOf(repeat(150, 1, { ratio: FACTOR, requests: 4_000 }, isSlow));
  const passed = shareOf(repeat(150, 2, { ratio: FACTOR, requests: 4_000 }, isFast));
  t.diagnostic(`after each of 40 batches: ${alarms * 100} % of 150 runs failed, ${passed * 100} % passed`);
  assert.ok(alarms <= 0.01, `${alarms * 100} % failed`);
  assert.ok(passed <= 0.05, `${passed * 100} % passed`);
});

test('requests faster than the finest bucket are as fast as each other, and can pass', () => {
  const fast = counted(5_000, 0, 0.0005);
  assert.equal(isFast([{ current: fast, control: fast }]), true);
  assert.equal(isFast([{ current: counted(5_000, 0, 0.01), control: fast }]), false);
});

test('what a small control group does not know of its own p99 is held against nobody', (t) => {
  const run: Run = { ratio: FACTOR, share: 0.05, requests: 8_000 };
  const alarms = shareOf(repeat(60, 7, run, isSlow));
  const passed = shareOf(repeat(60, 8, run, isFast));
  t.diagnostic(`with 1 request for 20: ${alarms * 100} % of 60 runs failed, ${passed * 100} % passed`);
  assert.ok(alarms <= 0.02 && passed <= 0.06, `${alarms * 100} %, ${passed * 100} %`);
});

test('a p99 of twice and three times as much is noticed, none more passes', (t) => {
  const twice = middle(repeat(15, 3, { ratio: 2, requests: 20_000 }, isSlow));
  const thrice = middle(repeat(15, 4, { ratio: 3, requests: 20_000 }, isSlow));
  const same = middle(repeat(15, 5, { ratio: 1, requests: 20_000 }, isFast));
  const zones = middle(repeat(15, 6, { ratio: 1, zones: 4, requests: 20_000 }, isFast));
  t.diagnostic(
    `median of requests until 2 x fails: ${twice}, 3 x fails: ${thrice}, 1 x passes: ${same}, in 4 zones: ${zones}`,
  );
  assert.ok(twice <= 6_000 && thrice <= 1_500, `${twice}, ${thrice}`);
  assert.ok(same <= 4_000 && zones <= 12_000, `${same}, ${zones}`);
});

test('few requests prove nothing, not even when all are slow or none', () => {
  const few = (ms: number): LatencyPair[] => [{ current: counted(5, 0, ms), control: counted(100_000, 0, 20) }];
  assert.ok(!isFast(few(20)));
  assert.ok(!isSlow([{ current: counted(1, 0, 1000), control: counted(100_000, 0, 20) }]));
  assert.ok(isSlow(few(1000)), 'five of five at fifty times the p99');
  // What the control group's own p99 is cannot be told from fifty requests.
  const unsure = [{ current: counted(100_000, 0, 31), control: counted(50, 0, 20) }];
  assert.ok(!isSlow(unsure));
  assert.ok(!isFast(unsure));
  assert.ok(!isFast([]) && !isSlow([]));
});

test('a slow zone does not hide among fast ones that have most of the traffic', () => {
  const zone = (share: number, ms: number): LatencyPair => ({
    current: counted(100_000 * share, 0, ms),
    control: counted(100_000, 0, 20),
  });
  assert.ok(isSlow([zone(0.95, 20), zone(0.05, 60)]));
  assert.ok(isFast([zone(0.95, 20), zone(0.05, 20)]));
});
