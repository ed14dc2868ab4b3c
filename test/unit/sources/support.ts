// What the tests of the sources share: version directories on disk, time turned by hand, a target that writes down.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AspiredVersion, Loader, SourceClock } from 'aspired';

/** A folder for one test, gone after it. */
export function tempDir(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'aspired-source-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Makes a version directory with one file in it; returns its path. */
export function addVersion(base: string, name: string | number, content = 'weights'): string {
  const path = join(base, String(name));
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'weights'), content);
  return path;
}

/** Time that passes only when told to. Starts at the real time, plus `aheadMs`: files made now are that old then. */
export class ManualClock implements SourceClock {
  #now: number;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  constructor(aheadMs = 0) {
    this.#now = Date.now() + aheadMs;
  }

  /** Timers that are due some time. */
  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Lets time pass and runs what becomes due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = end;
  }
}

/** A list as it arrived. */
export interface Received<Item> {
  readonly name: string;
  readonly items: readonly Item[];
}

/** A target that writes down what it gets, and can throw, hang or close. */
export class RecordingTarget<Item> {
  readonly lists: Received<Item>[] = [];
  /** Called before a list is written down; what it throws is thrown, what it returns is returned. */
  onList: ((name: string, items: readonly Item[]) => unknown) | undefined;
  readonly #closing = new Set<() => void>();
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  setAspiredVersions(name: string, items: readonly Item[]): unknown {
    const answer = this.onList?.(name, items);
    this.lists.push({ name, items });
    for (const wait of this.#waiting) if (this.lists.length >= wait.count) wait.resolve();
    return answer;
  }

  [Symbol.for('aspired.onClose')](callback: () => void): () => void {
    this.#closing.add(callback);
    return () => void this.#closing.delete(callback);
  }

  get closeCallbacks(): number {
    return this.#closing.size;
  }

  close(): void {
    for (const callback of [...this.#closing]) callback();
  }

  /** Resolves when `count` lists arrived in all; rejects after 10 s. */
  async received(count: number): Promise<readonly Received<Item>[]> {
    if (this.lists.length < count) {
      await withDeadline(
        new Promise<void>((resolve) => this.#waiting.push({ count, resolve })),
        `${count} lists (there are ${this.lists.length})`,
      );
    }
    return this.lists;
  }

  /** The versions of the lists of one name, in the order in which they arrived. */
  versionsOf(this: RecordingTarget<Item & { readonly version: number }>, name: string): number[][] {
    return this.lists.filter((list) => list.name === name).map((list) => list.items.map((item) => item.version));
  }
}

/** The manager's place. */
export const loaderTarget = () => new RecordingTarget<AspiredVersion>();

/** `promise`, or a failure that says what was waited for. */
export async function withDeadline<R>(promise: Promise<R>, what: string, ms = 10_000): Promise<R> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Still waiting for ${what} after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** A loader whose servable is `value`. */
export const loaderOf = <T>(value: T): Loader<T> => ({ load: () => value });

/** The servable of the only, or the given, item of a list. */
export async function servableOf(item: AspiredVersion | undefined): Promise<unknown> {
  assert.ok(item?.loader, 'the item has a loader');
  const id = { name: 'any', version: item.version };
  return item.loader.load({ id, signal: new AbortController().signal, attempt: 1 });
}

/** Checks code and status of an AspiredError. */
export function coded(code: string, status?: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code?: unknown }).code, code, String(error));
    if (status !== undefined) assert.equal((error as { status?: unknown }).status, status);
    return true;
  };
}
