// What the tests of the agent share: a store that does what the test says, an agent with a real manager, waits.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { AspiredError, type AspiredErrorCode, type Loader, type ServableId } from 'aspired';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import type { FleetAgentOptions } from '#lib/fleet/agent/options.js';
import { encodeCell } from '#lib/fleet/codec.js';
import type { Heartbeat, HeartbeatAnswer, HostStore, StoredDocument } from '#lib/fleet/store/types.js';
import type { DesiredCell, HostInfo, HostStatus, ModelReport, VersionReport } from '#lib/fleet/types.js';
import { deadline, PATIENCE_MS } from '../../support/deadline.js';
import { TestManager, type TestManagerOptions } from '../../support/manager.js';

const folders: string[] = [];
process.on('exit', () => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

/** A folder for one test; gone at the end of the process, for agents write to it until their last. */
export function tempDir(_t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'aspired-agent-'));
  folders.push(path);
  return path;
}

type Fault = AspiredErrorCode | 'hangs' | undefined;

/** The store as one host sees it, with everything in reach of the test: raw cells, faults, what was asked. */
export class ScriptedStore implements HostStore {
  readonly fleet = 'f';
  desired: StoredDocument | undefined;
  known = true;
  /** It has lost what was reported: the next answer says so. */
  resend = false;
  /** Whoever has the lease; set by a test: somebody else. */
  holder: string | undefined;
  /** What every call does instead. */
  fault: Fault;
  /** What single calls do instead. */
  readonly faults = new Map<keyof HostStore, Fault>();
  info: HostInfo | undefined;
  status: HostStatus | undefined;
  readonly models = new Map<string, ModelReport>();
  readonly beats: Heartbeat[] = [];
  readonly calls: string[] = [];
  clockAheadMs = 0;
  closes = 0;
  /** Runs inside each call, before it is answered. */
  onCall: ((call: string) => unknown) | undefined;
  private readonly bells = new Set<() => void>();

  /** Replaces cells, with the next revision, and rings. Text is taken as it is. */
  write(cells: Readonly<Record<string, DesiredCell | string | null>>, ring = true): void {
    const all = new Map(this.desired?.cells);
    for (const [model, cell] of Object.entries(cells)) {
      if (cell === null) all.delete(model);
      else all.set(model, typeof cell === 'string' ? cell : encodeCell(cell));
    }
    this.desired = { revision: (this.desired?.revision ?? 0) + 1, cells: all };
    if (ring) this.ring();
  }

  ring(): void {
    if (this.fault === undefined) for (const bell of this.bells) bell();
  }

  private async enter(call: keyof HostStore): Promise<void> {
    this.calls.push(call);
    await this.onCall?.(call);
    const fault = this.faults.get(call) ?? this.fault;
    if (fault === 'hangs') await new Promise(() => {});
    else if (fault !== undefined) throw new AspiredError(fault, `The store fails as scripted, in ${call}.`);
  }

  async heartbeat(beat: Heartbeat): Promise<HeartbeatAnswer> {
    await this.enter('heartbeat');
    this.beats.push(beat);
    const known = this.known;
    if (this.holder !== undefined && this.holder !== beat.bootId) return { heldBy: this.holder, known };
    this.holder = beat.bootId;
    this.info = beat.info ?? this.info;
    this.status = beat.status ?? this.status;
    for (const [model, report] of beat.models ?? []) {
      if (report === null) this.models.delete(model);
      else this.models.set(model, structuredClone(report));
    }
    const resend = this.resend && !beat.info;
    if (beat.info) this.resend = false;
    return {
      known,
      ...(this.desired ? { revision: this.desired.revision } : {}),
      ...(resend ? { resend } : {}),
    };
  }

  async readDesired(_host: string): Promise<StoredDocument | undefined> {
    await this.enter('readDesired');
    return this.desired;
  }

  async onDoorbell(_host: string, ring: () => void): Promise<AsyncDisposable> {
    await this.enter('onDoorbell');
    this.bells.add(ring);
    return {
      [Symbol.asyncDispose]: async () => {
        this.bells.delete(ring);
      },
    };
  }

