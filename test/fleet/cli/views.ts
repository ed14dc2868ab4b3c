// Rollouts as a screen may find them, and a fleet that answers what a test put in.
import { AspiredError } from 'aspired';
import type {
  HostView,
  Intent,
  RolloutPlan,
  RolloutPlanOptions,
  RolloutRecord,
  RolloutState,
  RolloutVerb,
  RolloutView,
  VerbDone,
} from 'aspired/fleet';
import { SEEN, TOLD } from 'aspired/fleet';
import type { CliIo, Output } from '#lib/cli/io.js';
import { runCli } from '#lib/cli/run.js';
import type { FleetTool } from '#lib/cli/tool.js';

/** 2026-11-24T12:00:00Z: when the rollouts of these tests began. */
export const START = Date.UTC(2026, 10, 24, 12);

/** Bits of a host by what it is up to. */
export const BITS = {
  waiting: { told: TOLD.OLD, seen: SEEN.ALIVE | SEEN.OLD_READY },
  fetching: { told: TOLD.OLD | TOLD.PREFETCH, seen: SEEN.ALIVE | SEEN.OLD_READY },
  fetched: { told: TOLD.OLD | TOLD.PREFETCH, seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.PREFETCHED },
  loading: { told: TOLD.OLD | TOLD.NEW, seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.PREFETCHED },
  ready: { told: TOLD.OLD | TOLD.NEW, seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.NEW_READY },
  serving: {
    told: TOLD.OLD | TOLD.NEW | TOLD.PRIMARY_NEW,
    seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.NEW_READY | SEEN.PRIMARY_NEW,
  },
  failed: { told: TOLD.OLD | TOLD.NEW, seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.NEW_ERROR },
  away: { told: TOLD.OLD | TOLD.NEW, seen: SEEN.NEW_READY },
  cordoned: { told: TOLD.OLD, seen: SEEN.ALIVE | SEEN.CORDONED },
  'rolling-back': {
    told: TOLD.OLD | TOLD.ROLLED_BACK,
    seen: SEEN.ALIVE | SEEN.OLD_READY | SEEN.NEW_READY | SEEN.PRIMARY_NEW,
  },
  back: { told: TOLD.OLD | TOLD.ROLLED_BACK, seen: SEEN.ALIVE | SEEN.OLD_READY },
} as const;

/** A plan of 6 hosts in two zones and three waves: 1, 2 and 3 hosts. */
export function planOf(change: Partial<RolloutPlan> = {}): RolloutPlan {
  return {
    model: 'ranker',
    version: 43,
    maxUnavailable: '10%',
    readyQuorum: 100,
    minAlive: 80,
    bakeMs: 300_000,
    gates: [{ kind: 'load' }, { kind: 'traffic' }],
    deadlineMs: 3_600_000,
    progressDeadlineMs: 600_000,
    onDeadline: 'abort',
    onFailure: 'rollback',
    bytes: 0,
    surgeBytes: 0,
    prefetch: true,
    keepWarm: 'rollout',
    hosts: ['a1', 'a2', 'b1', 'a3', 'b2', 'b3'],
    zoneOf: [0, 0, 1, 0, 1, 1],
    zones: ['eu-1a', 'eu-1b'],
    waveOf: [0, 1, 1, 2, 2, 2],
    waves: ['1 host', '50 %', '100 %'],
    ...change,
  };
}

export function stateOf(change: Partial<RolloutState> = {}): RolloutState {
  return {
    phase: 'Bake',
    wave: 1,
    from: 42,
    paused: false,
    highWater: 3,
    actor: 'ci',
    reason: 'weekly model',
    ...change,
  };
}

export function recordOf(change: Partial<RolloutRecord> = {}): RolloutRecord {
  return {
    id: 'ranker-7',
    model: 'ranker',
    revision: 57,
    plan: planOf(),
    state: stateOf(),
    stamps: { startedAt: START, phaseAt: START + 60_000, progressAt: START + 60_000 },
    ...change,
  };
}

/** A view of hosts that are up to these things, 192 s after the start unless `now` says otherwise. */
export function viewOf(
  hosts: readonly (keyof typeof BITS)[],
  change: {
    readonly record?: RolloutRecord;
    readonly now?: number;
    readonly errors?: ReadonlyMap<number, string>;
  } = {},
): RolloutView {
  return {
    record: change.record ?? recordOf(),
    told: Uint8Array.from(hosts, (host) => BITS[host].told),
    seen: Uint8Array.from(hosts, (host) => BITS[host].seen),
    errors: change.errors ?? new Map(),
    now: change.now ?? START + 192_000,
  };
}

