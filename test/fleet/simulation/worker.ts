// A thread that runs seeds of the simulation and posts each result.
import { parentPort, workerData } from 'node:worker_threads';
import { runSeed } from './run-seed.js';

const { seeds } = workerData as { readonly seeds: readonly number[] };
for (const seed of seeds) parentPort?.postMessage(runSeed(seed));
