// Bakes: their options, the judge (also by simulation), and the watcher with time turned by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration } from '#lib/duration.js';
import type { AspiredError } from '#lib/errors.js';
import { aboveAtOneLook, type BakeVerdict, judgeBake, surelyAbove, upperRate } from '#lib/manager/bake.js';
import { type BakeSettings, checkBake } from '#lib/manager/bake-options.js';
import { type BakeOutcome, type BakeReport, BakeWatcher } from '#lib/manager/bakes.js';
import { type MetricsSnapshot, NO_METRICS, VersionMetrics } from '#lib/manager/metrics.js';
import type { ServableId } from '#lib/types.js';
import { coded } from '../../support/manager.js';
import { ManualClock } from '../sources/support.js';

const MINUTE = 60_000;

/** A seeded source of chance, so that a run can be repeated (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const settings = (limits: Partial<BakeSettings> = {}): BakeSettings => ({
  forMs: MINUTE,
  minRequests: 100,
  maxErrorRate: undefined,
  maxLatencyIncrease: undefined,
  ...limits,
});

/** Requests of which so many failed, all of the same latency. */
function counts(requests: number, errors = 0, ms = 10): MetricsSnapshot {
  const metrics = new VersionMetrics();
  for (let i = 0; i < requests; i++) metrics.record(ms, i < errors);
  return metrics.snapshot();
}

function latencies(count: number, latency: (i: number) => number): MetricsSnapshot {
  const metrics = new VersionMetrics();
  for (let i = 0; i < count; i++) metrics.record(latency(i), false);
  return metrics.snapshot();
}

const reasonOf = (verdict: BakeVerdict) => (verdict.verdict === 'breached' ? verdict.reason : verdict.verdict);

// ------------------------------------------------------------------- options

test('a duration is a number of milliseconds or a text with a unit', () => {
  const right = { '500ms': 500, '60s': 60_000, '30m': 1_800_000, '1h': 3_600_000, '2d': 172_800_000, '1.5 s': 1500 };
  for (const [text, ms] of Object.entries(right)) assert.equal(parseDuration('for', text), ms);
  assert.deepEqual([parseDuration('for', 250), parseDuration('for', 0.2), parseDuration('for', '0.07s')], [250, 1, 70]);
  for (const value of [
    '',
    '60',
    's',
    '-1s',
    '1w',
    '1s ',
    '1 h 2 m',
    '1e3s',
    'Infinitys',
    -1,
    Number.NaN,
    null,
    {},
    true,
  ]) {
    assert.throws(
      () => parseDuration('bake.for', value),
      (error: Error) => {
        assert.match(error.message, /^Expected a duration like '500ms'.* for option bake\.for, but received /);
        return coded('ERR_INVALID_ARGUMENT')(error);
      },
    );
  }
  for (const value of ['0s', 0, undefined, Number.POSITIVE_INFINITY, '99999999999999d'])
    assert.throws(() => parseDuration('bake.for', value, 1), /at least 1 ms for option bake\.for, but received /);
});

test('the options of a bake', () => {
  assert.deepEqual(checkBake({ for: '60s', maxErrorRate: 0.01 }), settings({ maxErrorRate: 0.01 }));
  assert.deepEqual(
    checkBake({ for: 5, minRequests: 7, maxErrorRate: 0, maxLatencyIncrease: 0.5, compareTo: 'previous' }),
    { forMs: 5, minRequests: 7, maxErrorRate: 0, maxLatencyIncrease: 0.5 },
  );
  assert.deepEqual([checkBake(undefined), checkBake(false)], [undefined, undefined]);
});

