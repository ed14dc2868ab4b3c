// A manager for which every version is Available at once: so that a thousand hosts fit into a process, and what is
// measured is the fleet and not the loads.
import type { AspiredVersion, AspiredVersionsManager, Transition } from 'aspired';
import { EventStream } from '#lib/monitor/event-stream.js';

interface Stream {
  readonly versions: readonly number[];
  readonly primary: number | undefined;
}

/** Told of each list, when the agent has written it down and acts on it. */
export type OnAspired = (model: string, versions: readonly number[]) => void;

/** What an agent needs of a manager, and no more. */
export function stubManager(onAspired: OnAspired): AspiredVersionsManager {
  const streams = new Map<string, Stream>();
  const noMemory = { devices: [], versions: [] };
  const stub = {
    setAspiredVersions(
      name: string,
      list: readonly AspiredVersion[],
      options?: { primary?: number | null },
    ): Transition {
      const versions = list.map(({ version }) => version);
      if (versions.length > 0) streams.set(name, { versions, primary: options?.primary ?? versions.at(-1) });
      else streams.delete(name);
      onAspired(name, versions);
      const states = versions.map((version) => ({ version, managerState: 'Available' as const }));
      return { name, settled: Promise.resolve({ name, versions: states, superseded: false }) };
    },
    getServableStates: (name: string) =>
      (streams.get(name)?.versions ?? []).map((version) => ({
        id: { name, version },
        state: 'Ready',
        managerState: 'Available',
        aspired: true,
        attempts: 1,
        incarnation: 1,
        degraded: false,
        leases: 0,
        standby: false,
        baking: false,
        bad: false,
      })),
    getServableMetrics: () => [],
    getServableHandle(name: string) {
      const version = streams.get(name)?.primary;
      if (version === undefined) throw new Error(`There is no ${name}`);
      return { id: { name, version }, servable: undefined, release: () => {} };
    },
    events: ({ signal }: { signal?: AbortSignal } = {}) => new EventStream(1, signal, () => {}),
    resources: () => noMemory,
  };
  return stub as unknown as AspiredVersionsManager;
}
