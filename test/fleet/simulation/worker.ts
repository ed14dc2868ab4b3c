// A thread that runs the seeds that it is sent, and posts each result.
import { parentPort } from 'node:worker_threads';
import { runSeed } from './run-seed.js';

parentPort?.on('message', (seed: number) => parentPort?.postMessage(runSeed(seed)));
