// How long loads took, from the events of the manager. A figure for people; nothing is decided by it.
import type { ServableStateEvent } from '../../index.js';

interface Times {
  readonly incarnation: number;
  readonly loadingAt?: number;
  readonly loadMs?: number;
}

export class LoadTimes {
  private readonly byModel = new Map<string, Map<number, Times>>();

  note({ id, managerState, at, incarnation }: ServableStateEvent): void {
    if (managerState === 'End') {
      const versions = this.byModel.get(id.name);
      if (versions?.delete(id.version) && versions.size === 0) this.byModel.delete(id.name);
    } else if (managerState === 'Loading') {
      this.put(id.name, id.version, { incarnation, loadingAt: at });
    } else if (managerState === 'Available') {
      const begun = this.byModel.get(id.name)?.get(id.version);
      if (begun?.incarnation !== incarnation || begun.loadingAt === undefined) return;
      this.put(id.name, id.version, { incarnation, loadMs: Math.max(0, Math.round(at - begun.loadingAt)) });
    }
  }

  /** Milliseconds from Loading to Available; undefined: it was not seen. */
  of(model: string, version: number): number | undefined {
    return this.byModel.get(model)?.get(version)?.loadMs;
  }

  private put(model: string, version: number, times: Times): void {
    const versions = this.byModel.get(model);
    if (versions) versions.set(version, times);
    else this.byModel.set(model, new Map([[version, times]]));
  }
}
