// A fleet in one process: real agents on real managers with loaders of a few lines, a store, and controllers.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AspiredError, AspiredVersionsManager, type Loader } from 'aspired';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import { FleetClient, type VerbDone } from '#lib/fleet/controller/fleet-client.js';
import { FleetController } from '#lib/fleet/controller/fleet-controller.js';
import type { FleetControllerOptions, StoreChoice } from '#lib/fleet/controller/options.js';
import type { RolloutPhase, RolloutPlanOptions } from '#lib/fleet/rollout/types.js';
import { MemoryFleet } from '#lib/fleet/store/memory-store.js';
import type { FleetStore, RolloutRecord } from '#lib/fleet/store/types.js';
import { deadline, PATIENCE_MS } from '../../support/deadline.js';

/** Fast enough to wait for. */
export const HEARTBEAT_MS = 100;
export const MODEL = 'ranker';
/** What a version takes of a host with FleetOptions.room. */
export const VERSION_BYTES = 64 * 1024 * 1024;
export const WHO = { actor: 'ops', reason: 'test' };

/** Polls until the condition holds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string | Promise<string>),
  ms = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`Still waiting for ${typeof what === 'string' ? what : await what()} after ${ms} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a version does on a host. */
export interface Behaviour {
  /** Instead of loading. */
  readonly load?: (host: string) => unknown;
  /** Share of its requests that fail. */
  readonly errorRate?: number;
}

/** One host: its manager outlives its agent, as a process that is restarted does not. */
export class Host {
  readonly manager: AspiredVersionsManager;
  agent: FleetAgent | undefined;
  private requests = 0;
  private stopTraffic: (() => void) | undefined;

  constructor(
    private readonly fleet: Fleet,
    readonly id: string,
    readonly zone: string,
  ) {
    const { room } = fleet;
    this.manager = new AspiredVersionsManager({
      ...{ manageStateIntervalMs: 5, slowRetryIntervalMs: 3_600_000 },
      ...(room !== undefined && { resources: { ram: room * VERSION_BYTES } }),
    });
  }

  async start(): Promise<void> {
    const { leaseMs } = this.fleet.options;
    this.agent = await deadline(
      FleetAgent.start({
        fleet: this.fleet.name,
        id: this.id,
        zone: this.zone,
        store: this.fleet.agentStore(this.id),
        stateDir: this.fleet.stateDir,
        manager: this.manager,
        loader: ({ version }) => this.loaderOf(version),
        heartbeatIntervalMs: HEARTBEAT_MS,
        ...(leaseMs !== undefined && { leaseMs }),
        trafficIntervalMs: 20,
        onError: (error) => void this.fleet.errors.push(error),
      }),
      'FleetAgent.start()',
    );
  }

  /** It does not come back until start(): its lease is given up, as when it runs out. */
  async stop(): Promise<void> {
    await this.agent?.close();
    this.agent = undefined;
  }

  /** Serves plain names until the test ends. */
  serve(): void {
    const timer = setInterval(() => {
      for (let i = 0; i < 3; i++) this.request();
    }, 5);
    this.stopTraffic = () => clearInterval(timer);
  }

  /** The version that a plain name resolves to. */
  serves(): number | undefined {
    try {
      using handle = this.manager.getServableHandle({ name: MODEL });
      return handle.id.version;
    } catch {
      return undefined;
    }
  }

  available(): number[] {
    return this.manager
      .listAvailableServableIds()
      .map(({ version }) => version)
      .sort((a, b) => a - b);
  }

  async close(): Promise<void> {
    this.stopTraffic?.();
    await this.stop();
    await this.manager.close({ drainTimeoutMs: 5_000 });
  }

  private request(): void {
    const version = this.serves();
    if (version === undefined) return;
    const { errorRate = 0 } = this.fleet.behaviour.get(version) ?? {};
    const fails = this.requests++ % 100 < errorRate * 100;
    this.manager
      .withServable({ name: MODEL }, () => {
        spin(0.05);
        if (fails) throw new Error('wrong');
      })
      .catch(() => {});
  }

  private loaderOf(version: number): Loader {
    return {
      ...(this.fleet.room !== undefined && { estimateResources: () => ({ ram: VERSION_BYTES }) }),
      load: () => this.fleet.behaviour.get(version)?.load?.(this.id) ?? { version },
      unload: () => {},
    };
  }
}

/** Takes so many milliseconds: what is faster than a microsecond is all in one bucket of the histogram. */
function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

export interface FleetOptions {
  readonly hosts?: number;
  readonly zones?: number;
  /** The stable version that all hosts have to begin with. @default 1 */
  readonly stable?: number | null;
  readonly store?: StoreChoice;
  /** Opens a store to look at, when `store` is not one. */
  readonly open?: () => Promise<FleetStore>;
  readonly name?: string;
  readonly answerTimeout?: number;
  readonly minReplicas?: number;
  /** Of the agents. @default theirs: three heartbeat intervals */
  readonly leaseMs?: number;
  /** Versions that a host has room for. @default any number */
  readonly room?: number;
}

/** See the top of the file. Everything ends with the test. */
export class Fleet {
  readonly name: string;
  readonly memory = new MemoryFleet();
  readonly hosts: Host[] = [];
  readonly controllers: FleetController[] = [];
  readonly behaviour = new Map<number, Behaviour>();
  /** What onError of agents and controllers was told. */
  readonly errors: AspiredError[] = [];
  readonly stateDir = mkdtempSync(join(tmpdir(), 'aspired-controller-'));
  client!: FleetClient;
  store!: FleetStore;

