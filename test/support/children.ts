// Child processes with a deadline.
import { spawn } from 'node:child_process';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** @default 30,000 */
  readonly deadlineMs?: number;
  /** Told all of the output so far, whenever there is more. */
  readonly heard?: (stdout: string) => void;
  /** Sent when the output has this text. */
  readonly kill?: { readonly signal: NodeJS.Signals; readonly after: string };
}

/** Runs a program, which messages call `name`; rejects, naming the last line it printed, when it does not end. */
export function runProgram(
  name: string,
  [command, ...args]: readonly [string, ...string[]],
  options: ChildOptions = {},
): Promise<Ended> {
  const { deadlineMs = 30_000, heard, kill } = options;
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  let killed = false;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
    heard?.(stdout);
    if (!kill || killed || !stdout.includes(kill.after)) return;
    killed = true;
    child.kill(kill.signal);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      const last = stdout.trimEnd().split('\n').at(-1);
      reject(new Error(`${name} hung for ${deadlineMs} ms; its last words: ${last}\n${stderr}`));
    }, deadlineMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}
