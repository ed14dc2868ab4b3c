// Tells others of what rollouts do: one POST per commit and address, from a queue of its own, so that an address that
// hangs holds up nothing.
import { createHash } from 'node:crypto';
import type { Queue } from 'bullmq';
import type { RolloutStep } from '../rollout/types.js';
import type { CommitAnswer, RolloutRecord } from '../store/types.js';
import type { QueueFactory } from './queues.js';
import { WatchedWorker } from './watched-worker.js';

const TIMEOUT_MS = 10_000;
const ATTEMPTS = 10;

/** The body of a notification, as JSON. */
export interface Notification {
  readonly fleet: string;
  readonly rollout: string;
  readonly model: string;
  readonly revision: number;
  /** As in the audit trail. */
  readonly event: string;
  readonly message: string;
  readonly actor: string;
  readonly hosts: number;
  readonly phase: string;
  readonly outcome: string | null;
  /** By the store's clock, ms. */
  readonly at: number;
}

interface NotifyJob {
  /** Which address, without saying it: jobs lie in Redis in clear text, and addresses may hold a secret. */
  readonly target: string;
  readonly body: Notification;
}

/** See the top of the file. At most one per commit and address arrives, and none when all controllers die at once. */
export class Notifier {
  private readonly queue: Queue<NotifyJob>;
  readonly worker: WatchedWorker<NotifyJob>;
  private readonly urls: ReadonlyMap<string, string>;
  private readonly ends = new AbortController();

  constructor(
    private readonly factory: QueueFactory,
    private readonly fleet: string,
    urls: readonly string[],
    private readonly onError: (error: unknown) => void,
  ) {
    this.urls = new Map(urls.map((url) => [targetOf(url), url]));
    this.queue = factory.queue('notify');
    this.worker = new WatchedWorker(this.queue, {
      ...{ factory, name: 'notify', work: ({ data }) => this.post(data) },
      options: { concurrency: 4 },
    });
  }

  /** Must not throw. */
  committed({ id, model }: Omit<RolloutRecord, 'plan'>, { audit, state }: RolloutStep, answer: CommitAnswer): void {
    if (!audit) return;
    const { event, message, actor, hosts } = audit;
    const { revision, at } = answer;
    const what = { fleet: this.fleet, rollout: id, model, revision, event, message, actor, hosts, at };
    const body: Notification = { ...what, phase: state.phase, outcome: state.outcome ?? null };
    const jobs = [...this.urls.keys()].map((target) => ({
      name: 'notify',
      data: { target, body },
      opts: {
        jobId: `${id}-${revision}-${target}`,
        attempts: ATTEMPTS,
        backoff: { type: 'exponential', delay: 1_000 },
        removeOnComplete: { age: 3_600, count: 1_000 },
        removeOnFail: { age: 86_400, count: 1_000 },
      },
    }));
    this.queue.addBulk(jobs).catch((error) => {
      if (!this.ends.signal.aborted) this.onError(error);
    });
  }

  async close(): Promise<void> {
    this.ends.abort();
    await Promise.all([this.worker.close(), this.factory.closeQueue(this.queue)]);
  }

  private async post({ target, body }: NotifyJob): Promise<void> {
    const url = this.urls.get(target);
    if (url === undefined) throw this.factory.unrecoverable('no controller that is left has this address');
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `${body.rollout}-${body.revision}` },
      body: JSON.stringify(body),
      signal: AbortSignal.any([this.ends.signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`the answer was ${response.status}`);
  }
}

function targetOf(url: string): string {
  return `t${createHash('sha256').update(url).digest('hex').slice(0, 12)}`;
}
