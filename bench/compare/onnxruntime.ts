// onnxruntime-node as its users use it, and a worker around it for those who know that it blocks.
import { Worker } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';

/** The float32 input `x` of the models of the benchmarks. */
export function feedsOf(data: Float32Array, dims: readonly number[]): Record<string, Tensor> {
  return { x: new Tensor('float32', data, dims) };
}

/** A session with the settings of onnxLoader: no threads of its own. */
export function createSession(path: string): Promise<InferenceSession> {
  return InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
}

/** A session in a worker of its own. */
export class SessionWorker {
  readonly #worker: Worker;

  private constructor(path: string) {
    this.#worker = new Worker(new URL('./onnxruntime-worker.js', import.meta.url), { workerData: path });
  }

  /** Resolves when the model is loaded. */
  static async create(path: string): Promise<SessionWorker> {
    const made = new SessionWorker(path);
    await new Promise((resolve, reject) => made.#worker.once('message', resolve).once('error', reject));
    return made;
  }

  /** Releases the session and ends the worker, which must end by itself: onnxruntime-node aborts in terminate(). */
  async release(): Promise<void> {
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve));
    this.#worker.postMessage('release');
    await ended;
  }
}
