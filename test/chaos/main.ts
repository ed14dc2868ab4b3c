// npm run test:chaos: seeds, one after the other, until one fails or the time is over. See README.md.
import { join } from 'node:path';
import { withoutRedis } from '../support/redis-server.js';
import { type RunResult, runSeed } from './harness/run.js';
import { type ChaosOptions, parseOptions, USAGE } from './options.js';
import { details, keep, summary } from './report.js';
import { scheduleOf } from './seeded/schedule.js';

const KEPT = join('.cache', 'chaos');
const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function one(seed: number, options: ChaosOptions): Promise<RunResult> {
  const result = await runSeed({ seed, mutant: options.mutant, schedule: scheduleOf(seed, options.only) });
  print(summary(result));
  const failed = result.violations.length > 0;
  if (!failed && !options.keep) return result;
  const folder = keep(result, KEPT);
  print(failed ? details(result, options, folder) : `History: ${folder}`);
  return result;
}

async function run(options: ChaosOptions): Promise<number> {
  const begin = performance.now();
  const failed: number[] = [];
  let count = 0;
  // A mutant need not be caught twice.
  const isOver = (): boolean => options.mutant !== undefined && failed.length > 0;
  for (; count < options.seeds && performance.now() - begin < options.minutes * 60_000 && !isOver(); count++) {
    const seed = options.seed + count;
    if ((await one(seed, options)).violations.length > 0) failed.push(seed);
  }
  const minutes = ((performance.now() - begin) / 60_000).toFixed(1);
  const { mutant } = options;
  print(
    `${count} seeds in ${minutes} minutes, ${failed.length} failed${failed.length > 0 ? `: ${failed.join(' ')}` : ''}`,
  );
  if (mutant === undefined) return failed.length > 0 ? 1 : 0;
  print(failed.length > 0 ? `The mutant ${mutant} was caught.` : `The mutant ${mutant} was NOT caught.`);
  return failed.length > 0 ? 0 : 1;
}

async function main(): Promise<number> {
  let options: ChaosOptions;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    print(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  if (withoutRedis !== false) {
    print(withoutRedis);
    return 2;
  }
  // Their default leaves without a word to the processes; the guard sees to those, and to the folders.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
  return run(options);
}

process.exitCode = await main();
