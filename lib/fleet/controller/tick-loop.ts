// When which rollout is ticked. Redis may carry the ticks, but whether there are any is decided here, by timers of this
// process: a queue that was emptied, or a worker that hangs, delays a tick by one interval at most.
import type { Ticked } from './ticker.js';

/** One job goes on for as long while each tick leads to the next, in ms: much less than the lock of a job. */
const STRETCH_MS = 1_000;
/** After a tick that failed, in ms. */
const RETRY_MS = 500;

export interface TickLoopOptions {
  readonly tick: (rollout: string) => Promise<Ticked>;
  /** Puts a tick into the queue; absent: ticks run here at once. Must not throw. */
  readonly enqueue: ((rollout: string) => void) | undefined;
  /** Every active rollout is ticked at least so often, in ms. */
  readonly tickIntervalMs: number;
  readonly clock: () => number;
  /** After each tick of this process. */
  readonly onTicked: (rollout: string, ticked: Ticked) => void;
  readonly onError: (error: unknown) => void;
}

interface Entry {
  running: Promise<void> | undefined;
  /** Woken while it ran. */
  again: boolean;
  timer: NodeJS.Timeout | undefined;
  /** It ended while it ran. */
  over: boolean;
}

/** See the top of the file. */
export class TickLoop {
  private readonly entries = new Map<string, Entry>();
  private closed = false;

  constructor(private readonly options: TickLoopOptions) {}

  /** Rollouts that it has timers and ticks of. */
  get size(): number {
    return this.entries.size;
  }

  /** A tick as soon as possible, by whichever controller. */
  wake(rollout: string): void {
    if (this.closed) return;
    if (this.options.enqueue) this.options.enqueue(rollout);
    else void this.run(rollout);
  }

  /** Ticks now, in this process, until nothing more is to be done. Never rejects. */
  run(rollout: string): Promise<void> {
    const entry = this.entryOf(rollout);
    if (entry.running) {
      entry.again = true;
      return entry.running;
    }
    if (this.closed) return Promise.resolve();
    clearTimeout(entry.timer);
    entry.over = false;
    entry.running = this.stretch(rollout, entry).finally(() => {
      entry.running = undefined;
      if (entry.again) {
        entry.again = false;
        this.wake(rollout);
      } else if (entry.over) this.entries.delete(rollout);
    });
    return entry.running;
  }

  /** It is not active any more. */
  forget(rollout: string): void {
    const entry = this.entries.get(rollout);
    clearTimeout(entry?.timer);
    if (entry?.running) entry.over = true;
    else this.entries.delete(rollout);
  }

  /** Ends when the ticks that are under way have ended. */
  async close(): Promise<void> {
    this.closed = true;
    const running = [...this.entries.values()].flatMap((entry) => {
      clearTimeout(entry.timer);
      return entry.running ?? [];
    });
    await Promise.all(running);
  }

  private async stretch(rollout: string, entry: Entry): Promise<void> {
    const { tick, clock, tickIntervalMs, onTicked, onError } = this.options;
    const end = clock() + STRETCH_MS;
    try {
      let ticked = await tick(rollout);
      onTicked(rollout, ticked);
      while (ticked.outcome === 'committed' && clock() < end && !this.closed) {
        ticked = await tick(rollout);
        onTicked(rollout, ticked);
      }
      if (ticked.outcome === 'ended' || ticked.outcome === 'gone') entry.again = false;
      else if (ticked.outcome === 'committed') entry.again = true;
      else this.later(rollout, entry, Math.min(ticked.againInMs, tickIntervalMs));
    } catch (error) {
      onError(error);
      this.later(rollout, entry, RETRY_MS);
    }
  }

  private later(rollout: string, entry: Entry, ms: number): void {
    if (this.closed) return;
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => this.wake(rollout), Math.max(1, ms));
    entry.timer.unref();
  }

  private entryOf(rollout: string): Entry {
    let entry = this.entries.get(rollout);
    if (!entry) {
      entry = { running: undefined, again: false, timer: undefined, over: false };
      this.entries.set(rollout, entry);
    }
    return entry;
  }
}
