// What there is to say of one model: what the manager shows, put into the words of a report.
import type { AspiredVersionsManager, ServableVersionState } from '../../index.js';
import type { ModelReport, VersionReport } from '../types.js';
import type { AcceptedCell } from './accepted-file.js';
import { failureOf } from './failures.js';
import type { LoadTimes } from './load-times.js';
import type { Prefetches } from './prefetches.js';

/** Main memory of each version, by 'name/version'. */
export type Memory = ReadonlyMap<string, number>;

export interface ModelReportsOptions {
  readonly manager: AspiredVersionsManager;
  readonly prefetches: Prefetches;
  readonly loadTimes: LoadTimes;
  /** The model has to be looked at again soon. */
  readonly lookAgain: (model: string) => void;
}

export class ModelReports {
  /** Versions that ended with no retry in sight at the last look. */
  private readonly suspects = new Map<string, number>();

  constructor(private readonly options: ModelReportsOptions) {}

  of(model: string, { cell, takenBack }: AcceptedCell, memory: Memory): ModelReport {
    const { manager, prefetches } = this.options;
    const traffic = new Map(manager.getServableMetrics(model).map(({ id, snapshot }) => [id.version, snapshot]));
    // A standby is gone as far as the fleet can tell: nobody can read it, and it gives its memory to whoever needs it.
    const states = manager.getServableStates(model).filter(({ standby }) => !standby);
    const versions: VersionReport[] = states.map((state) => {
      const counted = traffic.get(state.id.version);
      return { ...this.versionOf(state, memory), ...(counted && counted.requests > 0 ? { traffic: counted } : {}) };
    });
    const fetched = prefetches.reportOf(model);
    if (fetched && !versions.some(({ version }) => version === fetched.version)) versions.push(fetched);
    versions.sort((a, b) => a.version - b.version);
    const primary = resolved(manager, model);
    return {
      generation: cell.generation,
      ...(takenBack ? { rolledBack: takenBack } : {}),
      ...(primary === undefined ? {} : { primary }),
      versions,
    };
  }

  private versionOf(state: ServableVersionState, memory: Memory): VersionReport {
    const { id, managerState, error, attempts } = state;
    const ramBytes = memory.get(`${id.name}/${id.version}`);
    const loadMs = this.options.loadTimes.of(id.name, id.version);
    return {
      version: id.version,
      managerState,
      ...(error ? { error: failureOf(error, attempts, this.isFinal(state)) } : {}),
      ...(ramBytes === undefined ? {} : { ramBytes }),
      ...(loadMs === undefined ? {} : { loadMs }),
    };
  }

  // The manager says "no retry" by not naming a time for one; for a moment after a failure it has not named it yet. So it
  // takes two looks at the same incarnation: a failure that is called permanent wrongly ends a rollout.
  private isFinal({ id, managerState, aspired, nextRetryAt, incarnation, bad }: ServableVersionState): boolean {
    const key = `${id.name}/${id.version}`;
    const ended = bad || (managerState === 'End' && aspired && nextRetryAt === undefined);
    if (!ended) {
      this.suspects.delete(key);
      return false;
    }
    if (bad || this.suspects.get(key) === incarnation) return true;
    this.suspects.set(key, incarnation);
    this.options.lookAgain(id.name);
    return false;
  }
}

/** What a plain name resolves to now. */
function resolved(manager: AspiredVersionsManager, model: string): number | undefined {
  try {
    const handle = manager.getServableHandle(model);
    const { version } = handle.id;
    handle.release();
    return version;
  } catch {
    return undefined;
  }
}

/** What versions take of main memory, reserved or measured, whichever is more, and all of them together. */
export function memoryOf(manager: AspiredVersionsManager): { readonly byVersion: Memory; readonly usedBytes: number } {
  const { devices, versions } = manager.resources();
  const byVersion = new Map<string, number>();
  for (const { id, shares, givenUp } of versions) {
    // Beside the version itself, or after it is gone; in `usedBytes` it counts.
    if (givenUp) continue;
    const share = shares.find(({ device }) => device === 'ram');
    // What a load of it has to find room for, as much as what it took.
    const bytes = share && Math.max(share.measured, share.reserved);
    if (bytes) byVersion.set(`${id.name}/${id.version}`, Math.round(bytes));
  }
  const ram = devices.find(({ device }) => device === 'ram');
  return { byVersion, usedBytes: Math.round(Math.max(0, ram?.reserved ?? 0, ram?.measured ?? 0)) };
}
