// What the program of a trial does: argv names the suite and the variant, the answer goes to the parent as a message.
import type { Measured, Suite, TrialOptions } from './suite.js';

/** What a trial sends to its parent. */
export type TrialAnswer = { readonly figures: Measured } | { readonly error: string };

/** Runs the variant that argv names. */
export async function answerTrial(suites: readonly Suite[]): Promise<void> {
  const [suiteName, variantName, optionsJson] = process.argv.slice(2);
  const options = JSON.parse(optionsJson ?? '{}') as TrialOptions;
  let answer: TrialAnswer;
  try {
    const suite = suites.find(({ name }) => name === suiteName);
    const variant = suite?.variants(options).find(({ name }) => name === variantName);
    if (!variant) throw new Error(`There is no variant ${variantName} in suite ${suiteName}`);
    answer = { figures: await variant.run(options) };
  } catch (error) {
    answer = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(answer, () => process.disconnect());
}
