// Many seeds, on as many threads as there are processors. The threads stay: one that has just begun is slow.
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SeedResult } from './run-seed.js';

export interface ManyResult {
  readonly failures: readonly SeedResult[];
  readonly outcomes: Readonly<Record<string, number>>;
  readonly rounds: number;
  readonly seeds: number;
}

export class SeedThreads {
  private readonly threads = Array.from(
    { length: availableParallelism() },
    () => new Worker(new URL('./worker.js', import.meta.url)),
  );

  async run(first: number, count: number): Promise<ManyResult> {
    const seeds = Array.from({ length: count }, (_, index) => first + index).values();
    const parts = await Promise.all(this.threads.map((thread) => runOn(thread, seeds)));
    const results = parts.flat();
    const outcomes: Record<string, number> = {};
    for (const [outcome, n] of results.flatMap((result) => Object.entries(result.outcomes))) {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + n;
    }
    return {
      failures: results.filter(({ violation }) => violation).sort((a, b) => a.seed - b.seed),
      outcomes,
      rounds: results.reduce((sum, { rounds }) => sum + rounds, 0),
      seeds: results.length,
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }
}

/** Takes one seed after the other, as the other threads do, until none is left. */
async function runOn(thread: Worker, seeds: Iterable<number>): Promise<SeedResult[]> {
  const results: SeedResult[] = [];
  for (const seed of seeds) {
    thread.postMessage(seed);
    const [result] = (await once(thread, 'message')) as [SeedResult];
    results.push(result);
  }
  return results;
}
