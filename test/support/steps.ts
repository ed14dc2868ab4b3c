// A long program in a child process, seen as steps: a file that reports nothing for two minutes is taken for one that
// hangs, however slow the machine is, so each step is a test of its own.
import { test } from 'node:test';
import { deadline } from './deadline.js';

/** What a step may take, in ms. A page of memory costs ten times as much on some virtual machines as on others. */
export const STEP_MS = 110_000;

interface Step {
  /** How much has been done at its end. */
  readonly done: number;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

function newStep(done: number): Step {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { done, ended, end };
}

/** The steps of a program that prints a line with the number of what it has done at the end of each of them. */
export class Steps<Result> {
  private readonly steps: readonly Step[];
  private result: Promise<Result> | undefined;
  private failed = false;

  /** `count` things, `size` at a time; `program` does them all, and is started once. */
  constructor(
    private readonly count: number,
    size: number,
    private readonly program: (steps: Steps<Result>) => Promise<Result>,
  ) {
    this.steps = Array.from({ length: Math.ceil(count / size) }, (_, i) => newStep(Math.min((i + 1) * size, count)));
  }

  /** What all steps together may take, in ms. */
  get deadlineMs(): number {
    return STEP_MS * this.steps.length;
  }

  /** To be told all that the program has printed, whenever it has printed more. */
  readonly heard = (stdout: string): void => {
    // The last line may not be whole yet.
    for (const line of stdout.split('\n').slice(0, -1)) this.steps.find(({ done }) => done === Number(line))?.end();
  };

  /** Declares a test for each step. */
  declare(title: string, skip: string | false = false): void {
    for (const { done, ended } of this.steps) {
      test(`${title}: ${done} of them`, { skip }, async () => {
        if (this.failed) throw new Error('An earlier step failed');
        this.failed = true;
        await deadline(Promise.race([ended, this.run()]), `${done} of ${this.count}`, STEP_MS);
        this.failed = false;
      });
    }
  }

  /** What came of the program, in the end. */
  run(): Promise<Result> {
    this.result ??= this.program(this);
    return this.result;
  }
}
