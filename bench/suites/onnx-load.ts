import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager } from 'aspired';
import { type OnnxServable, onnxLoader } from '#lib/onnx/index.js';
import { modelPath } from '../../scripts/models/ensure-models.js';
import { LoopGaps } from '../../scripts/start/loop-gaps.js';
import { createSession, feedsOf, SessionWorker } from '../compare/onnxruntime.js';
import { Latencies, settleMemory } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';

/** Requests per second on the small model, at times fixed beforehand. */
const RATE = 500;

const figures: Figure[] = [
  { key: 'load', label: 'load time of the large model', unit: 'ms', better: 'lower' },
  { key: 'gap', label: 'longest timer gap during the load', unit: 'ms', better: 'lower', aim: '15 or less' },
  { key: 'steadyGap', label: 'and before it', unit: 'ms', better: 'lower' },
  { key: 'steadyP99', label: 'p99 of the small model before', unit: 'ms', better: 'lower' },
  { key: 'duringP99', label: 'and during the load', unit: 'ms', better: 'lower' },
  { key: 'ratio', label: 'ratio of these p99', unit: '', better: 'lower', aim: '1.5 or less' },
  { key: 'serviceRatio', label: 'the same, of the time from the call to the answer', unit: '', better: 'lower' },
  { key: 'served', label: 'requests answered during the load', unit: '1/s', better: 'higher', aim: `${RATE}` },
  { key: 'before', label: 'resident set before', unit: 'MB', better: 'lower' },
  { key: 'loaded', label: 'with the large model', unit: 'MB', better: 'lower' },
  { key: 'after', label: 'after its unload', unit: 'MB', better: 'lower' },
  { key: 'left', label: "left behind, of the model's size", unit: '%', better: 'lower', aim: '5 or less' },
  { key: 'unload', label: 'unload time', unit: 'ms', better: 'lower' },
  { key: 'unloadGap', label: 'longest timer gap during the unload', unit: 'ms', better: 'lower' },
];

