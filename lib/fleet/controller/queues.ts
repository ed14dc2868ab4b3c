// BullMQ as the fleet uses it: what all queues and workers have in common.
//
// Nothing in a queue is the truth of anything. Redis may lose all of them; rollouts are in the store, and their ticks are
// made anew by every controller.
import type { Job, JobsOptions, Queue, QueueOptions, Worker, WorkerOptions } from 'bullmq';
import { type BullMq, loadBullMq } from './bullmq.js';

/** Keys of a queue are `{fleet}:<name>:…`: in the same slot of a cluster as the rest of the fleet. */
export type QueueName = 'ticks' | 'gates' | 'notify' | 'schedule' | 'archive';

/** A close that waits for jobs that are being done, in ms; then it does not wait any more. */
const CLOSE_MS = 1_000;
const MAX_RECONNECT_MS = 1_000;

/** Makes queues and workers of one fleet. */
export class QueueFactory {
  private constructor(
    private readonly bullmq: BullMq,
    private readonly fleet: string,
    private readonly url: string,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** @throws AspiredError ERR_PEER_NOT_FOUND */
  static async load(fleet: string, url: string, onError: (error: unknown) => void): Promise<QueueFactory> {
    return new QueueFactory(await loadBullMq(), fleet, url, onError);
  }

  queue<T>(name: QueueName): Queue<T> {
    const queue = new this.bullmq.Queue<T>(name, this.common() as QueueOptions);
    queue.on('error', this.onError);
    return queue as Queue<T>;
  }

  /** A worker that begins at once. `work` gets a token for moving the job. */
  worker<T>(
    name: QueueName,
    work: (job: Job<T>, token: string | undefined) => Promise<void>,
    options: Partial<WorkerOptions>,
  ): Worker<T> {
    const worker = new this.bullmq.Worker<T>(name, (job, token) => work(job as Job<T>, token), {
      ...this.common(),
      ...options,
    } as WorkerOptions);
    worker.on('error', this.onError);
    return worker as Worker<T>;
  }

  /** To throw after a job was moved to a later time. */
  delayed(): Error {
    return new this.bullmq.DelayedError();
  }

  /** To throw when another attempt would not help. */
  unrecoverable(message: string): Error {
    return new this.bullmq.UnrecoverableError(message);
  }

  private common(): Pick<QueueOptions, 'connection' | 'prefix'> {
    return {
      prefix: `{${this.fleet}}`,
      connection: {
        url: this.url,
        // A worker waits for Redis as long as it takes.
        maxRetriesPerRequest: null,
        retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 10), MAX_RECONNECT_MS),
      },
    };
  }
}

/** Closes a worker: with its jobs, or after a while without them. Never rejects. */
export async function closeWorker(worker: Worker): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), CLOSE_MS);
  });
  const closed = worker.close().catch(() => undefined);
  if ((await Promise.race([closed, late])) === 'late') {
    // The first close() goes on waiting, for what the second one ends.
    await Promise.race([worker.close(true).catch(() => undefined), pause(CLOSE_MS)]);
    await worker.disconnect().catch(() => undefined);
  }
  clearTimeout(timer);
}

/** Closes a queue, also when Redis is away. Never rejects. */
export async function closeQueue(queue: Queue): Promise<void> {
  const closed = queue.close().catch(() => undefined);
  await Promise.race([closed, pause(CLOSE_MS)]);
  await Promise.race([queue.disconnect().catch(() => undefined), pause(CLOSE_MS)]);
}

/** Retention of what went well and what did not. */
export const FINITE: Pick<JobsOptions, 'removeOnComplete' | 'removeOnFail'> = {
  removeOnComplete: true,
  removeOnFail: { count: 100 },
};

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
