import { AspiredError } from '../errors.js';
import type { ServableId } from '../types.js';
import { release, type VersionEntry } from './registry.js';

/**
 * A lease on one version: while it is held the servable is neither unloaded nor closed. Hold it for one request; a held
 * handle delays the unload of its own version and nothing else. Release it with {@link ServableHandle.release} or
 * `using`.
 */
export class ServableHandle<T = unknown> implements Disposable {
  private entry: VersionEntry | undefined;

  /** @internal The lease was counted by the caller. */
  constructor(entry: VersionEntry) {
    this.entry = entry;
  }

  /** The version that was resolved. */
  get id(): ServableId {
    return (this.entry ?? throwReleased()).id;
  }

  /**
   * The servable.
   * @throws AspiredError ERR_HANDLE_RELEASED after release().
   */
  get servable(): T {
    return (this.entry ?? throwReleased()).servable as T;
  }

  /** Gives the lease back. Further calls do nothing. */
  release(): void {
    const entry = this.entry;
    if (entry === undefined) return;
    this.entry = undefined;
    release(entry);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

function throwReleased(): never {
  throw new AspiredError('ERR_HANDLE_RELEASED', 'The servable handle was used after its release().');
}

/**
 * Finds handles that were dropped without a release: by watching every handle, or one in 1,024, because a
 * FinalizationRegistry costs half a microsecond per handle. A leak that is found is warned of once per servable, and its
 * lease is given back.
 */
export class LeakDetector {
  private readonly warned = new Set<string>();
  private readonly registry = new FinalizationRegistry<VersionEntry>((entry) => this.found(entry));

  watch(handle: ServableHandle, entry: VersionEntry): void {
    const token = {};
    this.registry.register(handle, entry, token);
    const plain = handle.release;
    // Only a watched handle pays for being watched.
    handle.release = () => {
      this.registry.unregister(token);
      plain.call(handle);
    };
  }

  private found(entry: VersionEntry): void {
    release(entry);
    if (this.warned.has(entry.id.name)) return;
    this.warned.add(entry.id.name);
    process.emitWarning(
      `A handle of ${entry.id.name}/${entry.id.version} was collected without release(). Its version could not be ` +
        'unloaded until now; use withServable(), or release() in a finally block.',
      { type: 'AspiredWarning', code: 'ASPIRED_LEAKED_HANDLE' },
    );
  }
}