/** Halfway: the first two waves serve the new version. */
export const HALFWAY = viewOf(['serving', 'serving', 'serving', 'waiting', 'waiting', 'waiting']);

/** What a fleet in a test was asked. */
export interface Asked {
  readonly what: string;
  readonly args: readonly unknown[];
}

/** A fleet that gives the same answers again and again, or the next of several. */
export class FakeFleet implements FleetTool {
  readonly asked: Asked[] = [];
  /** The last one is given again and again. An error is thrown. */
  views: (RolloutView | AspiredError)[] = [HALFWAY];
  done: VerbDone = {
    rollout: 'ranker-7',
    outcome: 'applied',
    message: 'it stops',
    revision: 58,
    replicated: 1,
    replicas: 2,
  };
  hostViews: readonly HostView[] = [];
  closed = false;

  async view(rollout: string): Promise<RolloutView> {
    this.#note('view', rollout);
    const next = this.views.length > 1 ? this.views.shift() : this.views[0];
    if (next === undefined || next instanceof AspiredError) throw next ?? new Error('no view');
    return next;
  }
  async start(plan: RolloutPlanOptions, intent: Intent): Promise<VerbDone> {
    this.#note('start', plan, intent);
    return this.done;
  }
  async verb(
    rollout: string,
    verb: RolloutVerb,
    intent: Intent,
    options?: { readonly force?: boolean },
  ): Promise<VerbDone> {
    this.#note('verb', rollout, verb, intent, options);
    return this.done;
  }
  async explain(rollout: string): Promise<string> {
    this.#note('explain', rollout);
    return 'It bakes.';
  }
  async list(): Promise<readonly RolloutView[]> {
    return [await this.view('')];
  }
  async history(): Promise<readonly RolloutRecord[]> {
    return [recordOf()];
  }
  async audit(): ReturnType<FleetTool['audit']> {
    const entry = {
      id: '1-0',
      at: START,
      rollout: 'ranker-7',
      event: 'started',
      message: 'v42 to v43',
      actor: 'ci',
      hosts: 0,
    };
    return [entry, { ...entry, id: '2-0', revision: 1, event: 'phase', message: 'Prefetch\u001b[2J', hosts: 1 }];
  }
  async hosts(): Promise<readonly HostView[]> {
    return this.hostViews;
  }
  async setCordoned(host: string, cordoned: boolean, intent: Intent): Promise<void> {
    this.#note('setCordoned', host, cordoned, intent);
  }
  async removeHost(host: string, intent: Intent): Promise<void> {
    this.#note('removeHost', host, intent);
  }
  async create(): ReturnType<FleetTool['create']> {
    return { schema: 1, incarnation: 'first', createdAt: START };
  }
  async exportAll(): ReturnType<FleetTool['exportAll']> {
    return { schema: 1, fleet: 'default', incarnation: 'first', models: [], hosts: [], desired: {} };
  }
  async restore(...args: Parameters<FleetTool['restore']>): ReturnType<FleetTool['restore']> {
    this.#note('restore', ...args);
    return { schema: 1, incarnation: 'second', createdAt: START };
  }
  async restoreFromHosts(intent: Intent): ReturnType<FleetTool['restore']> {
    this.#note('restoreFromHosts', intent);
    return { schema: 1, incarnation: 'third', createdAt: START };
  }
  async doctor(): ReturnType<FleetTool['doctor']> {
    return [
      { level: 'ok', message: 'Redis 7.0.15' },
      { level: 'error', code: 'ERR_STORE_EVICTS', message: 'maxmemory-policy is allkeys-lru' },
    ];
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
  }

  #note(what: string, ...args: readonly unknown[]): void {
    this.asked.push({ what, args });
  }
}

/** What a command line led to. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly fleet?: FakeFleet;
  readonly env?: Readonly<Record<string, string>>;
  readonly terminal?: Pick<Output, 'columns' | 'rows'>;
  readonly signal?: AbortSignal;
  readonly connect?: CliIo['connect'];
}

/** Runs a command line on a fleet of a test, without waiting between two looks. */
export async function cli(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { fleet = new FakeFleet(), env = {}, terminal, signal } = options;
  const said = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr'): Output => ({
    write: (text) => {
      said[name] += text;
    },
    ...(terminal ? { isTTY: true, ...terminal } : {}),
  });
  const code = await runCli(argv, {
    env,
    stdout: output('stdout'),
    stderr: output('stderr'),
    signal: signal ?? new AbortController().signal,
    user: () => 'somebody',
    connect: options.connect ?? (async () => fleet),
    pollMs: 0,
  });
  return { code, ...said };
}
