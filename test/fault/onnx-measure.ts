// A program for a child process: loads the large model beside traffic on a small one and prints what it measured, as
// JSON: the longest gap between two turns of a 1 ms timer, the runs of the small model during the load, and the resident
// memory before, with and after the large model, in MB. Not a test.
//   node onnx-measure.js MODELS [fail]
import { stat } from 'node:fs/promises';
import { type OnnxServable, onnxLoader } from '#lib/onnx/index.js';
import { modelPath } from '../../scripts/models/ensure-models.js';

const models = process.argv[2] ?? '';
const context = { id: { name: 'child', version: 1 }, signal: new AbortController().signal, attempt: 1 };
const x = { type: 'float32', data: Float32Array.of(1), dims: [1] } as const;

function rssMb(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss() / 1e6;
}

interface Watch {
  stop(): { longestGapMs: number; runs: number };
}

/** Runs the small model and watches the event loop until stopped. */
function watch(small: OnnxServable): Watch {
  let longestGapMs = 0;
  let runs = 0;
  let on = true;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longestGapMs = Math.max(longestGapMs, now - last);
    last = now;
  }, 1);
  const again = (): void => {
    if (on) void small.run({ x }).then(() => ++runs && setImmediate(again));
  };
  again();
  return {
    stop() {
      on = false;
      clearInterval(timer);
      return { longestGapMs, runs };
    },
  };
}

async function loadLarge(path: string): Promise<void> {
  // The failing load reads the whole model before it fails.
  const failing = [{ nothing: x }];
  const loader = onnxLoader(path, process.argv[3] === 'fail' ? { warmupInputs: failing } : {});
  try {
    const large = await loader.load(context);
    loadedMb = rssMb();
    await loader.unload?.(large);
  } catch (error) {
    if (process.argv[3] !== 'fail') throw error;
  }
}

const small = await onnxLoader(modelPath(models, 'half_plus_two')).load(context);
// Until the heap of JavaScript has the size that this traffic makes it have.
for (let i = 0; i < 30_000; i++) await small.run({ x });
const path = modelPath(models, 'large');
let loadedMb = 0;
const beforeMb = rssMb();
const watching = watch(small);
const started = performance.now();
await loadLarge(path);
const loadMs = performance.now() - started;
const seen = watching.stop();
const modelMb = (await stat(path)).size / 1e6;
process.stdout.write(JSON.stringify({ ...seen, loadMs, beforeMb, loadedMb, afterMb: rssMb(), modelMb }));
