// Work that is done again and again until somebody closes it.

/** One piece of work that never overlaps with itself. Its timers keep no process alive. */
export class Repeater {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private closed = false;

  /**
   * @param work What it rejects with goes to `onError`, and it goes on.
   * @param intervalMs From the end of one run to the begin of the next, asked each time.
   */
  constructor(
    private readonly work: () => Promise<void>,
    private readonly intervalMs: () => number,
    private readonly onError: (error: unknown) => void,
  ) {}

  start(): void {
    this.schedule(0);
  }

  /** Runs soon, instead of when it was due. */
  nudge(): void {
    if (!this.running) this.schedule(0);
  }

  /** Ends when the run that is under way has ended: the caller sees to it that it does. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.timer = setTimeout(() => {
      this.running = this.run().finally(() => {
        this.running = undefined;
        this.schedule(this.intervalMs());
      });
    }, ms);
    this.timer.unref();
  }

  private async run(): Promise<void> {
    try {
      await this.work();
    } catch (error) {
      this.onError(error);
    }
  }
}
