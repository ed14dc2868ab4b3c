// Child processes for the scripts: output is kept and shown only when the command fails.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** A failure whose message is meant for the person at the terminal; no stack is printed. */
export class Failure extends Error {}

/** Runs a command; resolves with its stdout, throws a Failure with its output when it fails or takes too long. */
export function run(command, args, { cwd = root, env = process.env, report, timeoutMs = 0 } = {}) {
  return new Promise((resolve, reject) => {
    const limit = timeoutMs > 0 ? { timeout: timeoutMs, killSignal: 'SIGKILL' } : {};
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], ...limit });
    let stdout = '';
    let all = '';
    const take = (chunk) => {
      all += chunk;
      const line = chunk.trim().split('\n').at(-1)?.trim();
      if (line) report?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      stdout += chunk;
      take(chunk);
    });
    child.stderr.setEncoding('utf8').on('data', take);
    child.on('error', (error) => reject(new Failure(`${command}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else {
        const line = [command, ...args].join(' ');
        const short = line.length > 200 ? `${line.slice(0, 200)} ...` : line;
        const end = signal === 'SIGKILL' && timeoutMs > 0 ? `killed, after at most ${timeoutMs / 1000} s` : signal;
        reject(new Failure(`${all.trimEnd()}\n${short}: ${end ?? `exit code ${code}`}`));
      }
    });
  });
}

/** Runs a command for its answer; undefined when it cannot be run or fails. */
export function ask(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** The first of the commands that is an executable on PATH. */
export function which(...commands) {
  const suffixes = process.platform === 'win32' ? ['.exe', '.cmd', ''] : [''];
  for (const command of commands) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      for (const suffix of suffixes) {
        const path = join(folder, command + suffix);
        try {
          accessSync(path, constants.X_OK);
          return path;
        } catch {}
      }
    }
  }
  return undefined;
}

/** npm, as [command, ...first arguments]: the one that runs us, or the one beside this Node. */
export function npmCommand() {
  const path = process.env.npm_execpath;
  if (path?.endsWith('.js')) return [process.execPath, path];
  if (process.platform !== 'win32') return ['npm'];
  return [process.execPath, join(dirname(process.execPath), 'node_modules/npm/bin/npm-cli.js')];
}

/** Runs a script's main function; a Failure prints its message only. */
export async function main(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    console.error(error instanceof Failure ? error.message : error);
    process.exitCode = 1;
  }
}
