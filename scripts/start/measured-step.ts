import { setTimeout as sleep } from 'node:timers/promises';
import { LoopGaps } from './loop-gaps.js';
import type { Progress } from './progress.js';
import { duration } from './progress.js';
import type { WindowStats } from './request-log.js';
import type { Traffic } from './traffic.js';

/** What a step says about itself when it is done. */
export interface StepOutcome {
  /** Milliseconds until readers got the version they should. */
  readonly switchedMs?: number;
  readonly note?: string;
}

/** One transition of the scenario. */
export interface Step {
  readonly title: string;
  /** Sets the step up; not part of what is measured. */
  prepare?(signal: AbortSignal): Promise<void>;
  /** Brings the transition about; resolves when it has ended, throws when it did not end as it should. */
  run(started: number, signal: AbortSignal): Promise<StepOutcome>;
}

/** A transition, measured. Times are milliseconds as of performance.now(). */
export interface StepResult extends StepOutcome {
  readonly number: number;
  readonly title: string;
  readonly from: number;
  readonly to: number;
  /** End of the stretch that `during` covers: at least {@link MIN_WINDOW_MS} from `from`. */
  readonly windowTo: number;
  readonly before: WindowStats;
  readonly during: WindowStats;
  /** Longest gap of the event loop by our own timer, and by monitorEventLoopDelay. */
  readonly timerGapMs: number;
  readonly monitorGapMs: number;
  /** Why the step did not end as it should. */
  readonly problem?: string;
}

/** Steady traffic before each step: what the step is compared with. */
export const BEFORE_MS = 900;
/** A step shorter than this is measured over this long, for a percentile needs requests. */
export const MIN_WINDOW_MS = 400;

const DEADLINE_MS = 15_000;
const MONITOR_LEAD_MS = 50;
/** Time for the answers to the last requests of the window. */
const TAIL_MS = 20;

/** Lets the traffic flow for a while, runs the step, and measures both. Rejects only when `signal` fires. */
export async function measureStep(
  number: number,
  step: Step,
  { traffic, gaps, progress }: { traffic: Traffic; gaps: LoopGaps; progress: Progress },
  signal: AbortSignal,
): Promise<StepResult> {
  let problem: string | undefined;
  const noteProblem = (error: unknown): void => {
    problem ??= error instanceof Error ? error.message : String(error);
  };
  const deadline = (): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  await step.prepare?.(deadline()).catch(noteProblem);
  await sleep(BEFORE_MS - MONITOR_LEAD_MS, undefined, { signal });
  const monitor = LoopGaps.monitor();
  await sleep(MONITOR_LEAD_MS, undefined, { signal });
  const from = performance.now();
  const outcome = (await step.run(from, deadline()).catch(noteProblem)) ?? {};
  const to = performance.now();
  const windowTo = Math.max(to, from + MIN_WINDOW_MS);
  await sleep(windowTo - to + TAIL_MS, undefined, { signal });
  monitor.disable();
  const result: StepResult = {
    number,
    title: step.title,
    from,
    to,
    windowTo,
    before: traffic.log.window(from - BEFORE_MS, from),
    during: traffic.log.window(from, windowTo),
    timerGapMs: gaps.longest(from, windowTo + TAIL_MS),
    monitorGapMs: monitor.max / 1e6,
    ...outcome,
    ...(problem === undefined ? {} : { problem }),
  };
  progress.line(summary(result));
  return result;
}

function summary({ number, title, from, to, note, problem }: StepResult): string {
  const sign = problem === undefined ? '✓' : '✗';
  const text = problem ?? note;
  return `${sign} ${String(number).padStart(2)}  ${title}, ${duration(to - from)}${text ? `: ${text}` : ''}`;
}
