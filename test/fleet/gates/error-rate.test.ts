import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviation, evidenceOfExcess, evidenceOfNoExcess, logMean, type Stratum } from '#lib/fleet/gates/error-rate.js';
import { Random } from '../../../scripts/models/random.js';
import { failures } from './traffic.js';

const MARGIN = 0.01;
const stratum = (requests: number, errors: number, others: number, failed: number): Stratum => ({
  requests,
  errors,
  control: { requests: others, errors: failed },
});

interface Run {
  readonly base: number;
  readonly increase: number;
  /** Requests to the control group for one to the new version. */
  readonly share: number;
  readonly zones?: number;
  readonly requests: number;
  readonly batch?: number;
}

/** Requests to the new version until `stops` says so after a batch; Infinity when it never does. */
function untilStop(random: Random, run: Run, stops: (strata: readonly Stratum[]) => boolean): number {
  const { base, increase, share, zones = 1, requests, batch = 50 } = run;
  const counts = Array.from({ length: zones }, () => ({ errors: 0, failed: 0 }));
  for (let sent = batch; sent <= requests; sent += batch) {
    const strata = counts.map((zone, i) => {
      // Zones differ: in rate by a factor of up to two, and so in nothing that the test knows.
      const rate = base * (1 + i / zones);
      zone.errors += failures(random, batch / zones, rate + increase);
      zone.failed += failures(random, (batch / zones) * share, rate);
      return stratum(sent / zones, zone.errors, (sent / zones) * share, zone.failed);
    });
    if (stops(strata)) return sent;
  }
  return Number.POSITIVE_INFINITY;
}

function repeat(runs: number, seed: number, run: Run, stops: (strata: readonly Stratum[]) => boolean): number[] {
  const random = new Random(seed);
  return Array.from({ length: runs }, () => untilStop(random, run, stops)).sort((a, b) => a - b);
}

const shareOf = (stopped: readonly number[]): number => stopped.filter(Number.isFinite).length / stopped.length;
const middle = (sorted: readonly number[], q = 0.5): number => sorted[Math.floor(q * sorted.length)] as number;
const fails = (strata: readonly Stratum[], margin = MARGIN): boolean =>
  evidenceOfExcess(strata, margin) >= Math.log(1 / 0.0025);
const passes = (strata: readonly Stratum[]): boolean => evidenceOfNoExcess(strata, MARGIN) >= Math.log(1 / 0.05);

/** What one would do without: an ordinary test at 1 %, at each look. */
function fixedSampleTest([one]: readonly Stratum[]): boolean {
  const { requests, errors, control } = one as Required<Stratum>;
  const p = control.errors / control.requests;
  const q = errors / requests;
  const variance = (q * (1 - q)) / requests + (p * (1 - p)) / control.requests;
  return q - p - MARGIN > 2.326 * Math.sqrt(variance);
}

for (const run of [
  { base: 0.02, increase: MARGIN, share: 1, requests: 5_000 },
  { base: 0.002, increase: MARGIN, share: 9, requests: 5_000 },
  { base: 0.02, increase: MARGIN, share: 1, zones: 4, requests: 4_000 },
] satisfies Run[]) {
  const what = `${run.base * 100} % + 1 %, 1 : ${run.share}, ${run.zones ?? 1} zones`;
  test(`a version at the limit is not failed by looking often: ${what}`, (t) => {
    const runs = 'zones' in run ? 100 : 500;
    const alarms = shareOf(repeat(runs, 7, run, fails));
    t.diagnostic(`false alarms over many looks: ${alarms * 100} % of ${runs} runs`);
    assert.ok(alarms <= 0.01, `${alarms * 100} % of the runs failed`);
  });

  test(`a version at the limit is not passed by looking often: ${what}`, (t) => {
    const passed = shareOf(repeat(100, 8, run, passes));
    t.diagnostic(`passed within as many looks: ${passed * 100} % of 100 runs`);
    assert.ok(passed <= 0.1, `${passed * 100} % of the runs passed`);
  });
}

test('evidence is worth what it says: it reaches 5 at most once in five times, at the limit', (t) => {
  for (const zones of [1, 3]) {
    const run: Run = { base: 0.02, increase: MARGIN, share: 2, zones, requests: 3_000, batch: 75 };
    const reached = shareOf(repeat(150, 12, run, (strata) => evidenceOfExcess(strata, MARGIN) >= Math.log(5)));
    t.diagnostic(`${zones} zones: ${reached * 100} % of the runs`);
    assert.ok(reached <= 0.2 && reached > 0, `${reached * 100} % of the runs`);
  }
});

