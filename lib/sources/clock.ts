import { performance } from 'node:perf_hooks';

/** Time as the sources see it: real, or turned by hand in a test. */
export interface SourceClock {
  /** Milliseconds since the epoch; must not jump. */
  now(): number;
  /** Calls `callback` once after `ms`. The timer must not keep the process alive. Returns what takes it back. */
  after(ms: number, callback: () => void): () => void;
}

/** Monotonic, starts at the wall clock's time: a step of the wall clock neither shortens nor stretches a wait. */
export const systemClock: SourceClock = {
  now: () => performance.timeOrigin + performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
};
