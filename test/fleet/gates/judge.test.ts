import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '#lib/fleet/gates/index.js';
import type { Gate, GateInput, GateResult, LoadGate, TrafficGate } from '#lib/fleet/gates/types.js';
import type { MetricsSnapshot } from '#lib/manager/metrics.js';
import { Random } from '../../../scripts/models/random.js';
import { counted, Traffic } from './traffic.js';

const zones = (of: Record<string, MetricsSnapshot>): Map<string, MetricsSnapshot> => new Map(Object.entries(of));
const NOTHING: GateInput = { canary: new Map(), control: new Map(), loadErrors: [] };
const traffic = (input: Partial<GateInput>, gate: Partial<TrafficGate> = {}): GateResult =>
  judge({ kind: 'traffic', ...gate }, { ...NOTHING, ...input });
const load = (loadErrors: GateInput['loadErrors'], gate: Partial<LoadGate> = {}): GateResult =>
  judge({ kind: 'load', ...gate }, { ...NOTHING, loadErrors });
const failed = (host: string, permanent = false) => ({ host, message: 'no such\nfile', permanent });

test('load: no failure passes, one more than allowed fails with its host and cause on one line', () => {
  assert.equal(load([]).verdict, 'pass');
  const one = load([failed('h1')]);
  assert.equal(one.verdict, 'fail');
  assert.equal(one.message, 'The version failed to load on 1 host, at most 0 may: h1 (no such file).');
  assert.deepEqual(one.figures, { errors: 1, permanentErrors: 0, maxErrors: 0 });
  assert.equal(load([failed('h1'), failed('h2')], { maxErrors: 2 }).verdict, 'pass');
  assert.equal(load([failed('h1'), failed('h2'), failed('h3')], { maxErrors: 2 }).verdict, 'fail');
});

