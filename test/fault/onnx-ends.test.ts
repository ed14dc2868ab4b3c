// A process or a worker may end while models load, run and unload: the process neither crashes nor hangs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defaultModelsDirectory, ensureModels } from '../../scripts/models/ensure-models.js';

const program = fileURLToPath(new URL('./onnx-child.js', import.meta.url));
const models = defaultModelsDirectory();
const ROUNDS = Number(process.env.ASPIRED_FAULT_ROUNDS ?? 4);
/** Far above what an exit may take (2 s of waiting, after a load that cannot be interrupted for as long). */
const DEADLINE_MS = 60_000;

interface End {
  readonly code: number | string | null;
  readonly signal: string | null;
  readonly stderr: string;
  readonly ms: number;
}

function runChild(scenario: string, round: number): Promise<End> {
  const started = performance.now();
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, scenario, models, String(round)],
      { timeout: DEADLINE_MS, killSignal: 'SIGKILL' },
      (error, _, stderr) => {
        const code = error ? (error.code ?? null) : 0;
        resolve({ code, signal: error?.signal ?? null, stderr, ms: performance.now() - started });
      },
    );
  });
}

async function endsWell(scenario: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 2) {
    // Two at a time: the machine is busier than the program expects.
    for (const end of await Promise.all([runChild(scenario, round), runChild(scenario, round + 1)])) {
      assert.deepEqual(
        { code: end.code, signal: end.signal },
        { code: 0, signal: null },
        `round ${round}: ${end.stderr}`,
      );
    }
  }
}

before(() => ensureModels({ out: models, only: ['large', 'half_plus_two', 'mlp_4x256', 'slow'] }));

describe('process.exit()', () => {
  for (const state of ['first-load', 'loading', 'running', 'long-run', 'unloading', 'forgotten']) {
    it(`while ${state} ends the process with its own exit code`, () => endsWell(`${state}/exit`));
  }
});

describe('the end of the event loop', () => {
  it('waits for a load that somebody waits for, and for nothing once it is over', () => endsWell('forgotten/return'));
  it('waits for a load that nobody waits for any more', () => endsWell('loading/return'));
});

describe('worker.terminate()', () => {
  for (const state of ['first-load', 'loading', 'running', 'long-run', 'unloading', 'forgotten']) {
    it(`while ${state} ends the worker and nothing else`, () => endsWell(`${state}/terminate/worker`));
  }
});

describe('process.exit() of a process whose workers', () => {
  for (const state of ['first-load', 'loading', 'running', 'unloading']) {
    it(`are ${state} ends it with its own exit code`, () => endsWell(`${state}/exit/worker`));
  }
});
