// No promotion kills the process: a storm of them, under a real limit that all versions together would exceed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defaultModelsDirectory, ensureLargeModel } from '../../scripts/models/ensure-models.js';
import type { ChildOptions } from '../support/children.js';
import { deadline } from '../support/deadline.js';
import { findLimiter, type Limiter } from '../support/memory-limit.js';
import { STEP_MS, Steps } from '../support/steps.js';
import type { StormReport, StormServable, StormSpec } from './fixtures/memory-storm.js';

const program = fileURLToPath(new URL('./fixtures/memory-storm.js', import.meta.url));
const PROMOTIONS = 200;
const WARMUP = 80;
const STEP = 40;
const MiB = 2 ** 20;
/**
 * Room for the versions: one of each (1,105 MB by their estimates) and the largest that waits once more (240 MB). Two of
 * each would be twice as much, and two of 'large' never fit.
 */
const ROOM = 1_400e6;
/** Heaps of JavaScript, requests in flight. */
const SLACK = 32 * MiB;
/** Threads, and the heaps that the C library reserves for them: they count as address space only. */
const ADDRESS_SLACK = 512 * MiB;

const limiter = findLimiter();

async function servables(): Promise<StormServable[]> {
  const models = defaultModelsDirectory();
  const of = async (name: string, megabytes: number, model: StormServable['model'], more: Partial<StormServable>) => ({
    name,
    model,
    path: await ensureLargeModel(models, megabytes, model),
    ...more,
  });
  return [
    await of('frees-own', 100, 'large_lookup', { options: { onInsufficientMemory: 'resource-preserving' } }),
    await of('waits', 100, 'large', {}),
    await of('dropped', 100, 'large_lookup', { drops: true }),
    await of('standby', 100, 'large_lookup', { options: { standby: { versions: 1 } } }),
    await of('middle', 200, 'large_lookup', { options: { standby: { versions: 2, for: '2s' } }, drops: true }),
    await of('large', 300, 'large_lookup', { options: { onInsufficientMemory: 'resource-preserving' } }),
  ];
}

interface Stormed {
  readonly report: StormReport;
  readonly note: string;
}

async function run(by: Limiter, bytes: number, spec: StormSpec, options: ChildOptions): Promise<Stormed> {
  // A young generation that grew in a burst stays, and is not what is looked for.
  const command = [process.execPath, '--expose-gc', '--max-semi-space-size=1', program, JSON.stringify(spec)];
  const { code, signal, stdout, stderr, oomKills, note } = await by.run(bytes, command, options);
  assert.deepEqual({ code, signal, oomKills: oomKills ?? 0 }, { code: 0, signal: null, oomKills: 0 }, note + stderr);
  return { report: JSON.parse(stdout.split('\n').at(-1) ?? '') as StormReport, note };
}

async function stormed({ heard, deadlineMs }: Steps<Stormed>): Promise<Stormed> {
  assert.ok(typeof limiter !== 'string');
  const spec: StormSpec = { warmup: WARMUP, promotions: PROMOTIONS, step: STEP, seed: 7, servables: await servables() };
  const { report: idle } = await run(limiter, 2 ** 40, { ...spec, warmup: 6, promotions: 0 }, { deadlineMs: STEP_MS });
  const base = limiter.counts === 'rss' ? idle.baselineRss + SLACK : idle.baselineAddressSpace + ADDRESS_SLACK;
  return run(limiter, base + ROOM, spec, { deadlineMs, heard });
}

const skip = typeof limiter === 'string' && limiter;
const storm = new Steps(WARMUP + PROMOTIONS, STEP, stormed);
storm.declare(`a storm of ${PROMOTIONS} promotions under a memory limit, after ${WARMUP} to warm up`, skip);

test(`a storm of ${PROMOTIONS} promotions under a memory limit`, { skip }, async (t) => {
  const { report: seen, note } = await deadline(storm.run(), 'what came of it', STEP_MS);
  t.diagnostic(`${note}: ${JSON.stringify(seen)}`);

  assert.deepEqual(seen.failures, [], 'requests failed');
  assert.deepEqual(seen.faults, [], 'loads failed');
  assert.deepEqual(seen.silent, [], 'a gap did not end');
  for (const [name, answered] of Object.entries(seen.answered)) assert.ok(answered > 0, `${name} was never asked`);
  assert.ok(seen.highestReserved <= seen.limit, `${seen.highestReserved} reserved under a limit of ${seen.limit}`);
  assert.ok(seen.waits > 0, 'nothing ever waited: the limit was no limit');
  assert.equal(seen.leftReserved, 0);
  assert.equal(seen.leftMeasured, 0);
  const left = (seen.endRss - seen.baselineRss) / seen.baselineRss;
  assert.ok(left < 0.05, `${Math.round(100 * left)} % above the baseline: ${JSON.stringify(seen)}`);
});
