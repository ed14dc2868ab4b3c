// The program of one trial: argv names the suite and the variant, the answer goes to the parent as a message.

import type { Measured, TrialOptions } from './suite.js';
import { suites } from './suites/index.js';

/** What a trial sends to its parent. */
export type TrialAnswer = { readonly figures: Measured } | { readonly error: string };

const [suiteName, variantName, optionsJson] = process.argv.slice(2);
const options = JSON.parse(optionsJson ?? '{}') as TrialOptions;

async function measure(): Promise<TrialAnswer> {
  try {
    const suite = suites.find(({ name }) => name === suiteName);
    const variant = suite?.variants(options).find(({ name }) => name === variantName);
    if (!variant) throw new Error(`There is no variant ${variantName} in suite ${suiteName}`);
    return { figures: await variant.run(options) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

const answer = await measure();
process.send?.(answer, () => process.disconnect());
