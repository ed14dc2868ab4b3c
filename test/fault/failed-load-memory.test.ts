// A load that fails gives back all it took: to the system, and in the ledger.
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { defaultModelsDirectory, ensureLargeModel } from '../../scripts/models/ensure-models.js';
import { runFixture } from './fixtures/children.js';
import type { FailedLoads, Way } from './fixtures/failed-load.js';

const MOST_LEFT = 0.05;
const MOST_LEFT_BYTES = 16e6;
/** Loads have a low priority: beside ten processes that only compute one took 30 times as long. */
const DEADLINE_MS = 180_000;
/**
 * V8 compiles on up to four threads of its own, and each keeps 1.2 MB of heap once it has: over the first eight rounds that
 * came to 5 MB, whatever was loaded (measured by mapping; without these threads 0.5 MB are left).
 */
const NODE_OPTIONS = ['--expose-gc', '--max-semi-space-size=1', '--single-threaded'];

let folder: string;
let model: string;
let broken: string;
let bytes: number;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'aspired-failed-'));
  model = await ensureLargeModel(defaultModelsDirectory(), 200, 'large_lookup');
  broken = join(folder, 'model.onnx');
  bytes = (await stat(model)).size;
  await copyFile(model, broken);
  await truncate(broken, Math.floor(bytes * 0.9));
});
after(() => rm(folder, { recursive: true, force: true }));

async function failsWith(way: Way, code: string, share: number): Promise<void> {
  const { stdout, stderr, ...ended } = await runFixture('./failed-load.js', [way, model, broken], {
    node: NODE_OPTIONS,
    deadlineMs: DEADLINE_MS,
  });
  assert.deepEqual(ended, { code: 0, signal: null }, stderr);
  const seen = JSON.parse(stdout) as FailedLoads;
  assert.deepEqual(seen.codes, [code, code, code]);
  assert.ok(seen.highestReserved > bytes, `${stdout}: nothing was reserved for it`);
  assert.ok(seen.highestRss - seen.baselineRss > share * bytes, `${stdout}: it failed before it took any memory`);
  assert.equal(seen.reserved, 0);
  assert.equal(seen.measured, 0);
  const left = seen.endRss - seen.baselineRss;
  assert.ok(left < MOST_LEFT_BYTES && left < MOST_LEFT * seen.baselineRss, `${stdout}: ${left} bytes are left`);
}

describe('no memory is left of a load', () => {
  it('whose warm-up fails', () => failsWith('warm-up', 'ERR_WARMUP_FAILED', 0.9));
  it('that validate refuses', () => failsWith('validate', 'ERR_VALIDATION_FAILED', 0.9));
  it('of a truncated model', () => failsWith('truncated', 'ERR_MODEL_INVALID', 0.1));
  it('that is cancelled', () => failsWith('cancelled', '', 0.1));
  it('that takes too long', () => failsWith('timeout', 'ERR_LOAD_TIMEOUT', 0.1));
});
