// Everything that runs: the servers, the hosts, the controllers, and an operator's client.
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetClient } from '#lib/fleet/controller/fleet-client.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { type ChaosHost, FIRST_VERSION, FLEET, HOSTS, MODELS, REPLICAS } from '../fleet.js';
import { Recorder } from '../history/recorder.js';
import type { Mutant } from '../processes/messages.js';
import { Child } from './child.js';
import { Guard } from './guard.js';
import { RedisPair } from './redis-pair.js';
import { within } from './waits.js';

const START_MS = 60_000;
/** A host whose process was taken down by a version is started again by whoever keeps services running. */
const RESPAWN_MS = 500;

export interface WorldOptions {
  readonly seed: number;
  readonly mutant?: Mutant | undefined;
}

export class World {
  readonly guard = new Guard();
  readonly folder = mkdtempSync(join(tmpdir(), 'aspired-chaos-'));
  readonly history = join(this.folder, 'history');
  readonly recorder: Recorder;
  readonly controllers = new Map<string, Child<'controller'>>();
  /** Processes that ended although nobody meant them to. */
  readonly casualties: Child[] = [];
  redis!: RedisPair;
  store!: RedisStore;
  client!: FleetClient;
  readonly #agents = new Map<string, Child<'agent'>>();
  readonly #respawns = new Set<Promise<void>>();
  #controllerCount = 0;
  #closing = false;

  private constructor(private readonly options: WorldOptions) {
    this.guard.folder(this.folder);
    mkdirSync(this.history);
    this.recorder = new Recorder(this.history, 'harness');
  }

  /** Starts a fleet whose hosts all have the first version of all models. */
  static async start(options: WorldOptions): Promise<World> {
    const world = new World(options);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  async #start(): Promise<void> {
    this.redis = await RedisPair.start(this.guard);
    const { url } = this.redis.main;
    // Short: an operator whose command went down with the server gives it again.
    this.store = await RedisStore.connect({ url, fleet: FLEET, commandTimeoutMs: 2_000 });
    await this.store.create();
    this.client = await FleetClient.connect({
      ...{ fleet: FLEET, store: this.store, minReplicas: REPLICAS, confirmTimeoutMs: 300, answerTimeout: 4_000 },
    });
    const shared = HOSTS.filter(({ alone }) => !alone);
    const alone = HOSTS.filter((host) => host.alone);
    const agents = [this.startHosts('agents', shared), ...alone.map((host) => this.startHosts(host.id, [host]))];
    await Promise.all([...agents, this.startController(), this.startController()]);
    await this.#allHostsServe();
  }

  /** Starts the process of some hosts, and keeps it running. */
  async startHosts(name: string, hosts: readonly ChaosHost[]): Promise<void> {
    const { history, folder, options } = this;
    const stateDir = join(folder, 'state');
    const args = { name, history, stateDir, hosts, redis: this.redis.main.url, mutant: options.mutant };
    const child = new Child('agent', name, args, this.guard);
    this.#agents.set(name, child);
    void child.ended.then(() => this.#agentEnded(child, hosts));
    await child.ready();
  }

  #agentEnded(child: Child<'agent'>, hosts: readonly ChaosHost[]): void {
    if (this.#closing || this.#agents.get(child.name) !== child || !child.failed) return;
    for (const { id } of hosts) this.recorder.note({ e: 'down', host: id, why: 'its version took it down' });
    // What writes to standard error before it ends was not killed by a version.
    if (child.complaint !== '') this.casualties.push(child);
    const respawn = sleep(RESPAWN_MS).then(async () => {
      if (!this.#closing && this.#agents.get(child.name) === child) await this.startHosts(child.name, hosts);
    });
    this.#respawns.add(respawn);
    void respawn.catch(() => {}).finally(() => this.#respawns.delete(respawn));
  }

  /** SIGKILL for the process of a host that has one of its own. */
  async killHost(id: string, why: string): Promise<void> {
    const child = this.#agents.get(id);
    if (!child) throw new Error(`${id} has no process of its own.`);
    this.#agents.delete(id);
    this.recorder.note({ e: 'down', host: id, why });
    if (!child.hasEnded) await child.kill();
  }

  async restartHost(id: string): Promise<void> {
    if (this.#agents.has(id)) return;
    await this.startHosts(
      id,
      HOSTS.filter((host) => host.id === id),
    );
  }

  slowDown(id: string, factor: number): void {
    (this.#agents.get(id) ?? this.#agents.get('agents'))?.tell({ slow: id, factor });
  }

  /** Starts one more controller. */
  async startController(rogue = false): Promise<Child<'controller'>> {
    const number = this.#controllerCount++;
    const name = `${rogue ? 'rogue' : 'controller'}${number}`;
    const { history, options } = this;
    const args = {
      name,
      history,
      rogue,
      redis: this.redis.main.url,
      seed: options.seed + number,
      mutant: options.mutant,
    };
    const child = new Child('controller', name, args, this.guard);
    this.controllers.set(name, child);
    void child.ended.then(() => {
      this.controllers.delete(name);
      if (child.failed && !this.#closing) this.casualties.push(child);
    });
    await child.ready();
    return child;
  }

  async #allHostsServe(): Promise<void> {
    const ids = HOSTS.map(({ id }) => id);
    const joined = async (): Promise<boolean> => {
      if (this.casualties.length > 0) throw new Error('A process ended.');
      return (await this.store.hosts()).length === ids.length;
    };
    if (!(await within(START_MS, joined))) throw new Error(`The hosts did not join.${this.#complaints()}`);
    for (const model of MODELS) {
      await this.store.assertCells({
        ...{ model, expectGeneration: 0, hosts: ids, stable: FIRST_VERSION },
        writes: ids.map((_, place) => ({ place, cell: { versions: [FIRST_VERSION], primary: FIRST_VERSION } })),
        intent: { actor: 'chaos', reason: 'the first version', operation: `first-${model}` },
      });
    }
    const serve = async (): Promise<boolean> => {
      const reports = await this.store.readReports(ids);
      return reports.every((report) => MODELS.every((model) => report?.models.get(model)?.primary === FIRST_VERSION));
    };
    if (!(await within(START_MS, serve))) throw new Error(`The hosts did not load.${this.#complaints()}`);
  }

  #complaints(): string {
    return [...this.#agents.values(), ...this.controllers.values(), ...this.casualties]
      .map(({ name, complaint }) => (complaint === '' ? '' : `\n${name}: ${complaint}`))
      .join('');
  }

  /** Ends everything. `keep`: what is in the folder of the run stays. */
  async close(keep = false): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await Promise.allSettled(this.#respawns);
    const children = [...this.#agents.values(), ...this.controllers.values()];
    await Promise.allSettled(children.map((child) => child.kill()));
    await this.client?.close();
    await this.store?.close();
    await this.redis?.stop();
    this.recorder.close();
    this.guard.close(keep ? [this.folder] : []);
  }
}
