// What the harness tells its processes: at the start by argument, later by a line of JSON on their standard input. Its end is
// theirs.
import { createInterface } from 'node:readline';
import type { ChaosHost } from '../fleet.js';
import type { ProbePoint } from '../seeded/schedule.js';

/** The whole system with one safety taken out: a check of the checks. */
export const MUTANTS = ['cas', 'witness', 'generation', 'answers'] as const;
export type Mutant = (typeof MUTANTS)[number];

interface Common {
  /** Of the process, and of its file in the history. */
  readonly name: string;
  readonly redis: string;
  /** Folder of the history. */
  readonly history: string;
  readonly mutant?: Mutant | undefined;
}

export interface AgentArguments extends Common {
  readonly stateDir: string;
  readonly hosts: readonly ChaosHost[];
}

export interface ControllerArguments extends Common {
  /** Ticks without the queue and its locks, and some commits late. */
  readonly rogue: boolean;
  readonly seed: number;
}

export type AgentMessage = { readonly slow: string; readonly factor: number };

export type ControllerMessage =
  /**
   * The n-th commit from now, of a rollout or of any, is the last: the process ends before it is sent, before or after its
   * answer comes.
   */
  | { readonly kill: ProbePoint; readonly commits: number; readonly rollout?: string }
  /** The process stops before its next commit, until somebody lets it go on. */
  | { readonly stop: true }
  /** Share of commits that are sent again from now on. */
  | { readonly resend: number };

/** Calls `told` for each message; ends the process with the harness. Then says that it is ready. */
export function listen<M>(told: (message: M) => void): void {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => told(JSON.parse(line) as M));
  lines.on('close', () => process.exit(0));
}

export function argumentsOf<A>(): A {
  return JSON.parse(process.argv[2] as string) as A;
}

/** Says on standard output that the process is ready. */
export function ready(): void {
  process.stdout.write('ready\n');
}
