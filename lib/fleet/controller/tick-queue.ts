// Ticks through BullMQ: at most one per rollout is being done in the whole fleet of controllers, and one more waits.
import type { Queue, Worker } from 'bullmq';
import { FINITE, type QueueFactory } from './queues.js';
import { WatchedWorker } from './watched-worker.js';

/** An add that has not been answered for as long does not keep the next one back, in ms. */
const ADD_PATIENCE_MS = 5_000;

interface TickJob {
  readonly rollout: string;
}

export interface TickQueueOptions {
  readonly factory: QueueFactory;
  readonly tick: (rollout: string) => Promise<void>;
  readonly concurrency: number;
  readonly onError: (error: unknown) => void;
}

/** See the top of the file. */
export class TickQueue {
  private readonly queue: Queue<TickJob>;
  private readonly watched: WatchedWorker<TickJob>;
  /** Rollouts whose tick is being added, since when; a wake-up that comes meanwhile is in `again`. */
  private readonly adding = new Map<string, number>();
  private readonly again = new Set<string>();
  private closed = false;

  constructor(private readonly options: TickQueueOptions) {
    const { factory, tick, concurrency } = options;
    this.queue = factory.queue('ticks');
    this.watched = new WatchedWorker(this.queue, {
      ...{ factory, name: 'ticks', work: ({ data }) => tick(data.rollout) },
      // A controller that dies is replaced within seconds, however often a job has seen that.
      options: { concurrency, lockDuration: 5_000, stalledInterval: 2_500, maxStalledCount: 1_000 },
    });
  }

  /** The worker of now. */
  get worker(): Worker<TickJob> {
    return this.watched.worker;
  }

  /** Workers that were replaced. */
  get replaced(): number {
    return this.watched.replaced;
  }

  /** Adds a tick, unless one waits already. */
  add(rollout: string): void {
    if (this.closed) return;
    const since = this.adding.get(rollout);
    if (since !== undefined && performance.now() - since < ADD_PATIENCE_MS) {
      this.again.add(rollout);
      return;
    }
    this.adding.set(rollout, performance.now());
    const added = this.queue.add(
      'tick',
      { rollout },
      { deduplication: { id: rollout, keepLastIfActive: true }, attempts: 1, ...FINITE },
    );
    added.then(
      () => this.added(rollout),
      (error) => {
        if (!this.closed) this.options.onError(error);
        this.added(rollout);
      },
    );
  }

  /** See WatchedWorker. */
  supervise(): Promise<void> {
    return this.watched.supervise();
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([this.watched.close(), this.options.factory.closeQueue(this.queue)]);
  }

  private added(rollout: string): void {
    this.adding.delete(rollout);
    if (this.again.delete(rollout)) this.add(rollout);
  }
}
