import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { conductOf, isPoisoned, versionOf } from './fleet.js';
import { Recorder, readEvents } from './history/recorder.js';
import { parseOptions } from './options.js';
import { FAULT_KINDS, ROUND, scheduleOf } from './seeded/schedule.js';

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
