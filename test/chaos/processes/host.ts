// One host: a real manager, a real agent, readers; and a recorder beside them that sees what readers see.
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager, type Loader, type ServableId, type Transition } from 'aspired';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import type { DesiredCell } from '#lib/fleet/types.js';
import {
  answerMsOf,
  type ChaosHost,
  conductOf,
  FLEET,
  HEARTBEAT_MS,
  LEASE_MS,
  loadMsOf,
  MODELS,
  VERSION_BYTES,
} from '../fleet.js';
import type { Recorder } from '../history/recorder.js';

/** Between two bursts of requests for each model, in ms. */
const REQUEST_MS = 10;
/** Gates need a thousand requests or two. */
const BURST = 20;
/** Requests are written down in sums over as long, in ms. */
const SUM_MS = 250;

/** Tells what lists it is given. */
class RecordedManager extends AspiredVersionsManager {
  onList: ((model: string, versions: readonly number[]) => void) | undefined;

  override setAspiredVersions(...args: Parameters<AspiredVersionsManager['setAspiredVersions']>): Transition {
    const [name, versions] = args;
    this.onList?.(
      name,
      versions.map(({ version }) => version),
    );
    return super.setAspiredVersions(...args);
  }
}

export interface HostOptions {
  readonly host: ChaosHost;
  readonly recorder: Recorder;
  readonly redis: string;
  readonly stateDir: string;
  /** A version may take the process down. */
  readonly mayCrash: boolean;
}

interface LoadedVersion extends ServableId {
  /** When it was loaded, by performance.now(). */
  readonly since: number;
}

/** Waits for a late answer. */
type Late = (ms: number) => Promise<void>;

interface Sum {
  answered: number;
  failed: number;
  refused: number;
}

export class Host {
  /** Loads take so many times as long. */
  slowness = 1;
  readonly #manager: RecordedManager;
  #agent: FleetAgent | undefined;
  /** By model: what was written down last. */
  readonly #available = new Map<string, string>();
  readonly #cells = new Map<string, string>();
  readonly #sums = new Map<string, Sum>();
  #requests = 0;

  constructor(private readonly options: HostOptions) {
    const { id, capacity } = options.host;
    this.#manager = new RecordedManager({
      resources: { ram: capacity },
      manageStateIntervalMs: 20,
      maxNumLoadRetries: 1,
      loadRetryIntervalMs: 100,
      slowRetryIntervalMs: 1_000,
      onError: () => {},
    });
    this.#manager.onList = (model, versions) => {
      const generation = this.#agent?.status.accepted.get(model)?.generation;
      options.recorder.note({ e: 'list', host: id, model, versions, generation });
    };
  }

  async start(): Promise<void> {
    const { host, recorder, redis, stateDir } = this.options;
    const { id, zone, capacity } = host;
    recorder.note({ e: 'boot', host: id, zone, capacity });
    void this.#follow();
    this.#agent = await FleetAgent.start({
      ...{ fleet: FLEET, id, zone, capacity, stateDir, manager: this.#manager },
      store: { redis },
      loader: (of) => this.#loader(of),
      prefetch: (_of, { signal }) => sleep(10, undefined, { signal }),
      heartbeatIntervalMs: HEARTBEAT_MS,
      leaseMs: LEASE_MS,
      trafficIntervalMs: 100,
      onError: () => {}, // what is wrong is in the history: here it is meant to be
    });
    setInterval(() => this.#serve(), REQUEST_MS);
    setInterval(() => this.#writeSums(), SUM_MS);
  }

  async #follow(): Promise<void> {
    for await (const _event of this.#manager.events()) this.#look();
  }

  /** Writes down what changed for readers, and what was accepted. */
  #look(): void {
    const { recorder, host } = this.options;
    const ids = this.#manager.listAvailableServableIds();
    for (const model of MODELS) {
      const versions = ids.flatMap(({ name, version }) => (name === model ? [version] : [])).sort((a, b) => a - b);
      const primary = versions.length === 0 ? undefined : this.#primaryOf(model);
      const text = `${versions.join()}*${primary}`;
      if (this.#available.get(model) !== text && (versions.length > 0 || this.#available.has(model))) {
        recorder.note({ e: 'available', host: host.id, model, versions, primary });
        this.#available.set(model, text);
      }
    }
    for (const [model, cell] of this.#agent?.status.accepted ?? []) this.#lookAt(model, cell);
  }

  #lookAt(model: string, { generation, versions, primary, rolledBack }: DesiredCell): void {
    const text = `${generation} ${versions} ${primary} ${rolledBack}`;
    if (this.#cells.get(model) === text) return;
    this.#cells.set(model, text);
    const { recorder, host } = this.options;
    recorder.note({ e: 'cell', host: host.id, model, generation, versions, primary, rolledBack });
  }

  #primaryOf(model: string): number | undefined {
    try {
      using handle = this.#manager.getServableHandle(model);
      return handle.id.version;
    } catch {
      return undefined;
    }
  }

  /** Requests for each model that this host has had. */
  #serve(): void {
    this.#look();
    for (const model of this.#available.keys()) {
      const sum = this.#sumOf(model);
      // One timer for all of a burst.
      let pause: Promise<void> | undefined;
      const late = (ms: number): Promise<void> => (pause ??= sleep(ms));
      for (let request = 0; request < BURST; request++) this.#request(model, sum, late);
    }
  }

  #request(model: string, sum: Sum, late: Late): void {
    const answered = this.#manager.withServable<LoadedVersion, void>(model, ({ version, since }) => {
      const conduct = conductOf(version);
      if (conduct === 'requestErrors' && this.#requests++ % 10 < 6) throw new Error('wrong');
      sum.answered++;
      const ms = answerMsOf(conduct, performance.now() - since);
      return ms === 0 ? undefined : late(ms);
    });
    answered.catch((error: Error) => {
      if (error.message === 'wrong') sum.failed++;
      else sum.refused++;
    });
  }

  #sumOf(model: string): Sum {
    const sum = this.#sums.get(model) ?? { answered: 0, failed: 0, refused: 0 };
    this.#sums.set(model, sum);
    return sum;
  }

  #writeSums(): void {
    const { recorder, host } = this.options;
    for (const [model, sum] of this.#sums) recorder.note({ e: 'requests', host: host.id, model, ...sum });
    this.#sums.clear();
  }

  #loader(id: ServableId): Loader<LoadedVersion> {
    const { recorder, host, mayCrash } = this.options;
    const conduct = conductOf(id.version);
    const note = (e: 'loading' | 'loaded' | 'failed' | 'unloaded'): void => {
      recorder.note({ e, host: host.id, model: id.name, version: id.version, bytes: VERSION_BYTES });
    };
    return {
      estimateResources: () => ({ ram: VERSION_BYTES }),
      load: async ({ signal }) => {
        note('loading');
        try {
          await sleep(loadMsOf(conduct) * this.slowness, undefined, { signal });
          if (conduct === 'crash' && mayCrash) process.kill(process.pid, 'SIGKILL');
          if (conduct === 'loadError' || conduct === 'crash') throw new Error('This version cannot be loaded.');
        } catch (error) {
          note('failed');
          throw error;
        }
        note('loaded');
        return { ...id, since: performance.now() };
      },
      unload: () => note('unloaded'),
    };
  }
}
