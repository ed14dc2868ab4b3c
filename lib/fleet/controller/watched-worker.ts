// A worker that does not stay stuck: after an outage some releases of BullMQ run on, by what they say, and take no job any more.
import type { Job, Queue, Worker, WorkerOptions } from 'bullmq';
import type { QueueFactory, QueueName } from './queues.js';

/** Looks in a row at which jobs waited and none was begun, after which a worker is not believed to consume any more. */
const STRIKES = 3;

export interface WatchedWorkerOptions<T> {
  readonly factory: QueueFactory;
  readonly name: QueueName;
  readonly work: (job: Job<T>, token: string | undefined) => Promise<void>;
  readonly options: Partial<WorkerOptions> & { readonly concurrency: number };
}

/** See the top of the file. */
export class WatchedWorker<T> {
  private current: Worker<T>;
  private begun = 0;
  private begunBefore = 0;
  private running = 0;
  private strikes = 0;
  private closed = false;
  /** Workers that were replaced. */
  replaced = 0;

  /** @param queue Of the same name. Its owner closes it. */
  constructor(
    private readonly queue: Queue<T>,
    private readonly options: WatchedWorkerOptions<T>,
  ) {
    this.current = this.make();
  }

  /** The worker of now. */
  get worker(): Worker<T> {
    return this.current;
  }

  /** Called every few seconds: replaces a worker that takes nothing although there is something to take. */
  async supervise(): Promise<void> {
    // Answered by the same server that the worker waits for. What others are doing says nothing of this worker.
    const waiting = await this.options.factory.waiting(this.queue);
    const isIdle = this.running < this.options.options.concurrency && this.begun === this.begunBefore;
    this.strikes = waiting > 0 && isIdle ? this.strikes + 1 : 0;
    this.begunBefore = this.begun;
    if (this.strikes < STRIKES || this.closed) return;
    this.strikes = 0;
    this.replaced++;
    const stuck = this.current;
    this.current = this.make();
    void this.options.factory.closeWorker(stuck);
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.closed = true;
    await this.options.factory.closeWorker(this.current);
  }

  private make(): Worker<T> {
    const { factory, name, options } = this.options;
    return factory.worker<T>(name, (job, token) => this.work(job, token), options);
  }

  private async work(job: Job<T>, token: string | undefined): Promise<void> {
    this.begun++;
    this.running++;
    try {
      await this.options.work(job, token);
    } finally {
      this.running--;
    }
  }
}
