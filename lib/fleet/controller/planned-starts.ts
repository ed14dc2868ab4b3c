// Rollouts that start at a given time. The plan lies in a queue until then: the one thing of the fleet that is lost when Redis
// loses its data, and said so.
import type { Job, Queue } from 'bullmq';
import { AspiredError } from '../../errors.js';
import { invalidOption } from '../../options.js';
import type { RolloutPlanOptions } from '../rollout/types.js';
import type { FleetStore } from '../store/types.js';
import type { Intent } from '../types.js';
import { FleetClient } from './fleet-client.js';
import { checkIntent, type IntentOptions } from './intent.js';
import {
  type ClientSettings,
  type ControllerSettings,
  checkClientOptions,
  type FleetClientOptions,
} from './options.js';
import { QueueFactory } from './queues.js';
import { WatchedWorker } from './watched-worker.js';
import { inTime } from './within.js';

/** As a command of the store, by default. */
const ANSWER_MS = 5_000;
const WAITING: ReadonlySet<string> = new Set(['delayed', 'waiting', 'prioritized']);

interface PlannedJob {
  readonly plan: RolloutPlanOptions;
  readonly intent: Intent;
  /** By the store's clock, ms. */
  readonly at: number;
}

/** A rollout that is going to be started. */
export interface PlannedStart {
  readonly id: string;
  readonly plan: RolloutPlanOptions;
  readonly actor: string;
  readonly reason: string;
  /** By the store's clock, ms. */
  readonly at: number;
}

/** Plans starts of rollouts; needs Redis and bullmq. */
export class PlannedStarts {
  private constructor(
    private readonly factory: QueueFactory,
    private readonly queue: Queue<PlannedJob>,
    private readonly client: FleetClient,
  ) {}

  /** @throws AspiredError ERR_INVALID_ARGUMENT without { redis } as the store; ERR_PEER_NOT_FOUND; ERR_STORE_* */
  static async connect(options: FleetClientOptions): Promise<PlannedStarts> {
    const { store, fleet }: ClientSettings = checkClientOptions(options);
    if (!('redis' in store))
      throw invalidOption('store', "{ redis: 'redis://…' }: a planned start lies in a queue", store);
    const client = await FleetClient.connect(options);
    try {
      const factory = await QueueFactory.load(fleet, store.redis, (error) => process.emitWarning(error as Error));
      return new PlannedStarts(factory, factory.queue('schedule'), client);
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /**
   * Plans a start. The plan is checked when it starts, against the fleet of then; what it is refused for is told to onError of
   * the controller that tried. The same operation again plans nothing.
   *
   * @param at Milliseconds since the epoch by the store's clock, or a Date.
   * @throws AspiredError ERR_INVALID_ARGUMENT; ERR_STORE_UNAVAILABLE: it may be planned all the same, see list()
   */
  async plan(plan: RolloutPlanOptions, intent: IntentOptions, at: number | Date): Promise<PlannedStart> {
    const checked = checkIntent(intent);
    const time = at instanceof Date ? at.getTime() : at;
    if (!Number.isSafeInteger(time)) throw invalidOption('at', 'a Date, or milliseconds since the epoch', at);
    const delay = Math.max(0, time - (await this.client.now()));
    const jobId = `planned-${checked.operation.replaceAll(':', '-')}`;
    const added = this.queue.add(
      'start',
      { plan, intent: checked, at: time },
      {
        ...{ jobId, delay, attempts: 20, backoff: { type: 'fixed', delay: 5_000 } },
        ...{ removeOnComplete: { age: 86_400, count: 1_000 }, removeOnFail: { count: 100 } },
      },
    );
    await inTime(ANSWER_MS, `planning ${jobId}`, added);
    return { id: jobId, plan, actor: checked.actor, reason: checked.reason, at: time };
  }

  /** Those that have not started. @throws AspiredError ERR_STORE_UNAVAILABLE */
  async list(): Promise<readonly PlannedStart[]> {
    const found = this.queue.getJobs(['delayed', 'wait', 'active', 'prioritized']);
    const jobs = await inTime(ANSWER_MS, 'the list', found);
    return jobs.map(({ id, data }) => {
      const { actor, reason } = data.intent;
      return { id: id as string, plan: data.plan, actor, reason, at: data.at };
    });
  }

  /** Takes one back. False: there is none of this id, or it has started. @throws AspiredError ERR_STORE_UNAVAILABLE */
  cancel(id: string): Promise<boolean> {
    return inTime(ANSWER_MS, `taking ${id} back`, this.remove(id));
  }

  async close(): Promise<void> {
    await Promise.all([this.factory.closeQueue(this.queue), this.client.close()]);
    this.factory.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async remove(id: string): Promise<boolean> {
    const job = await this.queue.getJob(id);
    if (!job || !WAITING.has(await job.getState())) return false;
    return (await this.queue.remove(id)) === 1;
  }
}

/** The end of a controller that starts what was planned. */
export class PlannedStartWorker {
  private readonly queue: Queue<PlannedJob>;
  readonly worker: WatchedWorker<PlannedJob>;

  constructor(
    private readonly factory: QueueFactory,
    private readonly store: FleetStore,
    private readonly settings: ControllerSettings,
    private readonly onError: (error: unknown) => void,
  ) {
    this.queue = factory.queue('schedule');
    this.worker = new WatchedWorker(this.queue, {
      ...{ factory, name: 'schedule', work: (job, token) => this.start(job, token) },
      options: { concurrency: 1, lockDuration: 5_000, stalledInterval: 2_500, maxStalledCount: 1_000 },
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.worker.close(), this.factory.closeQueue(this.queue)]);
  }

  private async start(job: Job<PlannedJob>, token: string | undefined): Promise<void> {
    const { plan, intent, at } = job.data;
    // The delay was counted by the clock of this machine, which may be wrong: the one of the store decides.
    const early = at - (await this.store.now());
    if (early > 0) {
      await job.moveToDelayed(Date.now() + early, token);
      throw this.factory.delayed();
    }
    const { fleet, minReplicas, confirmTimeoutMs } = this.settings;
    const client = await FleetClient.connect({ fleet, store: this.store, minReplicas, confirmTimeoutMs });
    try {
      await client.start(plan, intent);
    } catch (error) {
      // Also of an attempt that others follow: the last one is not known as such before it has failed.
      this.onError(error);
      if (error instanceof AspiredError && (error.status === 'UNAVAILABLE' || error.status === 'ABORTED')) throw error;
      throw this.factory.unrecoverable(error instanceof Error ? error.message : String(error));
    }
  }
}
