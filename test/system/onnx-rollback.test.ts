// Automatic rollback from end to end: a model is promoted under traffic, errs on 5 % of its requests, and is gone within its
// bake time; the requests it hurt are those that its callers counted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  AspiredError,
  type BakeReport,
  type LoadContext,
  type Loader,
  type OnnxLoaderOptions,
  type OnnxServable,
  onnxLoader,
  type TransitionVersion,
} from 'aspired';
import { defaultModelsDirectory, ensureModels, modelPath } from '../../scripts/models/ensure-models.js';
import { deadline, eventually } from '../support/deadline.js';
import { one } from '../support/loaders.js';
import { coded, TestManager } from '../support/manager.js';

const MODELS = defaultModelsDirectory();
const BAKE_MS = 10_000;
const READERS = 8;

/** What requests are made of: the answer of the model, with its version, or the error of a bad release. */
interface Classifier {
  readonly version: number;
  classify(pixels: Float32Array): Promise<number>;
}

/** The ONNX model of a version; every `errsOn`th request fails, as by a broken pre-processing step that came with it. */
class ClassifierLoader implements Loader<Classifier> {
  unloads = 0;
  private readonly onnx: Loader<OnnxServable>;
  private readonly servables = new Map<Classifier, OnnxServable>();

  constructor(
    private readonly version: number,
    private readonly errsOn = Number.POSITIVE_INFINITY,
    options: OnnxLoaderOptions = {},
  ) {
    this.onnx = onnxLoader(modelPath(MODELS, 'digits', version), options);
  }

  estimateResources(): ReturnType<NonNullable<Loader['estimateResources']>> {
    return this.onnx.estimateResources?.() ?? {};
  }

  async load(context: LoadContext): Promise<Classifier> {
    const servable = await this.onnx.load(context);
    const { version, errsOn } = this;
    const [input] = servable.inputs;
    const [output] = servable.outputs;
    assert.ok(input && output);
    let requests = 0;
    const classifier: Classifier = {
      version,
      async classify(data) {
        if (++requests % errsOn === 0) throw new RangeError('of the bad release');
        const answer = await servable.run({ [input.name]: { type: 'float32', data, dims: [1, data.length] } });
        const scores = answer[output.name]?.data as ArrayLike<number> | undefined;
        assert.ok(scores);
        return Array.from(scores).indexOf(Math.max(...Array.from(scores)));
      },
    };
    this.servables.set(classifier, servable);
    return classifier;
  }

  async unload(classifier: Classifier): Promise<void> {
    this.unloads++;
    const servable = this.servables.get(classifier);
    assert.ok(servable);
    await this.onnx.unload?.(servable);
  }
}

/** Requests without a pause; what came of them, by version. */
class Traffic {
  readonly served = new Map<number, number>();
  readonly hurt = new Map<number, number>();
  readonly failures: unknown[] = [];
  private running = true;
  private readonly done: Promise<unknown>;

  constructor(private readonly m: TestManager) {
    this.done = Promise.all(Array.from({ length: READERS }, () => this.read()));
  }

  async stop(): Promise<void> {
    this.running = false;
    await deadline(this.done, 'the readers');
  }

  private async read(): Promise<void> {
    const pixels = new Float32Array(64).fill(0.5);
    while (this.running) {
      let version = -1;
      try {
        const digit = await this.m.manager.withServable('digits', (servable: Classifier) => {
          version = servable.version;
          return servable.classify(pixels);
        });
        assert.ok(digit >= 0 && digit <= 9);
        this.served.set(version, (this.served.get(version) ?? 0) + 1);
      } catch (error) {
        this.hurt.set(version, (this.hurt.get(version) ?? 0) + 1);
        if (!(error instanceof RangeError)) this.failures.push(error);
        // The test is over, and has not come to stop().
        if (error instanceof AspiredError && error.code === 'ERR_MANAGER_CLOSED') return;
      }
      await nextTurn();
    }
  }
}

/** Checks the verdict on version 2 against what the callers counted when it was passed. */
function checkReport(version: TransitionVersion | undefined, counted: number): BakeReport {
  assert.deepEqual([version?.version, version?.managerState], [2, 'End']);
  coded('ERR_BAKE_FAILED', 'FAILED_PRECONDITION')(version?.error);
  const report = version?.error?.cause as BakeReport;
  assert.equal(report.reason, 'error-rate');
  assert.ok(report.elapsedMs < BAKE_MS, `${report.elapsedMs} ms`);
  assert.ok(report.errorRate > 0.01 && report.errorRate < 0.1, `${report.errorRate}`);
  assert.match(version?.error?.message ?? '', new RegExp(`${report.errors} of ${report.requests} requests failed`));
  // Those that had begun before the way back end after it: at most one for each reader.
  assert.ok(report.errors > 0 && counted >= report.errors, `${counted} counted, ${report.errors} reported`);
  assert.ok(counted - report.errors <= READERS, `${counted} counted, ${report.errors} reported`);
  return report;
}

test('a version that errs on 5 % of its requests is gone within its bake time, and its harm is in the report', async (t) => {
  await ensureModels({ out: MODELS, only: ['digits'] });
  const m = new TestManager(t, {
    bake: { for: BAKE_MS, minRequests: 100, maxErrorRate: 0.01 },
    maxNumLoadRetries: 0,
  });
  const [good, bad] = [new ClassifierLoader(1), new ClassifierLoader(2, 20)];
  await m.aspire('digits', one(1, good));
  const traffic = new Traffic(m);
  await eventually(() => (traffic.served.get(1) ?? 0) >= 200, 'requests to version 1');

  const { versions } = await m.aspire('digits', one(2, bad));
  const report = checkReport(versions[0], traffic.hurt.get(2) ?? 0);

  const before = traffic.served.get(1) ?? 0;
  await eventually(() => (traffic.served.get(1) ?? 0) >= before + 200, 'requests to version 1 again');
  await traffic.stop();
  assert.deepEqual(traffic.failures, []);
  assert.deepEqual([...traffic.hurt.keys()], [2], 'no request failed but those of the bad version');
  const [hurt = 0, served = 0] = [traffic.hurt.get(2), traffic.served.get(2)];
  assert.ok(hurt - report.errors <= READERS, `${hurt} requests were hurt in all, ${report.errors} reported`);
  assert.ok(
    hurt + served - report.requests <= READERS,
    `${hurt + served} requests in all, ${report.requests} reported`,
  );
  assert.deepEqual([m.resolve('digits'), good.unloads, bad.unloads], ['digits/1', 0, 1]);
  const [row] = m.manager.getServableStates('digits');
  assert.deepEqual([row?.id.version, row?.bad], [2, true]);
});

test('a good version passes under the same traffic', async (t) => {
  await ensureModels({ out: MODELS, only: ['digits'] });
  const m = new TestManager(t, { bake: { for: 300, minRequests: 50, maxErrorRate: 0.01 }, maxNumLoadRetries: 0 });
  const old = new ClassifierLoader(1);
  await m.aspire('digits', one(1, old));
  const traffic = new Traffic(m);
  const { versions } = await m.aspire('digits', one(2, new ClassifierLoader(2)));
  await traffic.stop();
  assert.deepEqual(versions, [{ version: 2, managerState: 'Available' }]);
  assert.deepEqual([traffic.failures, [...traffic.hurt]], [[], []]);
  assert.deepEqual([m.resolve('digits'), old.unloads], ['digits/2', 1]);
});