test('load: a failure for good fails, however many are allowed', () => {
  const result = load([failed('h1'), failed('h2', true)], { maxErrors: 100 });
  assert.equal(result.verdict, 'fail');
  assert.match(result.message, /on 1 host for good, which no retry will mend: h2 \(/);
});

test('load: of many hosts some are named', () => {
  const many = Array.from({ length: 50 }, (_, i) => failed(`h${i}`));
  assert.match(load(many).message, /on 50 hosts.*h0 .*h2 \(no such file\) and 47 more\.$/);
});

test('traffic: none is insufficient, wherever it is missing', () => {
  assert.equal(traffic({}).verdict, 'insufficient-data');
  assert.equal(
    traffic({ canary: zones({ a: counted(0) }), control: zones({ a: counted(0) }) }).verdict,
    'insufficient-data',
  );
  assert.equal(traffic({ control: zones({ a: counted(10_000) }) }).verdict, 'insufficient-data');
  const alone = traffic({ canary: zones({ a: counted(10_000) }) });
  assert.equal(alone.verdict, 'insufficient-data');
  assert.match(alone.message, /cannot be judged without a control group/);
  const elsewhere = traffic({ canary: zones({ a: counted(10_000) }), control: zones({ b: counted(10_000) }) });
  assert.equal(elsewhere.verdict, 'insufficient-data');
});

test('traffic: as good as the control group passes, with the figures', () => {
  const result = traffic({
    canary: zones({ a: counted(3_000, 12), b: counted(2_000, 8) }),
    control: zones({ a: counted(9_000, 36), b: counted(30_000, 120), c: counted(5_000, 5_000) }),
  });
  assert.equal(result.verdict, 'pass', result.message);
  assert.match(
    result.message,
    /^20 of 5,000 requests failed \(0\.4 %, 0\.4 % of 39,000 in the control group; at most 1 % of all requests more may\); p99 is /,
  );
  const { figures = {} } = result;
  assert.equal(figures.requests, 5_000);
  assert.equal(figures.controlRequests, 39_000);
  assert.ok(Math.abs((figures.controlErrorRate as number) - 0.004) < 1e-12);
  assert.equal(figures.latencyRatio, 1);
  assert.ok(Object.values(figures).every(Number.isFinite));
});

test('traffic: fewer requests than asked for never pass, however good', () => {
  const input = { canary: zones({ a: counted(5_000) }), control: zones({ a: counted(50_000) }) };
  assert.equal(traffic(input).verdict, 'pass');
  const result = traffic(input, { minRequests: 5_001 });
  assert.equal(result.verdict, 'insufficient-data');
  assert.match(result.message, /5,000 requests, 5,001 are needed/);
  const few = traffic({ canary: zones({ a: counted(5_000) }), control: zones({ a: counted(99) }) });
  assert.match(few.message, /There are 99 requests to compare with, 100 are needed/);
});

test('traffic: enough requests that prove nothing are insufficient, and say of what', () => {
  const result = traffic({ canary: zones({ a: counted(200) }), control: zones({ a: counted(200) }) });
  assert.equal(result.verdict, 'insufficient-data');
  assert.match(result.message, /too few to be sure of errors and latency\.$/);
});

test('traffic: more errors than the margin fail, also before there are enough requests to pass', () => {
  const result = traffic({ canary: zones({ a: counted(60, 30) }), control: zones({ a: counted(5_000, 5) }) });
  assert.equal(result.verdict, 'fail');
  assert.match(result.message, /^30 of 60 requests failed \(50 %, 0\.1 % of 5,000/);
});

test('traffic: a version that fails no more than the one before passes, however bad that is', () => {
  const bad = { canary: zones({ a: counted(60_000, 6_000) }), control: zones({ a: counted(60_000, 6_000) }) };
  assert.equal(traffic(bad).verdict, 'pass');
});

test('traffic: slower than the factor fails, and names both p99', () => {
  const result = traffic({
    canary: zones({ a: counted(2_000, 0, 60) }),
    control: zones({ a: counted(20_000, 0, 20) }),
  });
  assert.equal(result.verdict, 'fail');
  assert.match(result.message, /^p99 is 60 ms, 20 ms in the control group \(at most 1\.5 times that is allowed\)\.$/);
  const allowed = traffic(
    { canary: zones({ a: counted(2_000, 0, 60) }), control: zones({ a: counted(20_000, 0, 20) }) },
    { maxLatencyIncrease: 4 },
  );
  assert.equal(allowed.verdict, 'pass');
});

test('traffic: one bad zone keeps the others from passing before it is certain', () => {
  const good = counted(20_000, 20);
  const result = traffic({
    canary: zones({ a: good, b: good, c: counted(100, 6) }),
    control: zones({ a: good, b: good, c: counted(1_000, 1) }),
  });
  assert.equal(result.verdict, 'insufficient-data');
  assert.match(result.message, /looks worse in zone c, which is not certain yet/);
});

test('traffic: where no control group is left, the old figures of the same hosts are compared with', () => {
  const last = { canary: zones({ a: counted(5_000, 150) }), before: zones({ a: counted(50_000, 1_500) }) };
  assert.equal(traffic(last, { maxErrorRateIncrease: 0.02 }).verdict, 'pass');
  // A few stragglers are no control group.
  const straggler = { ...last, control: zones({ a: counted(10) }) };
  assert.equal(traffic(straggler, { maxErrorRateIncrease: 0.02 }).figures?.controlRequests, 50_000);
  // A real one is, also when it has less.
  const concurrent = { ...last, control: zones({ a: counted(2_000, 60) }) };
  assert.equal(traffic(concurrent).figures?.controlRequests, 2_000);
});

test('traffic: the absolute rule of a zone that nothing can be compared in', () => {
  const other = counted(20_000, 20);
  const input = (errors: number) => ({
    canary: zones({ a: other, b: counted(5_000, errors) }),
    control: zones({ a: other }),
  });
  assert.equal(traffic(input(5)).verdict, 'pass');
  assert.equal(traffic(input(200)).verdict, 'fail');
});

test('traffic: a first version passes by its errors alone, and not by few requests', () => {
  const first = (requests: number, errors: number) =>
    traffic({ canary: zones({ a: counted(requests, errors) }), first: true });
  const passed = first(5_000, 5);
  assert.equal(passed.verdict, 'pass');
  assert.match(passed.message, /at most 1 % may, for there is no control group\); p99 .* no earlier version/);
  assert.equal(first(150, 0).verdict, 'insufficient-data');
  assert.equal(first(5_000, 250).verdict, 'fail');
});

test('traffic: counters that make no sense are no data', () => {
  const sound = counted(5_000, 5);
  for (const broken of [
    { ...sound, errors: 5_001 },
    { ...sound, requests: Number.NaN },
    { ...sound, errors: Number.NaN },
    { ...sound, requests: Number.POSITIVE_INFINITY },
    { ...sound, counts: [Number.NaN] },
    { ...sound, counts: [-1] },
  ]) {
    for (const input of [
      { canary: zones({ a: broken }), control: zones({ a: sound }) },
      { canary: zones({ a: sound }), control: zones({ a: broken }) },
      { canary: zones({ a: sound }), control: zones({ a: sound }), before: zones({ a: broken }) },
    ]) {
      const result = traffic(input);
      assert.equal(result.verdict, 'insufficient-data', JSON.stringify(broken).slice(0, 80));
      assert.match(result.message, /zone a makes no sense/);
    }
  }
});

test('traffic: a version like the control group, looked at after every batch, fails never and passes in the end', (t) => {
  const random = new Random(11);
  const passedAfter: number[] = [];
  for (let run = 0; run < 20; run++) {
    const current = [new Traffic(random, 0.005), new Traffic(random, 0.01, 40)];
    const control = [new Traffic(random, 0.005), new Traffic(random, 0.01, 40)];
    for (let sent = 400; ; sent += 400) {
      for (const one of current) one.send(200);
      for (const one of control) one.send(600);
      const of = ([a, b]: Traffic[]) => zones({ a: (a as Traffic).snapshot(), b: (b as Traffic).snapshot() });
      const { verdict, message } = traffic({ canary: of(current), control: of(control) });
      assert.notEqual(verdict, 'fail', message);
      if (verdict === 'pass') {
        passedAfter.push(sent);
        break;
      }
      assert.ok(sent < 40_000, message);
    }
  }
  passedAfter.sort((a, b) => a - b);
  t.diagnostic(`requests until it passed: median ${passedAfter[10]}, most ${passedAfter.at(-1)}`);
});

test('a webhook is not judged here', () => {
  const gate = { kind: 'webhook', url: 'http://127.0.0.1/' } satisfies Gate;
  assert.throws(() => judge(gate as never, NOTHING), { code: 'ERR_INVALID_ARGUMENT' });
});
