// Programs for child processes: each brings the engine into one state and ends there in one way. Not a test.
//   node onnx-child.js SCENARIO MODELS ROUND
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type OnnxServable, onnxLoader } from '#lib/onnx/index.js';
import { modelPath } from '../../scripts/models/ensure-models.js';

interface Job {
  readonly scenario: string;
  readonly models: string;
  readonly round: number;
}

const job: Job = isMainThread
  ? { scenario: process.argv[2] ?? '', models: process.argv[3] ?? '', round: Number(process.argv[4]) }
  : (workerData as Job);
const context = { id: { name: 'child', version: 1 }, signal: new AbortController().signal, attempt: 1 };

function load(name: string): Promise<OnnxServable> {
  return Promise.resolve(onnxLoader(modelPath(job.models, name)).load(context));
}

/** A pause that is another one in each round, from nothing to `most` milliseconds. */
function pause(most: number): Promise<void> {
  const share = ((job.round * 7919) % 101) / 100;
  return sleep(share * most);
}

/** Runs that never end to begin again: copied and borrowed ones. */
function keepRunning(servable: OnnxServable, width: number): void {
  const x = { type: 'float32', data: new Float32Array(64 * width).fill(0.01), dims: [64, width] };
  const again = (borrow: boolean): void => {
    servable.run({ x }, { borrow }).then(
      () => again(borrow),
      () => {},
    );
  };
  for (let i = 0; i < 4; i++) again(i % 2 === 0);
}

async function begin(state: string): Promise<void> {
  if (state === 'loading') {
    load('large').catch(() => {});
    await pause(700);
  } else if (state === 'first-load') {
    load('half_plus_two').catch(() => {});
    await pause(60);
  } else if (state === 'running') {
    keepRunning(await load('mlp_4x256'), 256);
    await pause(50);
  } else if (state === 'long-run') {
    keepRunning(await load('slow'), 512);
    await pause(50);
  } else if (state === 'unloading') {
    const loader = onnxLoader(modelPath(job.models, 'slow'));
    const servable = await loader.load(context);
    keepRunning(servable, 512);
    await pause(30);
    void loader.unload?.(servable);
  } else if (state === 'forgotten') {
    for (let i = 0; i < 20; i++) await load('half_plus_two');
  }
}

async function inWorkers(state: string, end: string): Promise<void> {
  // One where runs leave the load of another model no time on two cores.
  const workers = (state === 'long-run' ? [0] : [0, 1]).map(
    (i) =>
      new Worker(new URL(import.meta.url), { workerData: { ...job, scenario: `${state}/stay`, round: job.round + i } }),
  );
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
  if (end === 'exit') process.exit(0);
  await Promise.all(workers.map((worker) => worker.terminate()));
}

async function main(): Promise<void> {
  const [state = '', end = '', where = ''] = job.scenario.split('/');
  if (where === 'worker') {
    await inWorkers(state, end);
    return;
  }
  await begin(state);
  if (end === 'exit') process.exit(0);
  if (end === 'stay') {
    parentPort?.postMessage('ready');
    setInterval(() => {}, 1000);
  }
}

// No top-level await: see fixtures/stage-worker.ts; this module runs in workers, too.
void main();
