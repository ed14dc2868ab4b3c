// A process full of hosts: real agents with real connections, each with a manager of its own.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AspiredVersionsManager } from 'aspired';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import { noOpLoader } from '../support.js';
import { Arrivals } from './arrivals.js';
import { startLightHosts } from './light-hosts.js';
import {
  type AnswerMessage,
  type Expect,
  type HostsStart,
  hostId,
  type RequestMessage,
  type RequestName,
  type Requests,
  type TrafficCount,
  ZONES,
} from './protocol.js';
import { startQueueHosts } from './queue-hosts.js';
import { stubManager } from './stub-manager.js';

/** Agents that join at once. */
const JOINING = 32;
const REQUEST_EVERY_MS = 10;

interface Host {
  readonly agent: FleetAgent;
  /** Undefined: a stub. */
  readonly manager: AspiredVersionsManager | undefined;
}

const arrivals = new Arrivals();
const hosts: Host[] = [];
const counted = { requests: 0, failures: 0, examples: [] as string[] };
let closeOthers = async (): Promise<void> => {};
let timer: NodeJS.Timeout | undefined;

async function startHost(options: HostsStart, index: number): Promise<void> {
  const { fleet, url, heartbeatIntervalMs, stateDir, from, real } = options;
  const id = hostId(index);
  const seen = (model: string, versions: readonly number[]): void => arrivals.note(index, model, versions);
  const manager = index - from < real ? new AspiredVersionsManager({ numLoadThreads: 1 }) : undefined;
  const agent = await FleetAgent.start({
    ...{ fleet, id, heartbeatIntervalMs, stateDir },
    zone: `zone-${index % ZONES}`,
    store: { redis: url },
    manager: manager ? watched(manager, seen) : stubManager(seen),
    loader: ({ version }) => noOpLoader(version),
    onError: () => {},
  });
  hosts.push({ agent, manager });
  await agent.joined;
}

/** The manager, whose lists are told. */
function watched(
  manager: AspiredVersionsManager,
  seen: (model: string, versions: readonly number[]) => void,
): AspiredVersionsManager {
  const setAspiredVersions: typeof manager.setAspiredVersions = (name, versions, options) => {
    seen(
      name,
      versions.map(({ version }) => version),
    );
    return manager.setAspiredVersions(name, versions, options);
  };
  return new Proxy(manager, {
    get(target, key) {
      if (key === 'setAspiredVersions') return setAspiredVersions;
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function start(options: HostsStart): Promise<null> {
  mkdirSync(join(options.stateDir), { recursive: true });
  arrivals.hosts = options.count;
  const waiting = Array.from({ length: options.count }, (_, i) => options.from + i);
  const lane = async (): Promise<void> => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) await startHost(options, index);
  };
  await Promise.all(Array.from({ length: JOINING }, lane));
  return null;
}

async function startOthers(options: HostsStart, how: typeof startLightHosts): Promise<null> {
  arrivals.hosts = options.count;
  closeOthers = await how(options, (index, model, versions) => arrivals.note(index, model, versions));
  return null;
}

function traffic(model: string): null {
  const managers = hosts.flatMap(({ manager }) => manager ?? []);
  timer = setInterval(() => {
    for (const manager of managers) {
      counted.requests++;
      try {
        manager.withServableSync(model, () => {});
      } catch (error) {
        counted.failures++;
        if (counted.examples.length < 3) counted.examples.push(String(error));
      }
    }
  }, REQUEST_EVERY_MS);
  return null;
}

async function close(): Promise<null> {
  clearInterval(timer);
  await Promise.all(hosts.map(({ agent }) => agent.close()));
  await Promise.all(hosts.map(({ manager }) => manager?.close()));
  await closeOthers();
  return null;
}

const handlers: { [N in RequestName]: (take: Requests[N]['take']) => Promise<Requests[N]['give']> } = {
  start,
  startLight: (options) => startOthers(options, startLightHosts),
  startQueues: (options) => startOthers(options, startQueueHosts),
  expect: (expected: Expect) => arrivals.all(expected),
  async cpu() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  traffic: async ({ model }) => traffic(model),
  counted: async (): Promise<TrafficCount> => counted,
  close,
};

process.on('message', async ({ id, name, take }: RequestMessage) => {
  const answer: AnswerMessage = await (handlers[name] as (take: unknown) => Promise<unknown>)(take).then(
    (give) => ({ id, give }),
    (error: unknown) => ({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
  process.send?.(answer);
});
// The trial is gone.
process.on('disconnect', () => process.exit());
