import { type FSWatcher, watch } from 'node:fs';
import type { SourceClock } from './clock.js';

/** Events come in bursts: one wake-up this long after the first of a burst, in milliseconds. */
const burstMs = 50;

/**
 * Wakes a poll when something happens in a directory. Only ever a hint: where the system cannot watch (no such
 * feature, no handles left, a network file system) nothing happens, and polling goes on as always.
 */
export class DirectoryWatcher {
  readonly #clock: SourceClock;
  readonly #wake: () => void;
  #watcher: FSWatcher | undefined;
  #identity: string | undefined;
  #cancelWake: (() => void) | undefined;

  constructor(clock: SourceClock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Whether the system tells of changes. */
  get active(): boolean {
    return this.#watcher !== undefined;
  }

  /**
   * Watches `path`, which was just listed as the directory `identity`; another directory under the same path gets a
   * new watch. The call is synchronous in the system, so it must not be made for a path that may hang.
   */
  follow(path: string, identity: string): void {
    if (this.#identity === identity) return;
    this.#stopWatching();
    this.#identity = identity;
    try {
      const watcher = watch(path, { persistent: false });
      watcher.on('change', () => this.#changed());
      watcher.on('error', () => this.#stopWatching());
      this.#watcher = watcher;
    } catch {
      // Polling finds what the system does not tell; the next directory under this path is tried again.
    }
  }

  /** Ends the watch, and forgets a wake-up that is due. */
  close(): void {
    this.#stopWatching();
    this.#identity = undefined;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
  }

  #changed(): void {
    if (this.#watcher === undefined) return;
    this.#cancelWake ??= this.#clock.after(burstMs, () => {
      this.#cancelWake = undefined;
      this.#wake();
    });
  }

  #stopWatching(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
