// The results as Markdown for people and as JSON for programs.
import type { FigureResult, VariantResult } from './harness.js';
import type { Machine } from './machine.js';
import type { Suite } from './suite.js';

/** Everything that a run found out. */
export interface Report {
  readonly machine: Machine;
  /** Load average when the run ended. */
  readonly loadAverageAtEnd: readonly number[];
  readonly quick: boolean;
  readonly trials: number;
  readonly results: readonly VariantResult[];
  /** Suites that could not run, and why. */
  readonly skipped: Readonly<Record<string, string>>;
}

/** The machine block. */
export function machineBlock(machine: Machine): string {
  return [
    `- ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB (${machine.freeMemoryGiB} free), ${machine.os}`,
    `- Node.js ${machine.node} (V8 ${machine.v8}), onnxruntime-node ${machine.onnxruntime}`,
    `- revision ${machine.revision}, ${machine.date}`,
    `- load average at the start: ${machine.loadAverage.join(', ')}`,
  ].join('\n');
}

/** The whole report as Markdown. */
export function toMarkdown(report: Report, suites: readonly Suite[]): string {
  const lines = ['# Benchmarks of aspired', '', machineBlock(report.machine)];
  lines.push(`- load average at the end: ${report.loadAverageAtEnd.join(', ')}`);
  const size = report.quick ? ', quick: sizes too small for conclusions' : '';
  lines.push(
    `- ${report.trials} ${report.trials === 1 ? 'trial' : 'trials'} of each variant, one process per trial${size}`,
    '',
  );
  for (const suite of suites) {
    const results = report.results.filter((result) => result.suite === suite.name);
    const why = report.skipped[suite.name];
    if (results.length === 0 && why === undefined) continue;
    lines.push(`## ${suite.name}`, '', suite.question, '');
    if (why !== undefined) lines.push(`Skipped: ${why}`, '');
    if (results.length > 0) lines.push(...table(results), '');
  }
  return lines.join('\n');
}

function table(results: readonly VariantResult[]): string[] {
  const lines = ['| variant | figure | median | best | worst | unit | aim |', '|---|---|--:|--:|--:|---|---|'];
  for (const result of results) {
    const name = result.competitor ? `_${result.variant}_` : result.variant;
    result.figures.forEach((figure, index) => {
      lines.push(row(index === 0 ? name : '', figure));
    });
    for (const failure of new Set(result.failures)) {
      lines.push(`| ${name} | failed | | | | | ${failure.split('\n')[0]?.replaceAll('|', '/')} |`);
    }
  }
  return lines;
}

function row(name: string, { label, median, best, worst, unit, aim }: FigureResult): string {
  return `| ${[name, label, number(median), number(best), number(worst), unit, aim ?? ''].join(' | ')} |`;
}

/** Three significant digits. */
function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return Number(value.toPrecision(3)).toString();
}
