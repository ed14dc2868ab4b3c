// What the commands of the benchmarks have in common: their arguments, and how they end.
import type { VariantResult } from './harness.js';
import type { Suite } from './suite.js';

/** The suites with these names, separated by commas; all of them without. */
export function chooseSuites(suites: readonly Suite[], names: string | undefined): readonly Suite[] {
  if (names === undefined) return suites;
  const wanted = names.split(',').map((name) => name.trim());
  const unknown = wanted.find((name) => !suites.some((suite) => suite.name === name));
  if (unknown === undefined) return suites.filter(({ name }) => wanted.includes(name));
  throw new Error(`There is no suite ${unknown}; there are ${suites.map(({ name }) => name).join(', ')}`);
}

/** How often each variant runs. */
export function checkTrials(given: string | undefined, fallback: number): number {
  const trials = Number(given ?? fallback);
  if (!Number.isSafeInteger(trials) || trials < 1) throw new Error(`--trials takes a number >= 1, not ${given}`);
  return trials;
}

/** Says on standard error why trials gave no figures; the exit code of the run. */
export function tellFailures(results: readonly VariantResult[]): number {
  for (const { suite, variant, failures } of results) {
    for (const failure of new Set(failures)) process.stderr.write(`${suite}: ${variant} failed: ${failure}\n`);
  }
  return results.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

/** Runs a command, whose answer is the exit code. What it throws is for the person at the terminal, with the code 2. */
export async function runCommand(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}
