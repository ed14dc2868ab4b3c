import { AspiredError } from '../errors.js';
import { describe, invalidOption } from '../options.js';
import type { AspiredVersion, Loader, ServableId } from '../types.js';
import { createAdapter, hasError, itemError, type SourceAdapter } from './adapters.js';
import { type SourceClock, systemClock } from './clock.js';
import { Relay } from './relay.js';
import { isThenable, onClose, type SourceItem, type SourceTarget } from './source.js';

const firstRetryMs = 1000;
const longestRetryMs = 60_000;

type Outcome<T> = AspiredVersion<T> | Promise<AspiredVersion<T>>;

interface Retry {
  failures: number;
  at: number;
}

interface Entry<P, T> {
  readonly payload: P;
  readonly revision: string | undefined;
  readonly digest: string | undefined;
  readonly retry: Retry;
  /** What the factory made of it: a promise until an asynchronous one has answered. */
  outcome: Outcome<T>;
}

interface Stream<P, T> {
  items: readonly SourceItem<P>[];
  readonly entries: Map<number, Entry<P, T>>;
}

/**
 * The last stage before a manager: makes a loader of each payload.
 *
 * An item that comes again unchanged in the next list keeps its loader object, so that a list in which one version is
 * new, or has another digest, costs one loader. A loader is forgotten as soon as a list does not name its version: `load` is never called on a
 * loader that was unloaded.
 */
export class LoaderStage<P, T> implements SourceTarget<SourceItem<P>> {
  readonly #make: (payload: P, id: ServableId) => Loader<T> | Promise<Loader<T>>;
  readonly #relay: Relay<SourceItem<P>, AspiredVersion<T>>;
  readonly #streams = new Map<string, Stream<P, T>>();
  readonly #clock: SourceClock;

  constructor(
    target: SourceTarget<AspiredVersion<T>>,
    make: (payload: P, id: ServableId) => Loader<T> | Promise<Loader<T>>,
    clock: SourceClock = systemClock,
  ) {
    this.#make = make;
    this.#clock = clock;
    this.#relay = new Relay(target, (name, item) => this.#outcomeOf(name, item));
  }

  setAspiredVersions(name: string, items: readonly SourceItem<P>[]): unknown {
    const stream = this.#streams.get(name) ?? { items, entries: new Map() };
    stream.items = items;
    this.#streams.set(name, stream);
    const named = new Set(items.map((item) => item.version));
    for (const version of stream.entries.keys()) {
      if (!named.has(version)) stream.entries.delete(version);
    }
    const answer = this.#relay.setAspiredVersions(name, items);
    if (items.length === 0) this.#streams.delete(name);
    return answer;
  }

  [onClose](callback: () => void): () => void {
    return this.#relay[onClose](callback);
  }

  /** The next list makes new loaders for all its items. */
  forget(name: string): void {
    this.#streams.delete(name);
  }

  /**
   * Asks the factory again for the items that it failed for, each after a pause that grows from 1 s to 60 s. The list
   * goes to the target only when one of them came out well: a source that pushes nothing new must not leave a version
   * in error for good, nor reset the manager's own retries.
   */
  retryFailed(name: string): unknown {
    const stream = this.#streams.get(name);
    if (stream === undefined) return undefined;
    const { items } = stream;
    const now = this.#clock.now();
    const outcomes: Outcome<T>[] = [];
    for (const [version, entry] of stream.entries) {
      if (isThenable(entry.outcome) || entry.outcome.error === undefined || now < entry.retry.at) continue;
      settleInto(entry, this.#call({ name, version }, entry));
      outcomes.push(entry.outcome);
    }
    const pushIfBetter = (settled: readonly AspiredVersion<T>[]): unknown => {
      // A list that came meanwhile waits for the same outcomes and carries them itself.
      const current = this.#streams.get(name)?.items === items;
      const better = settled.some((outcome) => outcome.error === undefined);
      return current && better ? this.setAspiredVersions(name, items) : undefined;
    };
    if (!outcomes.some(isThenable)) return pushIfBetter(outcomes as AspiredVersion<T>[]);
    return Promise.all(outcomes).then(pushIfBetter);
  }

  #outcomeOf(name: string, item: SourceItem<P>): Outcome<T> {
    const { version } = item;
    if (hasError(item)) return { version, error: item.error };
    const { payload, revision, digest } = item;
    const entries = this.#streams.get(name)?.entries;
    const known = entries?.get(version);
    const isKnown = known && Object.is(known.payload, payload);
    if (isKnown && known.revision === revision && known.digest === digest) return known.outcome;
    const made = { payload, revision, digest, retry: { failures: 0, at: 0 } };
    const outcome = this.#call({ name, version }, made);
    const entry = { ...made, outcome };
    settleInto(entry, outcome);
    entries?.set(version, entry);
    return outcome;
  }

  /** Calls the factory once. Never throws, never rejects. */
  #call(id: ServableId, { payload, digest, retry }: Omit<Entry<P, T>, 'outcome'>): Outcome<T> {
    const failed = (thrown: unknown): AspiredVersion<T> => {
      retry.at = this.#clock.now() + Math.min(firstRetryMs * 2 ** retry.failures++, longestRetryMs);
      return { version: id.version, error: itemError(thrown, id) };
    };
    const made = (loader: Loader<T>): AspiredVersion<T> => {
      const isLoader = typeof (loader as Partial<Loader<T>> | null | undefined)?.load === 'function';
      if (!isLoader) return failed(invalidLoader(id, loader));
      return { version: id.version, loader, ...(digest === undefined ? {} : { digest }) };
    };
    try {
      const loader = this.#make(payload, id);
      return isThenable(loader) ? Promise.resolve(loader).then(made, failed) : made(loader as Loader<T>);
    } catch (error) {
      return failed(error);
    }
  }
}

function settleInto<P, T>(entry: Entry<P, T>, outcome: Outcome<T>): void {
  entry.outcome = outcome;
  if (!isThenable(outcome)) return;
  void outcome.then((settled) => {
    entry.outcome = settled;
  });
}

/**
 * The adapter that ends a chain: makes a loader of each payload. What `make` throws, or rejects with, becomes the
 * error of that one version. An item that comes again unchanged keeps its loader.
 */
export function toLoaders<P, T>(
  make: (payload: P, id: ServableId) => Loader<T> | Promise<Loader<T>>,
): SourceAdapter<SourceItem<P>, AspiredVersion<T>> {
  if (typeof make !== 'function') throw invalidOption('make', 'a function', make);
  return createAdapter((target) => new LoaderStage(target, make));
}

function invalidLoader(id: ServableId, value: unknown): AspiredError {
  return new AspiredError(
    'ERR_INVALID_LOADER',
    `Expected a loader with a load function for ${id.name}/${id.version}, but received ${describe(value)}.`,
    { servable: id },
  );
}