const good = { for: '60s', maxErrorRate: 0.01 };
for (const [what, value, message] of [
  ['no object', 7, /Expected an object for option bake/],
  ['null', null, /Expected an object for option bake/],
  ['no time', { maxErrorRate: 0.1 }, /option bake\.for/],
  ['no limit', { for: '60s' }, /Expected maxErrorRate or maxLatencyIncrease, or both, for option bake/],
  [
    'a misspelled limit',
    { for: '60s', maxErrorsRate: 0.1 },
    /Unknown option maxErrorsRate in bake. Did you mean maxErrorRate/,
  ],
  ['a rate in percent', { ...good, maxErrorRate: 5 }, /a number from 0 to 1 for option bake\.maxErrorRate/],
  ['a rate that is NaN', { ...good, maxErrorRate: Number.NaN }, /bake\.maxErrorRate/],
  ['a negative increase', { ...good, maxLatencyIncrease: -0.1 }, /bake\.maxLatencyIncrease/],
  ['an increase as text', { ...good, maxLatencyIncrease: '50%' }, /bake\.maxLatencyIncrease/],
  ['an infinite increase', { ...good, maxLatencyIncrease: Number.POSITIVE_INFINITY }, /bake\.maxLatencyIncrease/],
  ['no requests', { ...good, minRequests: 0 }, /bake\.minRequests/],
  ['another comparison', { ...good, compareTo: 'next' }, /Expected 'previous' for option bake\.compareTo/],
] as const) {
  test(`the options of a bake: ${what}`, () => {
    assert.throws(() => checkBake(value), message);
  });
}

// ------------------------------------------------------------------- the judge: errors

test('a version AT its limit is broken off early in less than 1 % of 10,000 bakes, looked at after every request', () => {
  const random = chance(1);
  const limit = 0.01;
  const bake = settings({ maxErrorRate: limit });
  let broken = 0;
  for (let run = 0; run < 10_000; run++) {
    let errors = 0;
    for (let requests = 1; requests <= 2000; requests++) {
      if (random() >= limit) continue; // a look after a request that went well answers no more than the one before
      errors++;
      if (judgeBake(bake, { ...NO_METRICS, requests, errors }, undefined, 0).verdict !== 'breached') continue;
      broken++;
      break;
    }
  }
  assert.ok(broken < 100, `${broken} of 10,000`);
  assert.ok(broken > 0, 'a test that never breaks off is too lax to be one');
});

test('a look after a request that went well never breaks off what the look before did not', () => {
  for (let errors = 1; errors < 40; errors++) {
    let before = true;
    for (let requests = errors; requests < 2000; requests++) {
      const now = surelyAbove(errors, requests, 0.01);
      assert.ok(before || !now, `${errors} of ${requests}`);
      before = now;
    }
  }
});

test('5 % of errors against a limit of 1 % are caught within a few hundred requests', () => {
  const random = chance(2);
  const bake = settings({ maxErrorRate: 0.01 });
  const caught: number[] = [];
  for (let run = 0; run < 1000; run++) {
    for (let requests = 1, errors = 0; ; requests++) {
      if (random() < 0.05) errors++;
      if (judgeBake(bake, { ...NO_METRICS, requests, errors }, undefined, 0).verdict !== 'breached') continue;
      caught.push(requests);
      break;
    }
  }
  caught.sort((a, b) => a - b);
  const [median = 0, p95 = 0] = [caught[500], caught[950]];
  assert.ok(median <= 300 && p95 <= 600, `median ${median}, 95 % within ${p95}`);
});

test('a version that fails every request is broken off after a handful, without waiting for minRequests', () => {
  const bake = settings({ maxErrorRate: 0.01 });
  const first = [1, 2, 3, 4, 5].find((n) => judgeBake(bake, counts(n, n), undefined, 0).verdict === 'breached') ?? 99;
  assert.ok(first >= 2 && first <= 4, `after ${first}`);
});

test('with maxErrorRate 0 one error is one too many; with 1 none is', () => {
  assert.equal(reasonOf(judgeBake(settings({ maxErrorRate: 0 }), counts(1, 1), undefined, 0)), 'error-rate');
  assert.equal(reasonOf(judgeBake(settings({ maxErrorRate: 0 }), counts(500), undefined, MINUTE)), 'passed');
  assert.equal(reasonOf(judgeBake(settings({ maxErrorRate: 1 }), counts(500, 500), undefined, MINUTE)), 'passed');
});

