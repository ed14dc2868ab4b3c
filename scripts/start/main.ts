// npm start: promotes and rolls back real models under live traffic, and shows that no request was lost.
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect, parseArgs } from 'node:util';
import { holdoutDigits } from '../models/digits.js';
import { defaultModelsDirectory, ensureModels } from '../models/ensure-models.js';
import { LoopGaps } from './loop-gaps.js';
import { measureStep, type Step, type StepResult } from './measured-step.js';
import { duration, Progress } from './progress.js';
import type { RequestLog } from './request-log.js';
import { scenario } from './scenario.js';
import { DIGITS, LARGE, Stage } from './stage.js';
import { table } from './table.js';
import { makeTimeline } from './timeline.js';
import { timelineSvg } from './timeline-svg.js';
import { Traffic } from './traffic.js';

const USAGE = `Usage: npm start -- [--rate 2000] [--large-mb 300] [--models DIR] [--out FILE]

  --rate      requests per second
  --large-mb  size of the large model in MB
  --models    where the models are kept, default .cache/models
  --out       the timeline, default aspired-timeline.svg
`;

const SETTLE_MS = 600;
/** The steps end before this, or the job has failed; it is over within a minute. */
const TIME_LIMIT_MS = 48_000;

interface Options {
  readonly rate: number;
  readonly largeMb: number;
  readonly models: string;
  readonly out: string;
}

function options(): Options | undefined {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '2000' },
      'large-mb': { type: 'string', default: '300' },
      models: { type: 'string', default: defaultModelsDirectory() },
      out: { type: 'string', default: 'aspired-timeline.svg' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return undefined;
  const rate = Number(values.rate);
  if (!(rate >= 1 && rate <= 100_000)) throw new Error(`Expected --rate from 1 to 100000, but received ${values.rate}`);
  return { rate, largeMb: Number(values['large-mb']), models: resolve(values.models), out: resolve(values.out) };
}

async function makeModels({ models, largeMb }: Options, progress: Progress): Promise<void> {
  const started = performance.now();
  const made = await ensureModels({
    out: models,
    only: [DIGITS, LARGE],
    largeMb,
    onProgress: ({ model, bytes }) => progress.live(`models: ${model} ${(bytes / 1e6).toFixed(0)} MB`),
  });
  progress.end();
  progress.line(
    made.length === 0
      ? 'models are there'
      : `models ${made.join(', ')} made in ${duration(performance.now() - started)}`,
  );
}

interface Performance {
  readonly results: readonly StepResult[];
  /** Steps that were not begun, because the time was up or the user had enough. */
  readonly left: number;
  readonly requests: RequestLog;
}

/** The scenario under traffic. Writes the timeline when it is over. */
async function perform(opts: Options, progress: Progress, signal: AbortSignal): Promise<Performance> {
  const stage = await Stage.create(opts.models, signal);
  const traffic = new Traffic({ manager: stage.manager, name: DIGITS, rate: opts.rate, samples: holdoutDigits() });
  const started = performance.now();
  const steps = scenario(stage, traffic);
  let results: readonly StepResult[] = [];
  try {
    progress.line(`${opts.rate} requests per second to version 1, models in ${stage.directory}`);
    results = await play(steps, traffic, progress, signal);
  } finally {
    await traffic.stop().finally(() => stage.close());
  }
  const from = started + SETTLE_MS / 2;
  const to = (results.at(-1)?.windowTo ?? from + SETTLE_MS) + SETTLE_MS / 2;
  const requests = traffic.log;
  const timeline = makeTimeline(
    { events: stage.events.events, requests, steps: results, from, to },
    {
      title: 'Versions promoted and rolled back under live traffic',
      subtitle: `${requests.served.toLocaleString('en')} requests, ${requests.failures.length} failed · ${opts.rate} per second · Node ${process.versions.node} · ${machine()}`,
    },
  );
  await writeFile(opts.out, timelineSvg(timeline));
  return { results, left: steps.length - results.length, requests };
}

/** Runs the steps one after the other while the traffic flows; stops early when the signal fires. */
async function play(
  steps: readonly Step[],
  traffic: Traffic,
  progress: Progress,
  signal: AbortSignal,
): Promise<readonly StepResult[]> {
  const gaps = new LoopGaps();
  const results: StepResult[] = [];
  const started = performance.now();
  let doing = 'steady traffic';
  const ticker = setInterval(() => progress.live(liveLine(traffic, doing, started)), 100);
  gaps.start();
  traffic.start();
  try {
    await sleep(SETTLE_MS, undefined, { signal });
    for (const [i, step] of steps.entries()) {
      doing = `${i + 1} ${step.title}`;
      results.push(await measureStep(i + 1, step, { traffic, gaps, progress }, signal));
    }
    await sleep(SETTLE_MS, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(ticker);
    progress.end();
    gaps.stop();
  }
  return results;
}

function liveLine(traffic: Traffic, doing: string, started: number): string {
  const { log } = traffic;
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(4);
  const { p99, right } = log.latest(traffic.rate);
  const quality = `${(right * 100).toFixed(0)} % right  p99 ${p99.toFixed(2)} ms`;
  return `${seconds} s  version ${traffic.latestVersion}  ${log.served} served  ${log.failures.length} failed  ${quality}  │ ${doing}`;
}

function machine(): string {
  const all = cpus();
  return `${all.length} × ${(all[0]?.model ?? 'CPU').replace(/\s+/g, ' ').trim()}`;
}

async function main(): Promise<number> {
  const opts = options();
  if (!opts) {
    process.stdout.write(USAGE);
    return 0;
  }
  const progress = new Progress();
  await makeModels(opts, progress);
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort(new Error('interrupted')));
  const started = performance.now();
  const signal = AbortSignal.any([interrupt.signal, AbortSignal.timeout(TIME_LIMIT_MS)]);
  const { results, left, requests } = await perform(opts, progress, signal);
  const wrong = results.filter(({ problem }) => problem !== undefined).length;
  const failed = requests.failures.length;
  progress.line(`\n${table(results)}\n\ntimeline: ${opts.out}`);
  progress.line(
    `${duration(performance.now() - started)}: ${requests.served} requests served, ${failed} failed; ` +
      `${results.length - wrong} transitions as they should be, ${wrong} not, ${left} not begun`,
  );
  if (failed > 0) progress.line(`the first failure: ${inspect(requests.failures[0]?.error)}`);
  return failed === 0 && wrong === 0 && left === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  process.exitCode = 1;
}
