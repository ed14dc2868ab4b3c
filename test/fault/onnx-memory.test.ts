// A large model comes and goes: the event loop goes on, and the memory goes back to the system.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { defaultModelsDirectory, ensureModels } from '../../scripts/models/ensure-models.js';

const program = fileURLToPath(new URL('./onnx-measure.js', import.meta.url));
const models = defaultModelsDirectory();
const DEADLINE_MS = 60_000;
/** What one standstill may be of the whole load. A load on the event loop is one standstill; the benchmark has the promise. */
const LONGEST_GAP_OF_LOAD = 0.2;

interface Measured {
  readonly longestGapMs: number;
  readonly runs: number;
  readonly loadMs: number;
  readonly beforeMb: number;
  readonly loadedMb: number;
  readonly afterMb: number;
  readonly modelMb: number;
}

async function measure(...args: readonly string[]): Promise<Measured> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program, models, ...args], {
    timeout: DEADLINE_MS,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(stdout) as Measured;
}

before(() => ensureModels({ out: models, only: ['large', 'half_plus_two'] }));

describe('a large model', () => {
  it('loads and unloads beside a small one that is in use, and leaves no memory behind', async () => {
    const seen = await measure();
    const note = JSON.stringify(seen);
    assert.ok(seen.loadedMb - seen.beforeMb > 0.9 * seen.modelMb, `the model is not in memory: ${note}`);
    assert.ok(seen.longestGapMs < LONGEST_GAP_OF_LOAD * seen.loadMs, `the event loop stood still: ${note}`);
    assert.ok(seen.runs > seen.loadMs / 20, `the small model hardly ran: ${note}`);
    assert.ok(seen.afterMb - seen.beforeMb < 0.05 * seen.modelMb, `memory did not come back: ${note}`);
  });

  it('whose load fails at its end leaves no memory behind', async () => {
    const seen = await measure('fail');
    assert.ok(seen.loadMs > 100, `it failed too early to tell: ${JSON.stringify(seen)}`);
    assert.ok(seen.afterMb - seen.beforeMb < 0.05 * seen.modelMb, `memory did not come back: ${JSON.stringify(seen)}`);
  });
});