test('at the end the error rate that was counted is what counts, from minRequests on', () => {
  const bake = settings({ maxErrorRate: 0.02 });
  const judge = (requests: number, errors: number, elapsedMs: number) =>
    judgeBake(bake, counts(requests, errors), undefined, elapsedMs);
  assert.equal(reasonOf(judge(100, 3, MINUTE - 1)), 'watching');
  assert.deepEqual(judge(100, 3, MINUTE), {
    verdict: 'breached',
    reason: 'error-rate',
    message: '3 of 100 requests failed (3 %); at most 2 % may.',
    requests: 100,
    errors: 3,
  });
  assert.deepEqual(judge(100, 2, MINUTE), { verdict: 'passed', insufficientData: false });
  assert.deepEqual(judge(99, 3, MINUTE), { verdict: 'passed', insufficientData: true });
  assert.deepEqual(judge(0, 0, 2 * MINUTE), { verdict: 'passed', insufficientData: true });
  assert.equal(reasonOf(judge(99, 20, MINUTE)), 'error-rate', 'sure is sure, with fewer requests too');
});

test('a previous version that fails as often is no reason to go back to it', () => {
  const bake = settings({ maxErrorRate: 0.01 });
  const judge = (errors: number, baseline: MetricsSnapshot) => judgeBake(bake, counts(1000, errors), baseline, MINUTE);
  const usual = counts(10_000, 300);
  assert.equal(reasonOf(judge(30, usual)), 'passed', '3 % as before');
  assert.equal(reasonOf(judge(40, usual)), 'passed', '4 % of 1,000 may be chance');
  const breach = judge(80, usual);
  assert.equal(reasonOf(breach), 'error-rate');
  assert.match(
    'message' in breach ? breach.message : '',
    /80 of 1000 .*\(8 %\); at most 3\.\d* % may, as 3 % of the prev/,
  );
  assert.equal(reasonOf(judge(30, counts(10_000, 100))), 'error-rate', 'one that is at the limit raises nothing');
  assert.equal(reasonOf(judge(30, counts(99, 99))), 'error-rate', 'too few requests to be compared with');
});

test('the bounds behind it', () => {
  assert.ok(upperRate(30, 1000) > 0.03 && upperRate(30, 1000) < 0.05);
  assert.ok(upperRate(0, 100) > 0 && upperRate(100, 100) === 1);
  assert.ok(aboveAtOneLook(100, 1000, 0.05) && !aboveAtOneLook(60, 1000, 0.05) && !aboveAtOneLook(10, 1000, 0.05));
  assert.ok(aboveAtOneLook(10, 10, 0.5) && !aboveAtOneLook(3, 3, 0.5) && aboveAtOneLook(1, 9, 0));
  for (const test of [surelyAbove, aboveAtOneLook]) assert.ok(!test(0, 0, 0.01) && !test(5, 5, 1) && !test(0, 9, 0));
});

// ------------------------------------------------------------------- the judge: latency

const half = settings({ maxLatencyIncrease: 0.5 });

test('a version that is twice as slow is broken off; one within the increase is not', () => {
  const before = counts(1000, 0, 10);
  const breach = judgeBake(half, counts(200, 0, 20), before, 1000);
  assert.equal(reasonOf(breach), 'latency');
  assert.match(
    'message' in breach ? breach.message : '',
    /^p99 is 20 ms over 200 requests, and was 10 ms in the previous version; at most 15 ms is allowed\.$/,
  );
  assert.equal(reasonOf(judgeBake(half, counts(200, 0, 20), before, MINUTE)), 'latency');
  assert.deepEqual(judgeBake(half, counts(5000, 0, 14), before, MINUTE), {
    verdict: 'passed',
    insufficientData: false,
  });
  assert.equal(reasonOf(judgeBake(half, counts(5000, 0, 1), before, MINUTE)), 'passed', 'faster');
});

test('the width of a bucket is no increase, wherever the latencies lie', () => {
  const strict = settings({ maxLatencyIncrease: 0 });
  for (let ms = 0.01; ms < 1000; ms *= 1.03) {
    assert.equal(reasonOf(judgeBake(strict, counts(500, 0, ms), counts(500, 0, ms), MINUTE)), 'passed', `${ms} ms`);
    assert.equal(
      reasonOf(judgeBake(half, counts(500, 0, ms * 1.49), counts(500, 0, ms), MINUTE)),
      'passed',
      `${ms} ms`,
    );
    assert.equal(
      reasonOf(judgeBake(half, counts(500, 0, ms * 1.9), counts(500, 0, ms), MINUTE)),
      'latency',
      `${ms} ms`,
    );
  }
});

