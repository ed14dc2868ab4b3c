// Artefacts on their way to this host: at most one version of a model at a time.
import type { ServableId } from '../../index.js';
import type { VersionReport } from '../types.js';
import { failureOf } from './failures.js';
import type { FleetPrefetch } from './options.js';
import { backOff } from './pause.js';

const FIRST_PAUSE_MS = 1_000;
const MOST_PAUSE_MS = 60_000;

/** One version that is to be fetched, through all its attempts. */
class Fetching {
  readonly controller = new AbortController();
  managerState: 'Prefetching' | 'Prefetched' | 'End' = 'Prefetching';
  attempts = 0;
  error: VersionReport['error'];
  timer: NodeJS.Timeout | undefined;
  /** The attempt under way; never rejects. */
  running: Promise<void> | undefined;

  constructor(readonly id: ServableId) {}

  end(): void {
    clearTimeout(this.timer);
    this.controller.abort();
  }
}

export class Prefetches {
  private readonly byModel = new Map<string, Fetching>();

  /** @param changed Called when what there is to report of a model has changed. */
  constructor(
    private readonly prefetch: FleetPrefetch | undefined,
    private readonly changed: (model: string) => void,
  ) {}

  /**
   * The version is to be fetched; undefined: none is. One that was on its way for another version is aborted, but not one
   * for a version that is to be loaded now: the load waits for it.
   */
  want(model: string, version: number | undefined, loading: readonly number[]): void {
    const now = this.byModel.get(model);
    if (now?.id.version === version) return;
    if (now) {
      this.byModel.delete(model);
      if (version === undefined && now.running && loading.includes(now.id.version)) {
        this.byModel.set(model, now);
        return;
      }
      now.end();
    }
    if (version === undefined) return;
    const fetching = new Fetching({ name: model, version });
    this.byModel.set(model, fetching);
    this.attempt(fetching);
  }

  private attempt(fetching: Fetching): void {
    const { prefetch } = this;
    if (!prefetch) {
      fetching.managerState = 'Prefetched';
      return;
    }
    fetching.managerState = 'Prefetching';
    fetching.attempts++;
    fetching.running = this.run(fetching, prefetch);
    this.changed(fetching.id.name);
  }

  private async run(fetching: Fetching, prefetch: FleetPrefetch): Promise<void> {
    const { id, controller } = fetching;
    try {
      await prefetch({ ...id }, { signal: controller.signal });
      fetching.managerState = 'Prefetched';
      fetching.error = undefined;
    } catch (error) {
      fetching.managerState = 'End';
      fetching.error = failureOf(error, fetching.attempts, false);
    }
    fetching.running = undefined;
    if (controller.signal.aborted) return;
    if (fetching.managerState === 'End') {
      const pause = backOff(fetching.attempts, FIRST_PAUSE_MS, MOST_PAUSE_MS);
      fetching.timer = setTimeout(() => this.attempt(fetching), pause);
      fetching.timer.unref();
    }
    this.changed(id.name);
  }

  /** What there is to report; undefined: no version of the model is to be fetched. */
  reportOf(model: string): VersionReport | undefined {
    const fetching = this.byModel.get(model);
    if (!fetching) return undefined;
    const { id, managerState, error } = fetching;
    return { version: id.version, managerState, ...(error ? { error } : {}) };
  }

  /** Resolves when the attempt that is under way for the version has ended, well or not; undefined: there is none. */
  running({ name, version }: ServableId): Promise<void> | undefined {
    const fetching = this.byModel.get(name);
    return fetching?.id.version === version ? fetching.running : undefined;
  }

  /** Aborts all. */
  close(): void {
    for (const fetching of this.byModel.values()) fetching.end();
    this.byModel.clear();
  }
}
