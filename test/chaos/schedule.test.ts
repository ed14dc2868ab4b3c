import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { answerMsOf, CONDUCT, conductOf, isPoisoned, versionOf } from './fleet.js';
import { Recorder, readEvents } from './history/recorder.js';
import { parseOptions } from './options.js';
import { FAULT_KINDS, type Fault, ROUND, scheduleOf } from './seeded/schedule.js';

test('a seed gives the same schedule, another one another', () => {
  assert.deepEqual(scheduleOf(7), scheduleOf(7));
  assert.notDeepEqual(scheduleOf(7), scheduleOf(8));
});

test('each round of seeds has every kind of fault', () => {
  for (const first of [1, 1 + ROUND, 1 + 20 * ROUND]) {
    const seeds = Array.from({ length: ROUND }, (_, index) => first + index);
    const kinds = new Set(seeds.flatMap((seed) => scheduleOf(seed).faults.map(({ kind }) => kind)));
    assert.deepEqual([...kinds].sort(), [...FAULT_KINDS].sort(), `seeds from ${first}`);
  }
});

test('each kind of fault comes in all of its variants, and Redis is away for long now and then', () => {
  const faults = Array.from({ length: 200 }, (_, seed) => scheduleOf(seed + 1).faults).flat();
  const seen = (matches: (fault: Fault) => boolean): number => faults.filter(matches).length;
  for (const exported of [true, false]) {
    for (const aborted of [true, false]) {
      assert.ok(seen((fault) => fault.kind === 'F11' && fault.exported === exported && fault.aborted === aborted) > 0);
    }
  }
  for (const variant of [true, false]) assert.ok(seen(({ kind, variant: is }) => kind === 'F17' && is === variant) > 0);
  for (const conduct of Object.keys(CONDUCT)) {
    if (conduct !== 'good') assert.ok(seen((fault) => fault.kind === 'F7' && fault.conduct === conduct) > 0, conduct);
  }
  const away = seen(({ kind }) => kind === 'F8');
  const long = seen(({ kind, forMs }) => kind === 'F8' && forMs > 5_000);
  assert.ok(long > away / 10 && long < away / 2, `${long} of ${away}`);
});

test('what is late: at once, or after a while', () => {
  assert.equal(answerMsOf('good', 10_000), 0);
  assert.equal(answerMsOf('lateAnswers', 0), answerMsOf('leak', 10_000));
  assert.equal(answerMsOf('leak', 500), 0);
  assert.ok(answerMsOf('leak', 1_000) < answerMsOf('leak', 1_200));
});

test('the number of a version says what it does', () => {
  assert.equal(conductOf(versionOf(1, 'loadError')), 'loadError');
  assert.equal(isPoisoned(versionOf(3, 'crash')), true);
  assert.equal(isPoisoned(versionOf(3, 'slow')), false);
});

test('what a process wrote before it was killed is read, in order of time, and half a line is not', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aspired-chaos-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const a = new Recorder(folder, 'a');
  const b = new Recorder(folder, 'b');
  t.after(() => a.close());
  t.after(() => b.close());
  a.note({ e: 'quiet' }, 2);
  b.note({ e: 'down', host: 'h', why: '' }, 1);
  writeFileSync(join(folder, 'c.jsonl'), '{"e":"quiet","t":3,"by":"c"}\n{"e":"qui');
  assert.deepEqual(
    readEvents(folder).map(({ t: at, by }) => [at, by]),
    [
      [1, 'b'],
      [2, 'a'],
      [3, 'c'],
    ],
  );
});

test('options: what is wrong is told', () => {
  assert.deepEqual(parseOptions(['--seed', '3', '--only', 'F1,F10', '--mutant', 'cas']), {
    ...{ seeds: 4, seed: 3, minutes: Number.POSITIVE_INFINITY, only: ['F1', 'F10'], mutant: 'cas', keep: false },
  });
  assert.equal(parseOptions(['--minutes', '5']).seeds, 1e6);
  assert.throws(() => parseOptions(['--seeds', '0']), /--seeds takes a number above 0/);
  assert.throws(() => parseOptions(['--only', 'F99']), /--only takes F1/);
  assert.throws(() => parseOptions(['--mutant', 'x']), /--mutant takes cas/);
  assert.throws(() => parseOptions(['--sed', '1']), /Unknown option/);
});