test('the simulation catches a test that may be looked at only once', (t) => {
  const run: Run = { base: 0.02, increase: MARGIN, share: 1, requests: 5_000 };
  const alarms = shareOf(repeat(500, 7, run, fixedSampleTest));
  t.diagnostic(`an ordinary test at 1 %, at each of 100 looks: ${alarms * 100} % false alarms`);
  assert.ok(alarms > 0.03, `only ${alarms * 100} %`);
});

for (const { margin, increase, most } of [
  { margin: 0.0025, increase: 0.01, most: 12_000 },
  { margin: MARGIN, increase: 0.02, most: 12_000 },
  { margin: MARGIN, increase: 0.05, most: 1_500 },
  { margin: MARGIN, increase: 0.5, most: 50 },
]) {
  test(`an increase of ${increase * 100} % over a margin of ${margin * 100} % is noticed`, (t) => {
    const batch = increase > 0.1 ? 5 : 100;
    const run: Run = { base: 0.005, increase, share: 4, requests: 30_000, batch };
    const delays = repeat(30, 9, run, (strata) => fails(strata, margin));
    t.diagnostic(`requests until then: median ${middle(delays)}, 90 % ${middle(delays, 0.9)}`);
    assert.ok(middle(delays) <= most, `median ${middle(delays)}`);
  });
}

test('a version that is no worse passes', (t) => {
  const run: Run = { base: 0.005, increase: 0, share: 4, requests: 30_000, batch: 100 };
  const delays = repeat(30, 10, run, passes);
  t.diagnostic(`requests until then: median ${middle(delays)}, 90 % ${middle(delays, 0.9)}`);
  assert.ok(middle(delays) <= 4_000, `median ${middle(delays)}`);
});

test('one bad zone among good ones is found, and does not pass', () => {
  const good = stratum(5_000, 25, 50_000, 250);
  const bad = stratum(1_000, 60, 10_000, 50);
  assert.ok(fails([good, good, good, bad]));
  assert.ok(deviation(bad, MARGIN) > 5);
  assert.equal(deviation(good, MARGIN), 0);
});

test('what differs between zones is no increase, however their shares differ', () => {
  // Most of the new version's traffic is where everybody fails more: pooled, it would look four times as bad.
  const strata = [stratum(20_000, 1_000, 5_000, 250), stratum(2_000, 4, 50_000, 100)];
  assert.ok(!fails(strata));
  assert.ok(passes(strata));
  assert.ok(fails([stratum(22_000, 1_004, 55_000, 350)]), 'pooled');
});

test('nothing that was not seen is evidence', () => {
  assert.ok(evidenceOfExcess([], MARGIN) <= 0);
  assert.ok(evidenceOfNoExcess([], MARGIN) <= 0);
  assert.ok(evidenceOfNoExcess([stratum(100, 0, 0, 0)], MARGIN) < 1);
  assert.ok(!passes([stratum(100, 0, 100, 0)]));
  assert.ok(!passes([stratum(1_000_000, 10_000, 0, 0)]));
});

test('without a control group the margin is all that may fail', () => {
  assert.ok(!passes([{ requests: 200, errors: 0 }]));
  assert.ok(passes([{ requests: 1_000, errors: 0 }]));
  assert.ok(passes([{ requests: 10_000, errors: 50 }]));
  assert.ok(!passes([{ requests: 10_000, errors: 100 }]));
  assert.ok(!fails([{ requests: 10_000, errors: 100 }]));
  assert.ok(fails([{ requests: 10_000, errors: 200 }]));
});

test('every rate from nothing to everything, and every size, has an evidence that is a number', () => {
  const counts = [0, 1, 2, 50, 100];
  const sizes = [1, 10_000_000];
  for (const errors of counts) {
    for (const failed of counts) {
      for (const scale of sizes) {
        for (const other of sizes) {
          const one = stratum(100 * scale, errors * scale, 100 * other, failed * other);
          for (const margin of [1e-6, MARGIN, 0.5, 0.9]) {
            const found = [
              evidenceOfExcess([one], margin),
              evidenceOfNoExcess([one, one], margin),
              deviation(one, margin),
            ];
            assert.ok(!found.some(Number.isNaN), JSON.stringify({ one, margin, found }));
            assert.ok((found[0] as number) <= 0 || (found[1] as number) <= 0, JSON.stringify({ one, margin, found }));
          }
        }
      }
    }
  }
});

test('the mean of what is given by logarithms', () => {
  assert.ok(Math.abs(logMean([Math.log(2), Math.log(4)]) - Math.log(3)) < 1e-12);
  assert.equal(logMean([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]), Number.NEGATIVE_INFINITY);
  assert.ok(Math.abs(logMean([1e6, 1e6]) - 1e6) < 1e-6);
});