test('p99 is judged: 4 % of requests that are slow are caught, though p50 is the same', () => {
  const before = latencies(10_000, (i) => (i % 200 === 0 ? 40 : 10));
  const slow = latencies(2000, (i) => (i % 25 === 0 ? 200 : 10));
  const breach = judgeBake(half, slow, before, MINUTE);
  assert.match('message' in breach ? breach.message : '', /^p99 is/);
});

test('p50 is judged: a median that doubled below a p99 that stayed', () => {
  const before = latencies(10_000, (i) => (i % 20 === 0 ? 100 : 10));
  const slow = latencies(2000, (i) => (i % 20 === 0 ? 100 : 22));
  const breach = judgeBake(half, slow, before, MINUTE);
  assert.match('message' in breach ? breach.message : '', /^p50 is/);
});

test('both versions need minRequests for their latency to be judged', () => {
  const watched = (requests: number, baseline: MetricsSnapshot | undefined) =>
    judgeBake(half, counts(requests, 0, 50), baseline, MINUTE);
  assert.deepEqual(watched(99, counts(1000)), { verdict: 'passed', insufficientData: true });
  assert.deepEqual(watched(1000, counts(99)), { verdict: 'passed', insufficientData: true });
  assert.deepEqual(watched(1000, undefined), { verdict: 'passed', insufficientData: true });
  const errorsOnly = settings({ maxErrorRate: 0.1 });
  assert.deepEqual(judgeBake(errorsOnly, counts(1000), undefined, MINUTE), {
    verdict: 'passed',
    insufficientData: false,
  });
});

test('the same version as before, with heavy tails, is broken off by chance in less than 1 % of bakes', () => {
  const random = chance(3);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const lognormal = () => 5 * Math.exp(normal());
  const bake = settings({ maxLatencyIncrease: 0.1 });
  let broken = 0;
  for (let run = 0; run < 1000; run++) {
    const before = latencies(1000, lognormal);
    const metrics = new VersionMetrics();
    for (let look = 1; look <= 20; look++) {
      for (let i = 0; i < 25; i++) metrics.record(lognormal(), false);
      const verdict = judgeBake(bake, metrics.snapshot(), before, look === 20 ? MINUTE : look);
      if (verdict.verdict === 'watching') continue;
      if (verdict.verdict === 'breached') broken++;
      break;
    }
  }
  assert.ok(broken < 10, `${broken} of 1,000`);
});

// ------------------------------------------------------------------- the watcher

interface Answer {
  readonly at: number;
  readonly id: ServableId;
  readonly incarnation: number;
  readonly outcome: BakeOutcome;
  readonly error: AspiredError | undefined;
}

class Bench {
  readonly clock = new ManualClock();
  readonly begun = this.clock.now();
  readonly answers: Answer[] = [];
  readonly versions = new Map<number, VersionMetrics>();
  looks = 0;
  readonly watcher = new BakeWatcher({
    clock: this.clock,
    metricsOf: ({ name, version }) => {
      assert.equal(name, 'm');
      if (version === 2) this.looks++;
      return this.versions.get(version)?.snapshot();
    },
    finish: (id, incarnation, outcome, error) => {
      this.answers.push({ at: this.clock.now() - this.begun, id, incarnation, outcome, error });
    },
  });

  of(version: number): VersionMetrics {
    const metrics = this.versions.get(version) ?? new VersionMetrics();
    this.versions.set(version, metrics);
    return metrics;
  }

  serve(version: number, requests: number, errors = 0, ms = 10): void {
    for (let i = 0; i < requests; i++) this.of(version).record(ms, i < errors);
  }

  start(limits: Partial<BakeSettings> = {}, previous: number | undefined = 1): void {
    const bake = settings({ maxErrorRate: 0.01, ...limits });
    const before = this.versions.get(2)?.snapshot() ?? NO_METRICS;
    this.watcher.start({ id: { name: 'm', version: 2 }, incarnation: 7, previous, settings: bake, before });
  }

