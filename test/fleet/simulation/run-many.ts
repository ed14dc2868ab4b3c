// Many seeds, on as many threads as there are processors.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SeedResult } from './run-seed.js';

export interface ManyResult {
  readonly failures: readonly SeedResult[];
  readonly outcomes: Readonly<Record<string, number>>;
  readonly rounds: number;
  readonly seeds: number;
}

export async function runMany(first: number, count: number): Promise<ManyResult> {
  const threads = Math.min(count, availableParallelism());
  const parts = await Promise.all(
    Array.from({ length: threads }, (_, thread) => onThread(first, count, thread, threads)),
  );
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

function onThread(first: number, count: number, thread: number, threads: number): Promise<SeedResult[]> {
  const seeds: number[] = [];
  for (let i = thread; i < count; i += threads) seeds.push(first + i);
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { seeds } });
  const results: SeedResult[] = [];
  return new Promise((resolve, reject) => {
    worker.on('message', (result: SeedResult) => results.push(result));
    worker.on('error', reject);
    worker.on('exit', () => resolve(results));
  });
}
