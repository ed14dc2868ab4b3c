// One trial, one process: nothing that an earlier trial compiled, cached or left in the heap is there.
import { fork } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { median } from './measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from './suite.js';
import type { TrialAnswer } from './trial-answer.js';

const TRIAL = fileURLToPath(new URL('./trial.js', import.meta.url));
const DEADLINE_MS = 300_000;

/** A variant that takes part in the run. */
export interface Entry {
  readonly suite: Suite;
  readonly variant: Variant;
}

/** What came of all trials of one variant. */
export interface VariantResult {
  readonly suite: string;
  readonly variant: string;
  readonly competitor: boolean;
  readonly figures: readonly FigureResult[];
  /** Why trials gave no figures. */
  readonly failures: readonly string[];
  /** The load average of the last minute before each trial. */
  readonly loadAverages: readonly number[];
}

/** One figure over all trials. */
export interface FigureResult extends Figure {
  readonly trials: readonly number[];
  readonly median: number;
  readonly best: number;
  readonly worst: number;
}

/** Told before each trial. */
export type OnTrial = (entry: Entry, done: number, total: number) => void;

/**
 * Runs `trials` rounds over the variants, so that what disturbs the machine for a while disturbs all of them.
 *
 * @param program Path of the program of a trial, which knows the suites.
 */
export async function runTrials(
  entries: readonly Entry[],
  trials: number,
  options: TrialOptions,
  onTrial: OnTrial,
  program = TRIAL,
): Promise<VariantResult[]> {
  const collected = entries.map(() => ({
    measured: [] as Measured[],
    failures: [] as string[],
    loadAverages: [] as number[],
  }));
  let done = 0;
  for (let trial = 0; trial < trials; trial++) {
    for (const [index, entry] of entries.entries()) {
      onTrial(entry, done++, entries.length * trials);
      const into = collected[index];
      if (!into) continue;
      into.loadAverages.push(os.loadavg()[0] ?? Number.NaN);
      const answer = await runTrial(entry, options, program);
      if ('error' in answer) into.failures.push(answer.error);
      else into.measured.push(answer.figures);
    }
  }
  return entries.map(({ suite, variant }, index) => {
    const { measured = [], failures = [], loadAverages = [] } = collected[index] ?? {};
    return {
      suite: suite.name,
      variant: variant.name,
      competitor: variant.competitor ?? false,
      figures: measured.length === 0 ? [] : variant.figures.map((figure) => summarize(figure, measured)),
      failures,
      loadAverages,
    };
  });
}

function summarize(figure: Figure, measured: readonly Measured[]): FigureResult {
  const trials = measured.map((one) => one[figure.key] ?? Number.NaN);
  const sorted = [...trials].sort((a, b) => (figure.better === 'lower' ? a - b : b - a));
  return {
    ...figure,
    trials,
    median: median(trials),
    best: sorted[0] ?? Number.NaN,
    worst: sorted[sorted.length - 1] ?? Number.NaN,
  };
}

function runTrial({ suite, variant }: Entry, options: TrialOptions, program: string): Promise<TrialAnswer> {
  return new Promise((resolve) => {
    const child = fork(program, [suite.name, variant.name, JSON.stringify(options)], {
      execArgv: [...process.execArgv, '--expose-gc', ...(variant.nodeOptions ?? [])],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let answer: TrialAnswer | undefined;
    let stderr = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, DEADLINE_MS);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-4000);
      if (process.env.ASPIRED_BENCH_VERBOSE) process.stderr.write(text);
    });
    child.on('message', (message) => {
      answer = message as TrialAnswer;
    });
    child.on('error', (error) => {
      answer ??= { error: error.message };
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (late) resolve({ error: `gave no answer within ${DEADLINE_MS / 1000} s` });
      else if (answer && code === 0) resolve(answer);
      else resolve({ error: `ended with ${signal ?? code}. ${stderr.trim()}` });
    });
  });
}