  verdicts(): string[] {
    return this.answers.map(({ outcome }) => outcome.verdict);
  }
}

const v2 = { name: 'm', version: 2 };

test('a version that stays within its limits passes exactly at the end, once', () => {
  const bench = new Bench();
  bench.start();
  bench.serve(2, 1000, 5);
  bench.clock.advance(MINUTE - 1);
  assert.deepEqual(bench.answers, []);
  bench.clock.advance(10 * MINUTE);
  const outcome = { verdict: 'passed', insufficientData: false };
  assert.deepEqual(bench.answers, [{ at: MINUTE, id: v2, incarnation: 7, outcome, error: undefined }]);
  assert.deepEqual([bench.clock.timers, bench.watcher.size], [0, 0]);
});

test('it looks once in a second, or 50 times in a short bake, but not more often than every 20 ms', () => {
  for (const [forMs, looks] of [
    [10 * MINUTE, 600],
    [5000, 50],
    [200, 10],
    [7, 1],
  ] as const) {
    const bench = new Bench();
    bench.start({ forMs });
    bench.clock.advance(20 * MINUTE);
    assert.equal(bench.looks, looks, `in ${forMs} ms`);
    assert.equal(bench.answers[0]?.at, forMs);
  }
});

test('a breach ends the bake at the next look, with an error whose cause has the figures', () => {
  const bench = new Bench();
  bench.serve(1, 1000, 2, 8);
  bench.serve(2, 50, 50); // before the switch: not part of the bake
  bench.start({ maxLatencyIncrease: 3 });
  bench.clock.advance(1500);
  bench.serve(2, 200, 20, 16);
  bench.clock.advance(MINUTE);
  assert.deepEqual(bench.verdicts(), ['breached']);
  const { at, incarnation, error } = bench.answers[0] as Answer;
  assert.deepEqual([at, incarnation], [2000, 7]);
  assert.ok(coded('ERR_BAKE_FAILED', 'FAILED_PRECONDITION')(error));
  assert.deepEqual(error?.servable, v2);
  assert.match(
    error?.message ?? '',
    /^m\/2 did not pass its bake \(2000 of 60000 ms\): 20 of 200 requests failed \(10 %\)/,
  );
  assert.ok(error);
  const { latencyMs, previous, ...rest } = error.cause as BakeReport;
  assert.deepEqual(rest, {
    reason: 'error-rate',
    requests: 200,
    errors: 20,
    errorRate: 0.1,
    elapsedMs: 2000,
    limits: { forMs: MINUTE, minRequests: 100, maxErrorRate: 0.01, maxLatencyIncrease: 3 },
  });
  assert.ok(latencyMs.p50 >= 15 && latencyMs.p50 <= 17 && latencyMs.mean === 16, JSON.stringify(latencyMs));
  assert.deepEqual([previous?.version, previous?.requests, previous?.errors, previous?.latencyMs.max], [1, 1000, 2, 8]);
});

test('after an error it looks at once, but at most once in 20 ms', () => {
  const bench = new Bench();
  bench.start();
  bench.clock.advance(1100); // looked at 1000
  const failing = () => {
    bench.serve(2, 1, 1);
    bench.watcher.requestFailed(v2);
  };
  failing();
  bench.clock.advance(1);
  assert.equal(bench.looks, 2, 'the error was looked at within 1 ms');
  for (let i = 0; i < 10; i++) failing();
  assert.equal(bench.looks, 2);
  bench.clock.advance(19);
  assert.equal(bench.looks, 2);
  bench.clock.advance(1);
  assert.deepEqual([bench.looks, bench.verdicts()], [3, ['breached']]);
  failing();
  bench.watcher.requestFailed({ name: 'm', version: 1 });
  assert.equal(bench.clock.timers, 0, 'nothing is watched any more');
});

test('a look in a hurry does not end the looks that come in time', () => {
  const bench = new Bench();
  bench.start();
  bench.serve(2, 500, 1);
  bench.watcher.requestFailed(v2);
  bench.clock.advance(MINUTE);
  assert.deepEqual([bench.verdicts(), bench.answers[0]?.at], [['passed'], MINUTE]);
});