  get listeners(): number {
    return this.bells.size;
  }

  async hint(_host: string): Promise<void> {
    await this.enter('hint');
  }

  async leave(_host: string, bootId: string): Promise<void> {
    await this.enter('leave');
    if (this.holder === bootId) this.holder = undefined;
  }

  async now(): Promise<number> {
    await this.enter('now');
    return Date.now() + this.clockAheadMs;
  }

  async close(): Promise<void> {
    this.closes++;
  }

  /** The report of a version; undefined: there is none. */
  version(model: string, version: number): VersionReport | undefined {
    return this.models.get(model)?.versions.find((report) => report.version === version);
  }

  stateOf(model: string, version: number): string | undefined {
    return this.version(model, version)?.managerState;
  }

  /** Codes of the findings in the last status. */
  findings(): string[] {
    return (this.status?.findings ?? []).map(({ code }) => code).sort();
  }
}

/** Makes loaders that count: what was loaded and unloaded, over all loader objects. */
export class LoaderPark {
  readonly made: string[] = [];
  readonly loads: string[] = [];
  readonly unloads: string[] = [];
  /** What load() does for 'name/version' instead. */
  readonly behaviour = new Map<string, () => unknown>();

  readonly factory = ({ name, version }: ServableId): Loader => {
    const key = `${name}/${version}`;
    this.made.push(key);
    return {
      load: () => {
        this.loads.push(key);
        return this.behaviour.get(key)?.() ?? key;
      },
      unload: () => {
        this.unloads.push(key);
      },
    };
  };
}

/** An agent on a manager of its own. */
export interface Host {
  readonly agent: FleetAgent;
  readonly store: ScriptedStore;
  readonly loaders: LoaderPark;
  readonly test: TestManager;
  readonly stateDir: string;
  /** What onError was told. */
  readonly errors: AspiredError[];
}

export interface HostOptions extends Partial<Omit<FleetAgentOptions, 'store'>> {
  readonly managerOptions?: TestManagerOptions;
  readonly test?: TestManager;
  readonly loaders?: LoaderPark;
  readonly store?: ScriptedStore;
  /** URL of a Redis instead. */
  readonly redis?: string;
}

/** Fast enough to wait for, slow enough to tell a doorbell from a heartbeat where that matters. */
export const HEARTBEAT_MS = 50;

/** Starts an agent that ends with the test. */
export async function startHost(t: TestContext, options: HostOptions = {}): Promise<Host> {
  const {
    managerOptions,
    test: given,
    loaders = new LoaderPark(),
    store = new ScriptedStore(),
    redis,
    ...rest
  } = options;
  const test = given ?? new TestManager(t, managerOptions);
  const stateDir = rest.stateDir ?? tempDir(t);
  const errors: AspiredError[] = [];
  const agent = await deadline(
    FleetAgent.start({
      fleet: 'f',
      id: 'h1',
      store: redis === undefined ? store : { redis },
      stateDir,
      manager: test.manager,
      loader: loaders.factory,
      heartbeatIntervalMs: HEARTBEAT_MS,
      trafficIntervalMs: 20,
      onError: (error) => void errors.push(error),
      ...rest,
    }),
    'FleetAgent.start()',
  );
  t.after(() => deadline(agent.close(), 'close() of the agent'));
  return { agent, store, loaders, test, stateDir, errors };
}

/** Polls until the condition holds: for what another thread or a timer does. */
export async function until(condition: () => boolean, what: string, ms = PATIENCE_MS): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Still waiting for ${what} after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Waits until the store has had that many more heartbeats: whatever the last ones asked for has been done, or not. */
export async function moreBeats(store: ScriptedStore, count = 3): Promise<void> {
  const goal = store.beats.length + count;
  await until(() => store.beats.length >= goal, `${count} heartbeats`);
}

export function codes(errors: readonly AspiredError[]): string[] {
  return errors.map(({ code }) => code);
}

export function assertServes(host: Pick<Host, 'test'>, ...expected: string[]): void {
  assert.deepEqual(host.test.available(), expected);
}
