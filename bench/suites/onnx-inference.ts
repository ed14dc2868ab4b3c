import { AspiredVersionsManager } from 'aspired';
import { type OnnxServable, onnxLoader } from '#lib/onnx/index.js';
import { modelPath } from '../../scripts/models/ensure-models.js';
import { createSession, feedsOf } from '../compare/onnxruntime.js';
import { cpuMicroseconds, Latencies, latencyFigures } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';

interface Model {
  readonly name: string;
  readonly label: string;
  readonly dims: readonly number[];
}

/** Something that runs a model: once per call, with the same feeds. */
type RunOnce = () => unknown;
type Feeds = ReturnType<typeof feedsOf>;

const MODELS: readonly Model[] = [
  { name: 'half_plus_two', label: 'half_plus_two', dims: [4] },
  { name: 'mlp_4x256', label: 'mlp 4x256, batch 1', dims: [1, 256] },
  { name: 'mlp_4x256', label: 'mlp 4x256, batch 64', dims: [64, 256] },
];

const figures: Figure[] = [
  { key: 'rate', label: 'throughput', unit: '1/s', better: 'higher', aim: "ahead of onnxruntime-node's run()" },
  ...latencyFigures(),
  { key: 'cpu', label: 'processor time per run', unit: 'µs', better: 'lower' },
];

function makeFeeds({ dims }: Model): Feeds {
  const size = dims.reduce((product, dim) => product * dim, 1);
  return feedsOf(
    Float32Array.from({ length: size }, (_, i) => (i % 17) / 17),
    dims,
  );
}

/** `inFlight` chains, each of which begins a run when its last one has ended. */
async function closedLoop(runOnce: RunOnce, inFlight: number, { quick }: TrialOptions): Promise<Measured> {
  const warm = performance.now() + (quick ? 100 : 500);
  const end = warm + (quick ? 300 : 3_000);
  const latencies = new Latencies();
  let cpu = process.cpuUsage();
  let begun = warm;
  let isWarm = false;
  const chain = async (): Promise<void> => {
    for (let start = performance.now(); start < end; ) {
      await runOnce();
      const now = performance.now();
      if (isWarm) latencies.add(now - start);
      else if (now >= warm) {
        isWarm = true;
        begun = now;
        cpu = process.cpuUsage();
      }
      start = now;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, chain));
  const seconds = (performance.now() - begun) / 1_000;
  const used = cpuMicroseconds(cpu);
  return { rate: latencies.count / seconds, ...latencies.figures(), cpu: used / latencies.count };
}

/** The same for runs that block; without the turn of the microtask queue that `await` takes. */
function blockingLoop(runOnce: RunOnce, { quick }: TrialOptions): Measured {
  const warm = performance.now() + (quick ? 100 : 500);
  while (performance.now() < warm) runOnce();
  const latencies = new Latencies();
  const cpu = process.cpuUsage();
  const begun = performance.now();
  const end = begun + (quick ? 300 : 3_000);
  for (let start = begun; start < end; ) {
    runOnce();
    const now = performance.now();
    latencies.add(now - start);
    start = now;
  }
  const seconds = (performance.now() - begun) / 1_000;
  return { rate: latencies.count / seconds, ...latencies.figures(), cpu: cpuMicroseconds(cpu) / latencies.count };
}

type Measure = (servable: OnnxServable, feeds: Feeds, options: TrialOptions) => Promise<Measured> | Measured;

async function withAspired(model: Model, options: TrialOptions, measure: Measure): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const loader = onnxLoader(modelPath(options.models, model.name));
  await manager.setAspiredVersions(model.name, [{ version: 1, loader }]).settled;
  const measured = await manager.withServable<OnnxServable, Measured>(model.name, (servable) =>
    measure(servable, makeFeeds(model), options),
  );
  await manager.close();
  return measured;
}

function variantsOf(model: Model): Variant[] {
  const aspired = (way: string, measure: Measure): Variant => ({
    name: `${model.label}: ${way}`,
    figures,
    run: (options) => withAspired(model, options, measure),
  });
  const competitor = (inFlight: number): Variant => ({
    name: `${model.label}: onnxruntime-node run(), ${inFlight} in flight`,
    competitor: true,
    figures: figures.map(({ aim: _, ...figure }) => figure),
    run: async (options) => {
      const session = await createSession(modelPath(options.models, model.name));
      const feeds = makeFeeds(model);
      const measured = await closedLoop(() => session.run(feeds), inFlight, options);
      await session.release();
      return measured;
    },
  });
  return [
    aspired('runSync()', (servable, feeds, options) => blockingLoop(() => servable.runSync(feeds), options)),
    competitor(1),
    aspired('run(), 1 in flight', (servable, feeds, options) => closedLoop(() => servable.run(feeds), 1, options)),
    competitor(16),
    aspired('run(), 16 in flight', (servable, feeds, options) => closedLoop(() => servable.run(feeds), 16, options)),
  ];
}

/** Small models. */
export const onnxInference: Suite = {
  name: 'onnx-inference',
  question:
    'Runs of small models per second, by runSync() and by run() with 1 and 16 in flight, beside the run() of ' +
    'onnxruntime-node, which blocks the event loop. Feeds and outputs are tensors of onnxruntime-common for both.',
  models: ['half_plus_two', 'mlp_4x256'],
  variants: () => MODELS.flatMap(variantsOf),
};
