// No promotion kills the process: a storm of them, under a real limit that all versions together would exceed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defaultModelsDirectory, ensureLargeModel } from '../../scripts/models/ensure-models.js';
import { findLimiter, type Limiter } from '../support/memory-limit.js';
import type { StormReport, StormServable, StormSpec } from './fixtures/memory-storm.js';

const program = fileURLToPath(new URL('./fixtures/memory-storm.js', import.meta.url));
const PROMOTIONS = 200;
const WARMUP = 80;
const DEADLINE_MS = 100_000;
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

async function run(by: Limiter, bytes: number, spec: StormSpec): Promise<{ report: StormReport; note: string }> {
  // A young generation that grew in a burst stays, and is not what is looked for.
  const command = [process.execPath, '--expose-gc', '--max-semi-space-size=1', program, JSON.stringify(spec)];
  const { code, signal, stdout, stderr, oomKills, note } = await by.run(bytes, command, DEADLINE_MS);
  assert.deepEqual({ code, signal, oomKills: oomKills ?? 0 }, { code: 0, signal: null, oomKills: 0 }, note + stderr);
  return { report: JSON.parse(stdout) as StormReport, note };
}

test(`a storm of ${PROMOTIONS} promotions under a memory limit`, {
  skip: typeof limiter === 'string' && limiter,
}, async (t) => {
  if (typeof limiter === 'string') return;
  const of = await servables();
  const spec: StormSpec = { warmup: WARMUP, promotions: PROMOTIONS, seed: 7, servables: of };
  const { report: idle } = await run(limiter, 2 ** 40, { ...spec, warmup: 6, promotions: 0 });
  const base = limiter.counts === 'rss' ? idle.baselineRss + SLACK : idle.baselineAddressSpace + ADDRESS_SLACK;
  const { report: seen, note } = await run(limiter, base + ROOM, spec);
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
