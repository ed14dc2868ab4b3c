// Ticks through BullMQ: at most one per rollout is being done in the whole fleet of controllers, and one more waits.
import type { Queue, Worker } from 'bullmq';
import { FINITE, type QueueFactory } from './queues.js';

/** Looks in a row without a tick, while some wait, after which the worker is not believed to consume any more. */
const STRIKES = 3;
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
  private current: Worker<TickJob>;
  /** Rollouts whose tick is being added, since when; a wake-up that comes meanwhile is in `again`. */
  private readonly adding = new Map<string, number>();
  private readonly again = new Set<string>();
  private done = 0;
  private doneBefore = 0;
  private strikes = 0;
  private closed = false;
  /** Workers that were replaced. */
  replaced = 0;

  constructor(private readonly options: TickQueueOptions) {
    this.queue = options.factory.queue('ticks');
    this.current = this.makeWorker();
  }

  /** The worker of now. */
  get worker(): Worker<TickJob> {
    return this.current;
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

  /** Called every few seconds: replaces a worker that does nothing although there is something to do. */
  async supervise(): Promise<void> {
    // Answered by the same server that the worker waits for.
    const counts = await this.queue.getJobCounts('wait', 'active', 'prioritized');
    const waiting = Object.values(counts).reduce((sum, count) => sum + count, 0);
    this.strikes = waiting > 0 && this.done === this.doneBefore ? this.strikes + 1 : 0;
    this.doneBefore = this.done;
    if (this.strikes < STRIKES || this.closed) return;
    this.strikes = 0;
    this.replaced++;
    const stuck = this.current;
    this.current = this.makeWorker();
    void this.options.factory.closeWorker(stuck);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([this.options.factory.closeWorker(this.current), this.options.factory.closeQueue(this.queue)]);
  }

  private added(rollout: string): void {
    this.adding.delete(rollout);
    if (this.again.delete(rollout)) this.add(rollout);
  }

  private makeWorker(): Worker<TickJob> {
    return this.options.factory.worker<TickJob>(
      'ticks',
      async ({ data }) => {
        await this.options.tick(data.rollout);
        this.done++;
      },
      // A controller that dies is replaced within seconds, however often a job has seen that.
      { concurrency: this.options.concurrency, lockDuration: 5_000, stalledInterval: 2_500, maxStalledCount: 1_000 },
    );
  }
}
