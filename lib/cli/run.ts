// One command line, from its words to its exit code.
import { readFile } from 'node:fs/promises';
import { CommanderError } from 'commander';
import { AspiredError, messageOf } from '../errors.js';
import type { Result } from './commands/context.js';
import { EXIT, exitCodeOf, UsageError } from './exit-codes.js';
import type { CliIo } from './io.js';
import { makeProgram } from './program.js';

/**
 * Runs a command line without the name of the program; resolves with the exit code, and never rejects. What went wrong is on
 * stderr, as `ERR_CODE: message` where it has a code.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const result: Result = { code: EXIT.OK };
  try {
    await makeProgram(io, result, await packageVersion()).parseAsync(argv, { from: 'user' });
    return result.code;
  } catch (error) {
    // commander has printed what it had to say already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
    io.stderr.write(`${errorText(error)}\n`);
    return exitCodeOf(error);
  }
}

function errorText(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  if (error instanceof AspiredError) return `${error.code}: ${error.message}`;
  // Nothing of ours throws without a code: the stack is what a report needs.
  return `ERR_INTERNAL: ${error instanceof Error ? error.stack : messageOf(error)}`;
}

async function packageVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  return String((manifest as { readonly version: unknown }).version);
}
