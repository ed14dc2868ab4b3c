import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager, type ServableOptions } from 'aspired';
import { type OnnxServable, onnxLoader } from '#lib/onnx/index.js';
import { ensureLargeModel } from '../../scripts/models/ensure-models.js';
import { createSession } from '../compare/onnxruntime.js';
import { Latencies, latencyFigures } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';

const NAME = 'model';
const megabytes = ({ quick }: TrialOptions): number => (quick ? 60 : 300);

/** Goes back and forth between two versions of a large model. */
async function backAndForth(
  options: TrialOptions,
  standby: ServableOptions['standby'],
  rounds: number,
): Promise<Measured> {
  const path = await ensureLargeModel(options.models, megabytes(options));
  const manager = new AspiredVersionsManager({ standby });
  const latencies = new Latencies();
  const aspire = (version: number) => manager.setAspiredVersions(NAME, [{ version, loader: onnxLoader(path) }]);
  const served = (): number => manager.withServableSync<OnnxServable, number>(NAME, (_, id) => id.version);
  await aspire(1).settled;
  await aspire(2).settled;
  for (let round = 0; round < rounds; round++) {
    const version = 1 + (round % 2);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    const start = performance.now();
    const { settled } = aspire(version);
    // A loop that spins for as long as a load takes would take a processor from it.
    while (served() !== version) await (standby ? nextTurn() : sleep(1));
    latencies.add(performance.now() - start);
    await settled;
  }
  await manager.close();
  return latencies.figures();
}

/** The same with nothing but the runtime: a session, and the release of the one before. */
async function sessions(options: TrialOptions, rounds: number): Promise<Measured> {
  const path = await ensureLargeModel(options.models, megabytes(options));
  const latencies = new Latencies();
  let current = await createSession(path);
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const next = await createSession(path);
    latencies.add(performance.now() - start);
    await current.release();
    current = next;
  }
  await current.release();
  return latencies.figures();
}

const AIMS = { p99: '1 or less' };
const few = ({ quick }: TrialOptions): number => (quick ? 3 : 20);
const figures: Figure[] = latencyFigures();

const variants: Variant[] = [
  {
    name: 'rollback to a standby',
    figures: latencyFigures(AIMS),
    run: (options) => backAndForth(options, { versions: 1 }, options.quick ? 100 : 2_000),
  },
  { name: 'rollback by a load', figures, run: (options) => backAndForth(options, false, few(options)) },
  {
    name: 'onnxruntime-node: another session',
    competitor: true,
    figures,
    run: (options) => sessions(options, few(options)),
  },
];

/** The way back to a version that stayed resident. */
export const standby: Suite = {
  name: 'standby',
  question:
    'An ONNX model of 300 MB goes back to its other version: from the call to the first read that answers it, when it ' +
    'stayed as a standby, and when it must be loaded.',
  largeModels: (options) => [{ name: 'large', megabytes: megabytes(options) }],
  variants: () => variants,
};