test('stop() and close() end a bake without an answer', () => {
  const bench = new Bench();
  bench.start();
  bench.watcher.stop(v2);
  bench.watcher.stop(v2);
  bench.start();
  bench.watcher.start({
    id: { name: 'm', version: 3 },
    incarnation: 1,
    previous: 2,
    settings: settings(),
    before: NO_METRICS,
  });
  assert.equal(bench.clock.timers, 2);
  bench.watcher.close();
  assert.deepEqual([bench.clock.timers, bench.watcher.size], [0, 0]);
  bench.clock.advance(MINUTE);
  assert.deepEqual(bench.answers, []);
});

test('a second start() takes the place of the first, and finish() may start the next', () => {
  const bench = new Bench();
  bench.start();
  bench.clock.advance(MINUTE / 2);
  bench.start();
  bench.clock.advance(MINUTE / 2);
  assert.deepEqual(bench.answers, []);
  bench.clock.advance(MINUTE / 2);
  assert.deepEqual(bench.verdicts(), ['passed']);

  const again: number[] = [];
  const clock = new ManualClock();
  const watcher = new BakeWatcher({
    clock,
    metricsOf: () => undefined,
    finish: (id, incarnation) => {
      again.push(incarnation);
      if (incarnation < 3) begin(incarnation + 1, id);
    },
  });
  const begin = (incarnation: number, id: ServableId): void =>
    watcher.start({ id, incarnation, previous: undefined, settings: settings(), before: NO_METRICS });
  begin(1, v2);
  clock.advance(5 * MINUTE);
  assert.deepEqual([again, watcher.size], [[1, 2, 3], 0]);
});

test('the previous version is compared over the same time when it still serves, otherwise over its whole life', () => {
  // It was fast all its life, and is slow now, as everything is: the new version is not to blame.
  const canary = new Bench();
  canary.serve(1, 10_000, 0, 10);
  canary.start({ maxErrorRate: undefined, maxLatencyIncrease: 0.5 });
  canary.serve(1, 500, 0, 100);
  canary.serve(2, 500, 0, 100);
  canary.clock.advance(MINUTE);
  assert.deepEqual(canary.verdicts(), ['passed']);

  const switched = new Bench();
  switched.serve(1, 10_000, 0, 10);
  switched.start({ maxErrorRate: undefined, maxLatencyIncrease: 0.5 });
  switched.serve(1, 99, 0, 100);
  switched.serve(2, 500, 0, 100);
  switched.clock.advance(MINUTE);
  assert.deepEqual(switched.verdicts(), ['breached']);
});

test('a previous version that is gone is remembered as it was when the bake began', () => {
  const bench = new Bench();
  bench.serve(1, 1000, 0, 10);
  bench.start({ maxErrorRate: undefined, maxLatencyIncrease: 0.5 });
  bench.versions.delete(1);
  bench.serve(2, 500, 0, 100);
  bench.clock.advance(1000);
  assert.deepEqual(bench.verdicts(), ['breached']);
  assert.equal(bench.answers[0]?.outcome.verdict === 'breached' && bench.answers[0].outcome.reason, 'latency');
});

test('a version that never got a request passes, and says that nothing was seen', () => {
  const bench = new Bench();
  bench.start({}, undefined);
  bench.clock.advance(MINUTE);
  assert.deepEqual(bench.answers[0]?.outcome, { verdict: 'passed', insufficientData: true });
});

test('without a clock of its own the watcher goes by the time of the system', async () => {
  const finished = new Promise<BakeOutcome>((resolve) => {
    const watcher = new BakeWatcher({ metricsOf: () => counts(1, 1), finish: (_id, _n, outcome) => resolve(outcome) });
    const limits = settings({ forMs: 5 });
    watcher.start({ id: v2, incarnation: 1, previous: undefined, settings: limits, before: NO_METRICS });
  });
  const alive = setInterval(() => {}, 1000); // the timers of the watcher do not keep the process
  assert.deepEqual(await finished, { verdict: 'passed', insufficientData: true });
  clearInterval(alive);
});