/** What loads models. */
interface Server {
  /** Loads the small model; the answer runs it. */
  loadSmall(path: string): Promise<(feeds: ReturnType<typeof feedsOf>) => unknown>;
  loadLarge(path: string): Promise<void>;
  /** Resolves when the large model is gone. */
  unloadLarge(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Open-loop traffic: requests are due at fixed times, whatever becomes of the ones before, and are sent by a timer. A
 * latency counts from the time a request was due, so a blocked event loop counts against all that it kept waiting.
 */
class Traffic {
  #phase = { sinceDue: new Latencies(), sinceCall: new Latencies() };
  #stopped = false;
  readonly #inFlight = new Set<Promise<void>>();
  #due = performance.now();

  constructor(private readonly runOnce: () => unknown) {
    this.#tick();
  }

  /** Ends the phase under way; its latencies are the answer. */
  nextPhase(): { readonly sinceDue: Latencies; readonly sinceCall: Latencies } {
    const ended = this.#phase;
    this.#phase = { sinceDue: new Latencies(), sinceCall: new Latencies() };
    return ended;
  }

  /** Resolves when the last answer is there. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#inFlight);
  }

  readonly #tick = (): void => {
    if (this.#stopped) return;
    for (const now = performance.now(); this.#due <= now; this.#due += 1_000 / RATE) {
      const request = this.#request(this.#due).finally(() => this.#inFlight.delete(request));
      this.#inFlight.add(request);
    }
    setTimeout(this.#tick, 1);
  };

  async #request(due: number): Promise<void> {
    const called = performance.now();
    await this.runOnce();
    const now = performance.now();
    this.#phase.sinceDue.add(now - due);
    this.#phase.sinceCall.add(now - called);
  }
}

async function measure(makeServer: () => Server, options: TrialOptions): Promise<Measured> {
  const large = modelPath(options.models, 'large');
  // From the page cache, in every trial: disks are not what is compared.
  await readFile(large).then(() => undefined);
  const size = (await stat(large)).size;
  const server = makeServer();
  const run = await server.loadSmall(modelPath(options.models, 'mlp_4x256'));
  const data = Float32Array.from({ length: 256 }, (_, i) => i / 256);
  const traffic = new Traffic(() => run(feedsOf(data, [1, 256])));
  const gaps = new LoopGaps();
  gaps.start();
  await sleep(options.quick ? 200 : 1_000);
  await settleMemory();
  await sleep(100);
  const before = process.memoryUsage.rss();
  traffic.nextPhase();
  const steadyFrom = performance.now();
  await sleep(options.quick ? 300 : 3_000);

  const steady = traffic.nextPhase();
  const loadFrom = performance.now();
  await server.loadLarge(large);
  const loadEnd = performance.now();
  await sleep(5); // A gap, and what waited in it, count when they have ended.
  const during = traffic.nextPhase();
  const loadTo = performance.now();
  const loaded = process.memoryUsage.rss();

  await sleep(options.quick ? 100 : 500);
  const unloadFrom = performance.now();
  await server.unloadLarge();
  const unloadEnd = performance.now();
  await sleep(5);
  const unloadTo = performance.now();
  await settleMemory();
  await sleep(200);
  const after = process.memoryUsage.rss();
  await traffic.stop();
  gaps.stop();
  await server.close();
  const steadyP99 = steady.sinceDue.percentile(99);
  const duringP99 = during.sinceDue.percentile(99);
  return {
    load: loadEnd - loadFrom,
    gap: gaps.longest(loadFrom, loadTo),
    steadyGap: gaps.longest(steadyFrom, loadFrom),
    steadyP99,
    duringP99,
    ratio: duringP99 / steadyP99,
    serviceRatio: during.sinceCall.percentile(99) / steady.sinceCall.percentile(99),
    served: during.sinceDue.count / ((loadTo - loadFrom) / 1_000),
    before: before / 1e6,
    loaded: loaded / 1e6,
    after: after / 1e6,
    left: ((after - before) / size) * 100,
    unload: unloadEnd - unloadFrom,
    unloadGap: gaps.longest(unloadFrom, unloadTo),
  };
}

function aspiredServer(way: 'run' | 'runSync'): Server {
  const manager = new AspiredVersionsManager();
  const aspire = async (name: string, path: string): Promise<void> => {
    const { versions } = await manager.setAspiredVersions(name, [{ version: 1, loader: onnxLoader(path) }]).settled;
    if (versions[0]?.error) throw versions[0].error;
  };
  return {
    async loadSmall(path) {
      await aspire('small', path);
      return (feeds) => manager.withServable<OnnxServable>('small', (servable) => servable[way](feeds));
    },
    loadLarge: (path) => aspire('large', path),
    async unloadLarge() {
      await manager.setAspiredVersions('large', []).settled;
    },
    async close() {
      await manager.close();
    },
  };
}

function onnxruntimeServer(): Server {
  let small: Awaited<ReturnType<typeof createSession>> | undefined;
  let large: typeof small;
  return {
    async loadSmall(path) {
      const session = await createSession(path);
      small = session;
      return (feeds) => session.run(feeds);
    },
    async loadLarge(path) {
      large = await createSession(path);
    },
    async unloadLarge() {
      await large?.release();
      large = undefined;
    },
    async close() {
      await small?.release();
    },
  };
}

function workerServer(): Server {
  const main = onnxruntimeServer();
  let worker: SessionWorker | undefined;
  return {
    ...main,
    async loadLarge(path) {
      worker = await SessionWorker.create(path);
    },
    async unloadLarge() {
      await worker?.release();
    },
  };
}

const bare: Figure[] = figures.map(({ aim: _, ...figure }) => figure);

const variants: readonly Variant[] = [
  { name: 'run()', figures, run: (options) => measure(() => aspiredServer('run'), options) },
  { name: 'runSync()', figures, run: (options) => measure(() => aspiredServer('runSync'), options) },
  {
    name: 'onnxruntime-node',
    competitor: true,
    figures: bare,
    run: (options) => measure(onnxruntimeServer, options),
  },
  {
    name: 'onnxruntime-node, the large model in a worker',
    competitor: true,
    figures: bare,
    run: (options) => measure(workerServer, options),
  },
];

/** A large model loads beside traffic on a small one. */
export const onnxLoad: Suite = {
  name: 'onnx-load',
  question: `A large ONNX model is loaded and unloaded beside ${RATE} requests per second on a small one (mlp 4x256).`,
  models: ['large', 'mlp_4x256'],
  variants: () => variants,
};
