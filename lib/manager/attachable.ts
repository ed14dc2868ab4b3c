import { randomUUID } from 'node:crypto';
import type { NativeManager } from '../native/binding.js';
import { AttachedVersionsManager, type AttachOptions } from './attached.js';
import { type MetricsSnapshot, mergeSnapshots, VersionMetrics } from './metrics.js';
import type { VersionEntry } from './registry.js';
import { ServableReader } from './servable-reader.js';

/** The side of a manager that other threads see. */
export abstract class AttachableReader extends ServableReader {
  /** @internal */
  protected abstract readonly core: NativeManager;
  private token: string | undefined;

  /**
   * Reads from a manager that another thread of this process made, through a registry of this thread. What is available
   * there and shareable (ONNX models) is available here when the call returns; see {@link AttachOptions.loaders} for the
   * rest.
   *
   * @param token The manager's {@link AttachableReader.attachToken}, as this thread was told it.
   * @throws AspiredError ERR_ATTACH_FAILED when no open manager of this process has that token, ERR_INVALID_ARGUMENT,
   *   ERR_UNKNOWN_OPTION.
   */
  static attach(token: string, options: AttachOptions = {}): AttachedVersionsManager {
    return new AttachedVersionsManager(token, options);
  }

  /**
   * By this string other threads attach to the manager: hand it to a worker (`workerData`, a message). It cannot be
   * guessed, and holds until the manager closes. Made when it is first asked for; a manager that was never asked has no
   * cost from all this.
   *
   * @throws AspiredError ERR_MANAGER_CLOSED
   */
  get attachToken(): string {
    this.checkOpen();
    if (this.token === undefined) {
      const token = randomUUID();
      this.core.share(token);
      this.token = token;
    }
    return this.token;
  }

  /** What was counted in all threads. A request that was under way in a thread when that ended is none. */
  protected override snapshotOf(entry: VersionEntry): MetricsSnapshot | undefined {
    const own = super.snapshotOf(entry);
    if (this.token === undefined) return own;
    const others = this.core.getCounters(entry.token).map(([counters, isAttached]) => {
      const snapshot = new VersionMetrics(counters).snapshot();
      return isAttached ? snapshot : { ...snapshot, inFlight: 0 };
    });
    return others.length === 0 ? own : mergeSnapshots(own ? [own, ...others] : others);
  }
}
