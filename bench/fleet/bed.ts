// A fleet on this machine: a redis-server of one's own, a store as a controller has it, and host processes.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RolloutPlan, RolloutState } from 'aspired/fleet';
import { MAX_WRITES } from 'aspired/fleet';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { CommitAnswer } from '#lib/fleet/store/types.js';
import { RedisServer } from '../../test/support/redis-server.js';
import { Hosts, zoneOf } from './hosts.js';
import { type HostKind, hostId } from './protocol.js';
import { describeUse, type RedisUse, readUse, useSince } from './redis-meter.js';

export const FLEET = 'bench';
export const MODEL = 'ranker-7';
/** Longer than any trial: no heartbeat but the first. */
export const NO_HEARTBEATS_MS = 600_000;
const QUIET_MS = 300;
const QUIET_DEADLINE_MS = 60_000;

export interface BedOptions {
  readonly hosts: number;
  readonly heartbeatIntervalMs: number;
  /** Hosts with a real manager. @default 0 */
  readonly real?: number;
  /** Append-only file. @default false */
  readonly aof?: boolean;
  /** What is a host. @default 'start', an agent */
  readonly how?: HostKind;
}

export class Bed {
  private constructor(
    readonly server: RedisServer,
    readonly store: RedisStore,
    readonly hosts: Hosts,
    /** Their ids, in order. */
    readonly ids: readonly string[],
  ) {}

  /** Runs `body` on a fleet whose hosts have joined, and ends all of it. */
  static async with<T>(options: BedOptions, body: (bed: Bed) => Promise<T>): Promise<T> {
    const ends: (() => Promise<void>)[] = [];
    try {
      const server = await RedisServer.start(
        { after: (end) => ends.push(end) },
        // The default, 10,000 connections, is one for each of 10,000 hosts and none for a controller.
        { aof: options.aof ?? false, args: ['--maxclients', String(Math.max(10_000, options.hosts + 1_000))] },
      );
      const store = await RedisStore.connect({ url: server.url, fleet: FLEET, role: 'controller' });
      ends.push(() => store.close());
      await store.create();
      const ids = Array.from({ length: options.hosts }, (_, i) => hostId(i));
      await enter(store, ids);
      const stateDir = makeStateDir();
      ends.push(async () => rmSync(stateDir, { recursive: true, force: true }));
      const { real = 0, heartbeatIntervalMs } = options;
      const start = { url: server.url, fleet: FLEET, count: options.hosts, real, heartbeatIntervalMs, stateDir };
      const hosts = await Hosts.start(start, options.how);
      ends.push(() => hosts.close());
      return await body(new Bed(server, store, hosts, ids));
    } finally {
      for (const end of ends.reverse()) await end();
    }
  }

  /** What the server has done since. */
  async use(earlier: RedisUse): Promise<RedisUse> {
    return useSince(await readUse(this.server), earlier);
  }

  /** Waits until the server has nothing to do, and reads its counters. */
  async quiet(): Promise<RedisUse> {
    const end = performance.now() + QUIET_DEADLINE_MS;
    for (let before = await readUse(this.server); ; ) {
      await sleep(QUIET_MS);
      const now = await readUse(this.server);
      if (now.commands === before.commands) return now;
      if (performance.now() > end) throw new Error(`Never quiet: ${describeUse(useSince(now, before))}`);
      before = now;
    }
  }
}

// An accepted document is synchronized with the disk before it is acted on. A thousand hosts have a thousand disks, this
// machine has one: so it is memory here.
function makeStateDir(): string {
  const isThere = statSync('/dev/shm', { throwIfNoEntry: false })?.isDirectory() ?? false;
  return mkdtempSync(join(isThere ? '/dev/shm' : tmpdir(), 'aspired-bench-'));
}

async function enter(store: RedisStore, ids: readonly string[]): Promise<void> {
  const infos = ids.map((id, index) => ({
    id,
    zone: zoneOf(index),
    labels: {},
    capacityBytes: 0,
    agentVersion: '0',
    schema: 1,
  }));
  for (let i = 0; i < infos.length; i += MAX_WRITES) await store.enterHosts(infos.slice(i, i + MAX_WRITES));
}

/** A rollout that is written step by step, as a controller does it, and in which nothing is waited for. */
export class Changes {
  private revision = 0;
  private constructor(
    private readonly bed: Bed,
    private readonly state: RolloutState,
  ) {}

  static async start(bed: Bed): Promise<Changes> {
    const { ids } = bed;
    const zones = [...new Set(ids.map((_, i) => zoneOf(i)))];
    const plan: RolloutPlan = {
      ...{ model: MODEL, version: 1, maxUnavailable: '100%', readyQuorum: 100, minAlive: 0, bakeMs: 0, gates: [] },
      ...{ deadlineMs: 3_600_000, progressDeadlineMs: 3_600_000, onDeadline: 'abort', onFailure: 'rollback' },
      ...{ bytes: 0, surgeBytes: 0, prefetch: false, keepWarm: 'wave', zones, hosts: ids, waves: ['all'] },
      zoneOf: ids.map((_, i) => zones.indexOf(zoneOf(i))),
      waveOf: ids.map(() => 0),
    };
    const intent = { actor: 'bench', reason: 'to measure' };
    const state: RolloutState = { phase: 'Expand', wave: 0, paused: false, highWater: 0, ...intent };
    await bed.store.startRollout({ id: 'bench-1', plan, state, force: false, operation: 'start', ...intent });
    return new Changes(bed, state);
  }

  /** Writes one version to all hosts, in as many commits as it takes. */
  async write(version: number): Promise<void> {
    const { ids, store } = this.bed;
    for (let from = 0; from < ids.length; from += MAX_WRITES) {
      const places = ids.slice(from, from + MAX_WRITES).map((_, i) => from + i);
      const answer: CommitAnswer = await store.commit({
        ...{ rollout: 'bench-1', model: MODEL, expectRevision: this.revision, operation: `${version}-${from}` },
        ...{ state: this.state, stamps: [], hosts: ids },
        writes: places.map((place) => ({ place, cell: { versions: [version], primary: version } })),
        audit: { event: 'change', message: `version ${version}`, actor: 'bench', hosts: places.length },
      });
      if (answer.outcome !== 'committed') throw new Error(`The commit ended as ${answer.outcome}`);
      this.revision = answer.revision;
    }
  }
}
