// What the figures were measured on.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import os from 'node:os';

/** The machine block of a report. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly freeMemoryGiB: number;
  /** Of the last 1, 5 and 15 minutes, when the run began. */
  readonly loadAverage: readonly number[];
  readonly os: string;
  readonly node: string;
  readonly v8: string;
  readonly onnxruntime: string;
  readonly revision: string;
  readonly date: string;
}

/** Looks at the machine. */
export function describeMachine(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: gibibytes(os.totalmem()),
    freeMemoryGiB: gibibytes(os.freemem()),
    loadAverage: os.loadavg().map((load) => Math.round(load * 100) / 100),
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    v8: process.versions.v8,
    onnxruntime: onnxruntimeVersion() ?? 'not installed',
    revision: revision(),
    date: new Date().toISOString(),
  };
}

/** Version of the onnxruntime-node that is installed here, if one is. */
export function onnxruntimeVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version;
  } catch {
    return undefined;
  }
}

function gibibytes(bytes: number): number {
  return Math.round((bytes / 2 ** 30) * 10) / 10;
}

function revision(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'lib', 'native', 'bench');
    return git('rev-parse', '--short', 'HEAD') + (changed === '' ? '' : ' with local changes');
  } catch {
    return 'unknown';
  }
}