  /** FleetOptions.room. */
  get room(): number | undefined {
    return this.options.room;
  }

  private constructor(readonly options: FleetOptions) {
    this.name = options.name ?? 'memory';
  }

  static async start(t: TestContext, options: FleetOptions = {}): Promise<Fleet> {
    const fleet = new Fleet(options);
    t.after(() => fleet.close());
    fleet.store = (await options.open?.()) ?? fleet.memory.connect('test');
    const { answerTimeout = 10_000, minReplicas = 0 } = options;
    const store = fleet.controllerStore();
    fleet.client = await FleetClient.connect({ fleet: fleet.name, store, answerTimeout, minReplicas });
    await fleet.store.create();
    const { hosts = 4, zones = 1, stable = 1 } = options;
    for (let i = 0; i < hosts; i++) fleet.hosts.push(new Host(fleet, `h${i}`, `z${i % zones}`));
    await Promise.all(fleet.hosts.map((host) => host.start()));
    const ids = fleet.hosts.map(({ id }) => id);
    await until(async () => {
      const reports = await fleet.store.readReports(ids, []);
      return reports.every((report) => report !== undefined);
    }, 'the first reports');
    await fleet.store.enterHosts((await fleet.store.readReports(ids, [])).flatMap((report) => report?.info ?? []));
    if (stable !== null) await fleet.give(stable);
    return fleet;
  }

  /** Makes a version stable, without a rollout. */
  async give(version: number): Promise<void> {
    const hosts = this.hosts.map(({ id }) => id);
    await this.store.assertCells({
      model: MODEL,
      expectGeneration: 0,
      hosts,
      writes: hosts.map((_, place) => ({ place, cell: { versions: [version], primary: version } })),
      stable: version,
      intent: { ...WHO, operation: `give-${version}` },
    });
    await this.serves(version);
  }

  async control(options: Partial<FleetControllerOptions> = {}): Promise<FleetController> {
    const controller = await deadline(
      FleetController.start({
        fleet: this.name,
        store: this.controllerStore(),
        id: `c${this.controllers.length}`,
        heartbeatIntervalMs: HEARTBEAT_MS,
        sweepIntervalMs: 20,
        tickIntervalMs: 500,
        onError: (error) => void this.errors.push(error),
        ...options,
      }),
      'FleetController.start()',
    );
    this.controllers.push(controller);
    return controller;
  }

  /** Starts a rollout that would not wait for anything. */
  rollout(options: Partial<RolloutPlanOptions> = {}): Promise<VerbDone> {
    const plan = { model: MODEL, version: 2, bake: 0, waves: [{ hosts: 1 }, { percent: 100 }], gates: [] };
    return this.client.start({ ...plan, maxUnavailable: '100%', ...options }, WHO);
  }

  get(id: string): Promise<RolloutRecord> {
    return this.client.get(id);
  }

  /** Waits for the end of a rollout, and checks how it ended. The store may be away, or without it, in between. */
  async ends(id: string, outcome: string, ms?: number): Promise<RolloutRecord> {
    const ended = async (): Promise<boolean> => {
      const record = await this.get(id).catch(() => undefined);
      return record?.state.phase === 'Ended';
    };
    await until(ended, async () => `the end of ${id}: ${await this.client.explain(id)}`, ms);
    const record = await this.get(id);
    assert.equal(record.state.outcome, outcome, record.state.rollback?.reason);
    return record;
  }

  async reaches(id: string, phase: RolloutPhase, wave?: number): Promise<void> {
    await until(
      async () => {
        const { state } = await this.get(id);
        return state.phase === phase && (wave === undefined || state.wave === wave);
      },
      async () => `${phase} of ${id}: ${await this.client.explain(id)}`,
    );
  }

  /** Waits until all hosts, or these, serve the version, and nothing else is loaded there. */
  async serves(version: number, hosts: readonly Host[] = this.hosts): Promise<void> {
    await until(
      () => hosts.every((host) => host.serves() === version && host.available().length === 1),
      () => `version ${version} on ${hosts.map(({ id }) => `${id}: ${this.hostText(id)}`).join(', ')}`,
    );
  }

  codes(): string[] {
    return [...new Set(this.errors.map(({ code }) => code))].sort();
  }

  host(index: number): Host {
    return this.hosts[index] as Host;
  }

  /** What agents are given. */
  agentStore(id: string): StoreChoice {
    const { store } = this.options;
    return store && 'redis' in store ? store : this.memory.connect(id);
  }

  private hostText(id: string): string {
    const host = this.hosts.find((candidate) => candidate.id === id);
    return `${host?.serves()} of ${host?.available()}`;
  }

  private controllerStore(): StoreChoice {
    return this.options.store ?? this.memory.connect(`c${this.controllers.length}`);
  }

  private async close(): Promise<void> {
    await Promise.all(this.controllers.map((controller) => deadline(controller.close(), 'close() of a controller')));
    await Promise.all(this.hosts.map((host) => deadline(host.close(), `close() of ${host.id}`)));
    await this.client?.close();
    await this.store?.close();
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}
