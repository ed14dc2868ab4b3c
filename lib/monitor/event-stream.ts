import type { ServableStateEvent } from '../types.js';

/**
 * The events of one subscriber: an async iterator with a bounded buffer. When the subscriber is slower than the events,
 * the oldest ones are dropped and counted.
 */
export class EventStream implements AsyncIterableIterator<ServableStateEvent> {
  /** Events that were dropped because the buffer was full. */
  dropped = 0;
  private readonly buffer: ServableStateEvent[] = [];
  private waiting: { resolve(r: IteratorResult<ServableStateEvent>): void; reject(e: unknown): void }[] = [];
  private ended = false;
  private failure: { reason: unknown } | undefined;
  private readonly onAbort: () => void;

  /** @internal Made by `manager.events()`. */
  constructor(
    private readonly capacity: number,
    private readonly signal: AbortSignal | undefined,
    private readonly onEnd: (stream: EventStream) => void,
  ) {
    this.onAbort = () => this.fail(this.signal?.reason);
    if (signal?.aborted) this.fail(signal.reason);
    else signal?.addEventListener('abort', this.onAbort, { once: true });
  }

  /** @internal */
  push(event: ServableStateEvent): void {
    if (this.ended) return;
    const waiting = this.waiting.shift();
    if (waiting) {
      waiting.resolve({ value: event, done: false });
      return;
    }
    if (this.buffer.length >= this.capacity) {
      this.buffer.shift();
      this.dropped++;
    }
    this.buffer.push(event);
  }

  /** @internal No event will follow; what is buffered can still be read. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.signal?.removeEventListener('abort', this.onAbort);
    for (const { resolve } of this.waiting) resolve({ value: undefined, done: true });
    this.waiting = [];
    this.onEnd(this);
  }

  private fail(reason: unknown): void {
    if (this.ended) return;
    const waiting = this.waiting;
    this.waiting = [];
    // Who waits is told; otherwise the next call is.
    if (waiting.length === 0) this.failure = { reason };
    for (const { reject } of waiting) reject(reason);
    this.buffer.length = 0;
    this.end();
  }

  next(): Promise<IteratorResult<ServableStateEvent>> {
    if (this.failure) {
      const { reason } = this.failure;
      this.failure = undefined;
      return Promise.reject(reason);
    }
    const event = this.buffer.shift();
    if (event) return Promise.resolve({ value: event, done: false });
    if (this.ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<ServableStateEvent>> {
    this.buffer.length = 0;
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
