// BullMQ as the fleet uses it: what all queues and workers have in common.
//
// Nothing in a queue is the truth of anything. Redis may lose all of them; rollouts are in the store, and their ticks are
// made anew by every controller.
import type { Job, JobsOptions, Queue, QueueOptions, Worker, WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { AspiredError, messageOf } from '../../errors.js';
import { loadIoredis } from '../store/redis/ioredis.js';
import { type BullMq, loadBullMq } from './bullmq.js';
import { within } from './within.js';

/** Keys of a queue are `{fleet}:<name>:…`: in the same slot of a cluster as the rest of the fleet. */
export type QueueName = 'ticks' | 'gates' | 'notify' | 'schedule' | 'archive';

/** How long a close waits for jobs that are being done, in ms. */
const CLOSE_MS = 1_000;
const MAX_RECONNECT_MS = 1_000;
/**
 * A peer that is gone without a word: unanswered for so long, a connection is made anew, and what was asked is asked again.
 * Longer than a worker waits for a job in one command (10 s).
 */
const SILENCE_MS = 15_000;
/** The score of a delayed job is the time at which it is due, by so much, and its place among those of the same moment. */
const DELAYED_SCORE = 0x1000;

/** Makes queues and workers of one fleet. They share a connection; each worker has one more, to wait for jobs on. */
export class QueueFactory {
  /** The connections that workers wait on. BullMQ makes them itself, and does not end them while Redis is away. */
  private readonly waitingOn = new Map<Worker, readonly Redis[]>();

  private constructor(
    private readonly bullmq: BullMq,
    private readonly redis: Redis,
    private readonly fleet: string,
    private readonly onError: (error: unknown) => void,
  ) {
    redis.on('error', this.tell);
  }

  /** @throws AspiredError ERR_PEER_NOT_FOUND */
  static async load(
    fleet: string,
    url: string,
    onError: (error: unknown) => void,
    silenceMs = SILENCE_MS,
  ): Promise<QueueFactory> {
    const bullmq = await loadBullMq();
    const Redis = await loadIoredis();
    const redis = new Redis(url, {
      connectionName: 'aspired-queues',
      // A worker waits for Redis as long as it takes.
      maxRetriesPerRequest: null,
      socketTimeout: silenceMs,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), MAX_RECONNECT_MS),
    });
    return new QueueFactory(bullmq, redis, fleet, onError);
  }

  /** After all queues and workers. What has no answer is given up. */
  close(): void {
    endForGood(this.redis);
    for (const connections of this.waitingOn.values()) for (const connection of connections) endForGood(connection);
    this.waitingOn.clear();
  }

  queue<T>(name: QueueName): Queue<T> {
    const queue = new this.bullmq.Queue<T>(name, this.common() as QueueOptions);
    queue.on('error', this.tell);
    return queue as Queue<T>;
  }

  /** A worker that begins at once. `work` gets a token for moving the job. */
  worker<T>(
    name: QueueName,
    work: (job: Job<T>, token: string | undefined) => Promise<void>,
    options: Partial<WorkerOptions>,
  ): Worker<T> {
    const made: Redis[] = [];
    const { redis } = this;
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (...args) => {
      const connection = duplicate(...args);
      made.push(connection);
      return connection;
    };
    try {
      const worker = new this.bullmq.Worker<T>(name, (job, token) => work(job as Job<T>, token), {
        ...this.common(),
        ...options,
      } as WorkerOptions);
      worker.on('error', this.tell);
      this.waitingOn.set(worker, made);
      return worker as Worker<T>;
    } finally {
      redis.duplicate = duplicate;
    }
  }

  /** Closes a worker: after its jobs, or after a while without them. Never rejects. */
  async closeWorker(worker: Worker): Promise<void> {
    // close() waits for jobs too, but for ever while Redis is away, and cannot be told not to any more.
    await within(CLOSE_MS, worker.pause());
    await within(CLOSE_MS, worker.close(true));
    for (const connection of this.waitingOn.get(worker) ?? []) endForGood(connection);
    this.waitingOn.delete(worker);
  }

  /** Jobs that a worker could take now. Also those whose delay is over: it is the workers that notice. */
  async waiting(queue: Queue): Promise<number> {
    const [{ wait = 0, prioritized = 0 }, due] = await Promise.all([
      queue.getJobCounts('wait', 'prioritized'),
      this.redis.zcount(queue.toKey('delayed'), '-inf', Date.now() * DELAYED_SCORE),
    ]);
    return wait + prioritized + due;
  }

  /** Closes a queue, also when Redis is away. Never rejects. */
  async closeQueue(queue: Queue): Promise<void> {
    await within(CLOSE_MS, queue.close());
  }

  /** To throw after a job was moved to a later time. */
  delayed(): Error {
    return new this.bullmq.DelayedError();
  }

  /** To throw when another attempt would not help. */
  unrecoverable(message: string): Error {
    return new this.bullmq.UnrecoverableError(message);
  }

  private readonly tell = (error: unknown): void => {
    const message = `Queues: ${messageOf(error)}`;
    // A lock is lost by a process that stood still: others do its jobs, and the store lets only one of them.
    const code = /\block\b/i.test(message) ? 'ERR_ROLLOUT_CONFLICT' : 'ERR_STORE_UNAVAILABLE';
    this.onError(new AspiredError(code, message, { cause: error }));
  };

  private common(): Pick<QueueOptions, 'connection' | 'prefix'> {
    return { prefix: `{${this.fleet}}`, connection: this.redis };
  }
}

/** A worker that is being closed while Redis is away would have its connection made again, and again, for nobody. */
function endForGood(connection: Redis): void {
  connection.options.retryStrategy = () => null;
  connection.on('error', () => {});
  connection.on('connect', () => connection.disconnect());
  connection.disconnect();
}

/** Retention of what went well and what did not. */
export const FINITE: Pick<JobsOptions, 'removeOnComplete' | 'removeOnFail'> = {
  removeOnComplete: true,
  removeOnFail: { count: 100 },
};
