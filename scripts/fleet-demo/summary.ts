// What the demonstration has to say in the end, for people and as JSON.
import type { Requests } from './ledger.js';

/** One rollout or the time between two. */
export interface PhaseSummary {
  readonly phase: string;
  readonly ms: number;
  readonly requests: Requests;
}

/** One thing that had to hold. */
export interface Check {
  readonly what: string;
  readonly holds: boolean;
  readonly detail: string;
}

export interface DemoSummary {
  readonly hosts: number;
  readonly phases: readonly PhaseSummary[];
  readonly rollouts: readonly {
    readonly rollout: string;
    readonly version: number;
    readonly outcome: string | null;
    readonly ms: number;
    readonly why: string | null;
  }[];
  readonly killed: readonly { readonly name: string; readonly pid: number; readonly during: string }[];
  readonly checks: readonly Check[];
  /** All checks hold. */
  readonly ok: boolean;
  readonly ms: number;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** The summary as lines. */
export function summaryLines(summary: DemoSummary): readonly string[] {
  const rows = summary.phases.map(({ phase, ms, requests }) => [
    phase,
    seconds(ms),
    String(requests.answered),
    failedText(requests),
    String(requests.lost),
  ]);
  return [
    '',
    ...aligned([['phase', 'took', 'answered', 'failed', 'lost'], ...rows]),
    '',
    ...summary.rollouts.map(
      ({ rollout, version, outcome, ms, why }) =>
        `${rollout}: v${version} ${outcome ?? 'did not end'} after ${seconds(ms)}${why === null ? '' : `: ${why}`}`,
    ),
    ...summary.killed.map(({ name, pid, during }) => `kill -9 ${pid}: ${name}, ${during}`),
    '',
    ...summary.checks.map(({ what, holds, detail }) => `${holds ? '✔' : '✖'} ${what}: ${detail}`),
    '',
    `${seconds(summary.ms)} in all: ${summary.ok ? 'everything held' : 'SOMETHING DID NOT HOLD'}`,
  ];
}

function failedText({ failed }: Requests): string {
  const parts = Object.entries(failed).map(([version, count]) => `${count} by v${version}`);
  return parts.length > 0 ? parts.join(', ') : '0';
}

function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd(),
  );
}
