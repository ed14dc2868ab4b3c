#!/usr/bin/env node
import { userInfo } from 'node:os';
import { EXIT } from './exit-codes.js';
import { runCli } from './run.js';

const POLL_MS = 500;

function user(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a number that has no name.
    return process.env.USER;
  }
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  // The second one ends the process at once: whoever asks twice does not want to wait.
  process.once(name, () => stop.abort());
}
// `aspired ... | head` closes the pipe before we are done: no reason for a stack.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.OK : EXIT.INTERNAL),
);

process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: stop.signal,
  user,
  connect: async (where) => (await import('./redis-tool.js')).openFleet(where),
  pollMs: POLL_MS,
});
