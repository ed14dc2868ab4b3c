// A seed: one fleet, its faults, a hundred models.
import { Dice } from './dice.js';
import type { Mutant } from './mutants.js';
import { simPlans } from './plans.js';
import { ModelRun } from './run-model.js';
import { faultsOf } from './timeline.js';

export const MODELS = 100;

export interface SeedResult {
  readonly seed: number;
  /** The first violation, with the model that had it. */
  readonly violation?: { readonly model: number; readonly invariant: string; readonly message: string };
  readonly outcomes: Readonly<Record<string, number>>;
  readonly rounds: number;
}

export function runSeed(seed: number, mutant: Mutant = {}, models = MODELS): SeedResult {
  const faults = faultsOf(new Dice(seed));
  const plans = simPlans();
  const outcomes: Record<string, number> = {};
  let rounds = 0;
  for (let model = 0; model < models; model++) {
    const dice = new Dice(Math.imul(seed, 1009) + model);
    const result = new ModelRun(dice.pick(plans), dice, faults, mutant).run();
    rounds += result.rounds;
    for (const outcome of result.outcomes) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (result.violation) return { seed, violation: { model, ...result.violation }, outcomes, rounds };
  }
  return { seed, outcomes, rounds };
}
