// What a run says, and what it leaves of a seed that failed.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunResult } from './harness/run.js';
import { eventsOf, type Violation } from './history/events.js';
import type { ChaosOptions } from './options.js';

const MOST_LINES = 20;

/** One line for a seed. */
export function summary({ seed, history, violations, seconds }: RunResult): string {
  const faults = new Map<string, number>();
  for (const { kind } of eventsOf(history, 'fault')) faults.set(kind, (faults.get(kind) ?? 0) + 1);
  const kinds = [...faults].map(([kind, count]) => (count > 1 ? `${kind}x${count}` : kind)).join(' ');
  const outcomes = new Map<string, number>();
  for (const { outcome } of eventsOf(history, 'ended')) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const ends = [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
  const commits = eventsOf(history, 'commit');
  const conflicts = commits.filter(({ outcome }) => outcome === 'conflict').length;
  const verdict = violations.length === 0 ? 'ok' : `FAILED, ${violations.length} violations`;
  return `seed ${seed}: ${verdict}, ${seconds.toFixed(1)} s; ${kinds}; ${ends}; ${commits.length} commits, ${conflicts} conflicts`;
}

/** The command that does the same again. */
export function commandOf(seed: number, { only, mutant }: Pick<ChaosOptions, 'only' | 'mutant'>): string {
  const more = [...(only ? [`--only ${only.join()}`] : []), ...(mutant ? [`--mutant ${mutant}`] : [])];
  return ['npm run test:chaos --', `--seed ${seed}`, '--seeds 1', ...more].join(' ');
}

/** Everything that is needed to look for the reason. */
export function details(result: RunResult, options: Pick<ChaosOptions, 'only' | 'mutant'>, folder: string): string {
  const { history, violations } = result;
  const begin = history.events[0]?.t ?? 0;
  const at = (t: number): string => `${((t - begin) / 1_000).toFixed(3)} s`;
  const line = ({ invariant, t, message }: Violation): string => `  ${invariant} at ${at(t)}: ${message}`;
  const shown = violations.slice(0, MOST_LINES).map(line);
  const more = violations.length > MOST_LINES ? [`  and ${violations.length - MOST_LINES} more`] : [];
  const faults = eventsOf(history, 'fault').map(({ kind, detail, t }) => `  ${kind} at ${at(t)}: ${detail}`);
  return [
    'Violations:',
    ...shown,
    ...more,
    'Faults:',
    ...faults,
    `History: ${folder}`,
    `Again: ${commandOf(result.seed, options)}`,
  ].join('\n');
}

/** Writes the history of a seed into a folder of its own; the answer is the folder. */
export function keep(result: RunResult, root: string): string {
  const folder = join(root, `seed-${result.seed}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { history, schedule, violations } = result;
  writeFileSync(join(folder, 'history.jsonl'), history.events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  writeFileSync(join(folder, 'schedule.json'), `${JSON.stringify(schedule, undefined, 2)}\n`);
  writeFileSync(join(folder, 'violations.json'), `${JSON.stringify(violations, undefined, 2)}\n`);
  return folder;
}
