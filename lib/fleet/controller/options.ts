// Options of the controller and of the client, and the way from them to a store.
import { hostname } from 'node:os';
import { parseDuration } from '../../duration.js';
import type { AspiredError } from '../../errors.js';
import { checkBoolean, checkFunction, checkInteger, checkKeys, invalidOption } from '../../options.js';
import { checkFleetName } from '../names.js';
import type { FleetStore } from '../store/types.js';

/** A store that is there already and stays open, or the address of a Redis server. */
export type StoreChoice = FleetStore | { readonly redis: string };

/** What a client and a controller have in common. */
export interface FleetConnectionOptions {
  /** Name of the fleet. */
  readonly fleet: string;
  readonly store: StoreChoice;
  /** How many replicas must have what was written before a rollout goes forward. Never asked of a way back. @default 0 */
  readonly minReplicas?: number;
  /** How long replicas may take for it, in ms. @default 500 */
  readonly confirmTimeoutMs?: number;
}

/** Options of {@link FleetClient}. */
export interface FleetClientOptions extends FleetConnectionOptions {
  /** How long a verb waits for the answer of a controller: '10s' or ms. @default '10s' */
  readonly answerTimeout?: string | number;
}

/** Options of {@link FleetController}. */
export interface FleetControllerOptions extends FleetConnectionOptions {
  /** Name of this controller, for logs and jobs. @default host name and process id */
  readonly id?: string;
  /** Makes the fleet where there is none: for a first start, never for a repair. @default false */
  readonly create?: boolean;
  /** That of the agents, in ms: how long silence is no news. @default 10_000 */
  readonly heartbeatIntervalMs?: number;
  /** How often leases and reports are looked at while a rollout is active, in ms. @default 200 */
  readonly sweepIntervalMs?: number;
  /** How often ticks of active rollouts are made anew whatever Redis remembers, in ms. @default 5_000 */
  readonly tickIntervalMs?: number;
  /** Ticks at once in this process. @default 8 */
  readonly concurrency?: number;
  /** POSTs one line of the audit as JSON for each commit of a rollout. With Redis only. @default none */
  readonly notify?: readonly string[];
  /** A directory to which the audit is appended each hour, one file per model. With Redis only. @default none */
  readonly archiveDirectory?: string;
  /** What goes wrong without anybody waiting for it. @default a process warning */
  readonly onError?: (error: AspiredError) => void;
}

/** The same, checked and complete. */
export interface ConnectionSettings {
  readonly fleet: string;
  readonly store: StoreChoice;
  readonly minReplicas: number;
  readonly confirmTimeoutMs: number;
}

export interface ClientSettings extends ConnectionSettings {
  readonly answerTimeoutMs: number;
}

export interface ControllerSettings extends ConnectionSettings {
  readonly id: string;
  readonly create: boolean;
  readonly heartbeatIntervalMs: number;
  readonly sweepIntervalMs: number;
  readonly tickIntervalMs: number;
  readonly concurrency: number;
  readonly notify: readonly string[];
  readonly archiveDirectory: string | undefined;
  readonly onError: (error: AspiredError) => void;
}

const CONNECTION_KEYS = ['fleet', 'store', 'minReplicas', 'confirmTimeoutMs'];
const CLIENT_KEYS = [...CONNECTION_KEYS, 'answerTimeout'];
const CONTROLLER_KEYS = [
  ...CONNECTION_KEYS,
  ...['id', 'create', 'heartbeatIntervalMs', 'sweepIntervalMs', 'tickIntervalMs', 'concurrency', 'notify'],
  ...['archiveDirectory', 'onError'],
];

/** @throws AspiredError ERR_UNKNOWN_OPTION, ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME */
export function checkClientOptions(options: FleetClientOptions): ClientSettings {
  checkKeys('FleetClient options', options, CLIENT_KEYS);
  return {
    ...checkConnection(options),
    answerTimeoutMs: parseDuration('answerTimeout', options.answerTimeout ?? '10s', 1),
  };
}

/** @throws AspiredError ERR_UNKNOWN_OPTION, ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME */
export function checkControllerOptions(options: FleetControllerOptions): ControllerSettings {
  checkKeys('FleetController options', options, CONTROLLER_KEYS);
  const connection = checkConnection(options);
  const { notify = [], archiveDirectory, onError } = options;
  if (!Array.isArray(notify)) throw invalidOption('notify', 'an array of http or https URLs', notify);
  for (const url of notify) checkUrl(url);
  if (archiveDirectory !== undefined && (typeof archiveDirectory !== 'string' || archiveDirectory === '')) {
    throw invalidOption('archiveDirectory', 'a path', archiveDirectory);
  }
  const isRedis = 'redis' in connection.store;
  if (!isRedis && (notify.length > 0 || archiveDirectory !== undefined)) {
    throw invalidOption(
      notify.length > 0 ? 'notify' : 'archiveDirectory',
      'nothing without { redis } as the store',
      notify.length > 0 ? notify : archiveDirectory,
    );
  }
  return {
    ...connection,
    id: checkFleetName('option id', options.id ?? defaultId()),
    create: checkBoolean('create', options.create, false),
    heartbeatIntervalMs: checkInteger('heartbeatIntervalMs', options.heartbeatIntervalMs, 10_000, 10),
    sweepIntervalMs: checkInteger('sweepIntervalMs', options.sweepIntervalMs, 200, 1),
    tickIntervalMs: checkInteger('tickIntervalMs', options.tickIntervalMs, 5_000, 10),
    concurrency: checkInteger('concurrency', options.concurrency, 8, 1, 1_000),
    notify,
    archiveDirectory,
    onError: checkFunction('onError', onError) ?? ((error) => process.emitWarning(error)),
  };
}

/** Opens what was chosen. `owned`: it is closed with who opened it. */
export async function openStore({
  fleet,
  store,
}: ConnectionSettings): Promise<{ readonly store: FleetStore; readonly owned: boolean; readonly redis?: string }> {
  if (!('redis' in store)) return { store, owned: false };
  const { redis } = store;
  const { RedisStore } = await import('../store/redis-store.js');
  return { store: await RedisStore.connect({ url: redis, fleet, role: 'controller' }), owned: true, redis };
}

function checkConnection({ fleet, store, minReplicas, confirmTimeoutMs }: FleetConnectionOptions): ConnectionSettings {
  checkFleetName('option fleet', fleet);
  if (typeof store !== 'object' || store === null) {
    throw invalidOption('store', "a FleetStore, or { redis: 'redis://…' }", store);
  }
  if ('redis' in store) {
    checkKeys('store', store, ['redis']);
    if (typeof store.redis !== 'string' || !/^rediss?:\/\//.test(store.redis)) {
      throw invalidOption('store.redis', 'a redis:// or rediss:// URL', store.redis);
    }
  } else if (store.fleet !== fleet) throw invalidOption('fleet', `the fleet of the store, ${store.fleet}`, fleet);
  return {
    ...{ fleet, store },
    minReplicas: checkInteger('minReplicas', minReplicas, 0, 0, 100),
    confirmTimeoutMs: checkInteger('confirmTimeoutMs', confirmTimeoutMs, 500, 1, 60_000),
  };
}

function checkUrl(url: unknown): void {
  if (typeof url === 'string' && URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return;
  throw invalidOption('notify', 'http or https URLs', url);
}

function defaultId(): string {
  return `${hostname().replace(/[^A-Za-z0-9._-]/g, '-')}-${process.pid}`.slice(-128).replace(/^[^A-Za-z0-9]+/, 'c');
}
