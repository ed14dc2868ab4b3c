// The words of the benchmarks: a suite has variants, a trial of a variant answers figures.
import type { LargeModelName } from '../scripts/models/ensure-models.js';

/** What a trial is told. */
export interface TrialOptions {
  /** Sizes for continuous integration: shows that it works, not what it costs. */
  readonly quick: boolean;
  /** Directory of the models; see models.ts. */
  readonly models: string;
}

/** One number that a variant reports. */
export interface Figure {
  readonly key: string;
  readonly label: string;
  readonly unit: string;
  /** Which of several trials is the best one. */
  readonly better: 'lower' | 'higher';
  /** What was aimed at: printed beside the figure, never checked. */
  readonly aim?: string;
}

/** The figures of one trial, by key. */
export type Measured = Readonly<Record<string, number>>;

/** One way to do what a suite is about; a trial of it has a process of its own. */
export interface Variant {
  readonly name: string;
  /** Something else than this package, measured by the same body. */
  readonly competitor?: boolean;
  readonly figures: readonly Figure[];
  /** Options of Node.js for the process of the trial. */
  readonly nodeOptions?: readonly string[];
  run(options: TrialOptions): Promise<Measured> | Measured;
}

/** A large model of a certain size. */
export interface LargeModel {
  readonly name: LargeModelName;
  readonly megabytes: number;
}

/** Variants that answer the same question. */
export interface Suite {
  readonly name: string;
  readonly question: string;
  variants(options: TrialOptions): readonly Variant[];
  /** Models that must have been made, see models.ts. */
  readonly models?: readonly string[];
  /** Sizes, in MB, of further large models; ensureLargeModel() finds them. */
  readonly largeModels?: (options: TrialOptions) => readonly LargeModel[];
}
