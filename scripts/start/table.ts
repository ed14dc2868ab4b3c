import { BEFORE_MS, MIN_WINDOW_MS, type StepResult } from './measured-step.js';
import { duration } from './progress.js';

const HEAD = ['#', 'transition', 'took', 'switched', 'served', 'failed', 'p50 ms', 'p99 ms', 'gap ms', ''];

/** The measured transitions as a table for a terminal, with what the columns mean below it. */
export function table(results: readonly StepResult[]): string {
  const rows = results.map((result) => [
    String(result.number),
    result.title,
    duration(result.to - result.from),
    result.switchedMs === undefined ? '–' : duration(result.switchedMs),
    String(result.during.served),
    String(result.during.failed),
    `${ms(result.before.p50)} → ${ms(result.during.p50)}`,
    `${ms(result.before.p99)} → ${ms(result.during.p99)}`,
    `${result.timerGapMs.toFixed(1)} / ${result.monitorGapMs.toFixed(1)}`,
    result.problem === undefined ? '✓' : '✗',
  ]);
  const widths = HEAD.map((head, i) => Math.max(head.length, ...rows.map((row) => (row[i] as string).length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 1 || i === 9 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width)).join('──');
  return [line(HEAD), rule, ...rows.map(line), rule, LEGEND].join('\n');
}

const LEGEND = `took      until the transition had settled: the old version drained and unloaded
switched  until readers got the other version
served    requests due during the transition, or during ${MIN_WINDOW_MS} ms where it was shorter; failed likewise
p50, p99  from when a request was due to its answer: ${BEFORE_MS} ms before the transition → during it
gap       longest gap of the event loop during it: our own 1 ms timer / monitorEventLoopDelay`;

function ms(value: number): string {
  return value.toFixed(2);
}
