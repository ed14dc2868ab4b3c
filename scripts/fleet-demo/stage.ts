import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFleet } from '#lib/cli/redis-tool.js';
import type { FleetTool } from '#lib/cli/tool.js';
import { RedisServer } from '../../test/support/redis-server.js';
import { type Counts, countAll } from './ledger.js';
import type { ControllerTask, HostTask } from './messages.js';
import { type Child, Processes } from './processes.js';

export const FLEET = 'demo';
export const MODEL = 'reader';
const ZONES = ['eu-1a', 'eu-1b', 'eu-1c', 'eu-1d'];
const POLL_MS = 100;

export interface StageOptions {
  readonly hosts: number;
  /** Requests per second on each host. */
  readonly rate: number;
  readonly models: string;
}

/** Redis, controllers and hosts: all that the demonstration started, and that ends with it. */
export class Stage {
  readonly hosts: Child[] = [];
  readonly controllers: Child[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'aspired-fleet-'));
  readonly #processes = new Processes(this.#folder);
  readonly #removeFolder = (): void => rmSync(this.#folder, { recursive: true, force: true });
  readonly #options: StageOptions;
  readonly #signal: AbortSignal;
  #redis: RedisServer | undefined;
  #tool: FleetTool | undefined;
  #started = 0;

  constructor(options: StageOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    process.on('exit', this.#removeFolder);
  }

  /** The fleet, as a person or a program sees it. */
  get tool(): FleetTool {
    if (!this.#tool) throw new Error('The stage is not open.');
    return this.#tool;
  }

  async open(): Promise<void> {
    // It is ended in close(), like everything else.
    this.#redis = await RedisServer.start({ after() {} }, { aof: true });
    this.#tool = await openFleet({ redis: this.#redis.url, fleet: FLEET });
    await this.#tool.create();
    for (let i = 0; i < 2; i++) this.startController();
    for (let i = 0; i < this.#options.hosts; i++) this.#startHost(i);
    await Promise.all([...this.controllers, ...this.hosts].map((child) => child.ready));
    await this.until('all hosts are in the fleet', async () => {
      const known = await this.tool.hosts();
      return known.length === this.hosts.length && known.every(({ lease }) => lease !== undefined);
    });
  }

  get redisUrl(): string {
    return this.#redis?.url ?? '';
  }

  startController(): Child {
    const name = `controller-${++this.#started}`;
    const task: ControllerTask = { fleet: FLEET, redis: this.redisUrl };
    const child = this.#processes.start(name, './controller.js', task);
    this.controllers.push(child);
    return child;
  }

  #startHost(index: number): void {
    const id = `host-${String(index + 1).padStart(2, '0')}`;
    const task: HostTask = {
      fleet: FLEET,
      redis: this.redisUrl,
      id,
      zone: ZONES[index % ZONES.length] as string,
      models: this.#options.models,
      stateDir: join(this.#folder, id),
      model: MODEL,
      rate: this.#options.rate,
    };
    this.hosts.push(this.#processes.start(id, './host.js', task));
  }

  /** What the hosts counted until now. */
  counts(): Promise<Counts> {
    return countAll(this.hosts);
  }

  /** Waits until something holds. @throws Error when the signal fires first; it says what did not come. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) {
      this.throwIfCrashed();
      try {
        await sleep(POLL_MS, undefined, { signal: this.#signal });
      } catch {
        throw new Error(`${what}: this did not come`, { cause: this.#signal.reason });
      }
    }
  }

  throwIfCrashed(): void {
    for (const child of [...this.hosts, ...this.controllers]) if (child.crash) throw new Error(child.crash);
  }

  async close(): Promise<void> {
    await this.#tool?.[Symbol.asyncDispose]();
    await this.#processes.close();
    await this.#redis?.stop();
    this.#removeFolder();
    process.off('exit', this.#removeFolder);
  }
}
