// What is to be done besides ticks. With Redis it goes through queues, see queues.ts; this is the way without.
import { setTimeout as sleep } from 'node:timers/promises';
import type { RolloutStep } from '../rollout/types.js';
import type { CommitAnswer, RolloutRecord } from '../store/types.js';
import type { GateErrand } from './gate-desk.js';

/** After an answer that was no verdict, in ms. */
export const NEXT_ROUND_MS = 5_000;

/** Must not throw, and must not wait. */
export interface Errands {
  /** Puts a tick into a queue; undefined: there is none, ticks run here. */
  readonly enqueue: ((rollout: string) => void) | undefined;
  /** Asks a webhook; the same errand again is none. */
  gate(errand: GateErrand): void;
  /** Tells who wants to know. */
  committed(record: Omit<RolloutRecord, 'plan'>, step: RolloutStep, answer: CommitAnswer): void;
  /** Looks after the queues, every few seconds. */
  supervise(): Promise<void>;
  readonly replacedWorkers: number;
  close(): Promise<void>;
}

/** Who does the work. */
export interface Workforce {
  readonly tick: (rollout: string) => Promise<void>;
  readonly gate: (errand: GateErrand, signal: AbortSignal) => Promise<void>;
  readonly onGateDone: (errand: GateErrand) => void;
  readonly onError: (error: unknown) => void;
}

export type MakeErrands = (workforce: Workforce) => Errands;

/** Without queues. */
export const localErrands: MakeErrands = (workforce) => new LocalErrands(workforce);

/** Webhooks asked by this process, each errand once at a time. */
export class LocalErrands implements Errands {
  private readonly running = new Map<string, Promise<void>>();
  private readonly ends = new AbortController();

  readonly enqueue = undefined;
  readonly replacedWorkers = 0;

  constructor(private readonly workforce: Workforce) {}

  gate(errand: GateErrand): void {
    const key = JSON.stringify(errand);
    if (this.running.has(key) || this.ends.signal.aborted) return;
    this.running.set(
      key,
      this.run(errand).finally(() => this.running.delete(key)),
    );
  }

  committed(): void {}

  async supervise(): Promise<void> {}

  async close(): Promise<void> {
    this.ends.abort();
    await Promise.all(this.running.values());
  }

  private async run(errand: GateErrand): Promise<void> {
    const { signal } = this.ends;
    try {
      if (errand.round > 0) await sleep(NEXT_ROUND_MS, undefined, { signal, ref: false });
      await this.workforce.gate(errand, signal);
      this.workforce.onGateDone(errand);
    } catch (error) {
      if (!signal.aborted) this.workforce.onError(error);
    }
  }
}
