import { isAbsolute, resolve } from 'node:path';
import type { AspiredError } from '../../errors.js';
import type { AspiredVersionsManager, Loader, ServableId } from '../../index.js';
import { checkFunction, checkInteger, checkKeys, invalidOption } from '../../options.js';
import { checkFleetName } from '../names.js';
import type { HostStore } from '../store/types.js';
import { FLEET_SCHEMA, type HostInfo } from '../types.js';
import { packageVersion } from '../version.js';

/** Makes the loader of a version. What it throws, or rejects with, is a failed load: it is asked again by the retry. */
export type FleetLoaderFactory = (id: ServableId) => Loader | Promise<Loader>;

/**
 * Brings what a version needs to this host, before any memory is touched. It may be called again for the same version: after
 * a failure, and after a restart. What is there already should cost nothing.
 */
export type FleetPrefetch = (id: ServableId, context: { readonly signal: AbortSignal }) => Promise<void>;

/** Where the fleet is kept: a store that the caller has and closes, or the URL of a Redis for one that the agent opens. */
export type AgentStoreOption = HostStore | { readonly redis: string };

/** Options of {@link FleetAgent.start}. */
export interface FleetAgentOptions {
  /** Name of the fleet. */
  readonly fleet: string;
  /** Name of this host: one living agent in the fleet has it. */
  readonly id: string;
  /** Failure domain. @default 'default' */
  readonly zone?: string;
  /** For waves by label. @default none */
  readonly labels?: Readonly<Record<string, string>>;
  /** Bytes of main memory that models may take. @default the limit of the manager for main memory; 0, not known, without */
  readonly capacity?: number;
  readonly store: AgentStoreOption;
  /** A folder that outlives the process, for what was accepted. Several agents may share it: each has a folder in it. */
  readonly stateDir: string;
  /** Gets the lists of the models that the fleet names, and no others. Stays its owner's: the agent never closes it. */
  readonly manager: AspiredVersionsManager;
  readonly loader: FleetLoaderFactory;
  /** @default none: a version counts as fetched when that is asked for */
  readonly prefetch?: FleetPrefetch;
  /** Milliseconds between two heartbeats, give or take a tenth. @default 10_000 */
  readonly heartbeatIntervalMs?: number;
  /** Milliseconds until the store takes this host for dead. @default 3 x heartbeatIntervalMs */
  readonly leaseMs?: number;
  /** Milliseconds between two reports of traffic of models in a rollout. @default 1_000 */
  readonly trafficIntervalMs?: number;
  /** Told of each problem once, when it appears. @default process.emitWarning */
  readonly onError?: (error: AspiredError) => void;
}

const KEYS = [
  'fleet',
  'id',
  'zone',
  'labels',
  'capacity',
  'store',
  'stateDir',
  'manager',
  'loader',
  'prefetch',
  'heartbeatIntervalMs',
  'leaseMs',
  'trafficIntervalMs',
  'onError',
] as const satisfies readonly (keyof FleetAgentOptions)[];

const MAX_MS = 2 ** 31 - 1; // what a timer takes
const STORE_METHODS = ['heartbeat', 'readDesired', 'onDoorbell', 'hint', 'leave', 'now'] as const;
const MANAGER_METHODS = [
  'setAspiredVersions',
  'getServableStates',
  'getServableMetrics',
  'events',
  'resources',
] as const;

/** The options, checked, with their defaults. */
export interface AgentSettings {
  readonly fleet: string;
  readonly info: HostInfo;
  readonly store: AgentStoreOption;
  readonly stateDir: string;
  readonly manager: AspiredVersionsManager;
  readonly loader: FleetLoaderFactory;
  readonly prefetch: FleetPrefetch | undefined;
  readonly heartbeatIntervalMs: number;
  readonly leaseMs: number;
  readonly trafficIntervalMs: number;
  readonly onError: (error: AspiredError) => void;
}

function warn(error: AspiredError): void {
  process.emitWarning(error.message, { type: 'AspiredFleetWarning', code: error.code });
}

/** Throws before anything is done: ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_FLEET_INVALID_NAME. */
export function checkAgentOptions(value: unknown): AgentSettings {
  checkKeys('options', value, KEYS);
  const options = value as unknown as FleetAgentOptions;
  const fleet = checkFleetName('fleet', options.fleet);
  const id = checkFleetName('id', options.id);
  const zone = options.zone === undefined ? 'default' : checkFleetName('zone', options.zone);
  const labels = checkLabels(options.labels);
  const manager = checkMethods('manager', 'an AspiredVersionsManager', options.manager, MANAGER_METHODS);
  const loader = checkFunction('loader', options.loader);
  if (!loader) throw invalidOption('loader', 'a function', loader);
  const heartbeatIntervalMs = checkInteger('heartbeatIntervalMs', options.heartbeatIntervalMs, 10_000, 10, MAX_MS / 3);
  // Two heartbeats: one that is late or lost must not cost the lease.
  const leaseMs = checkInteger('leaseMs', options.leaseMs, 3 * heartbeatIntervalMs, 2 * heartbeatIntervalMs, MAX_MS);
  return {
    fleet,
    info: {
      id,
      zone,
      labels,
      capacityBytes:
        options.capacity === undefined ? limitOf(manager) : checkInteger('capacity', options.capacity, 0, 0),
      agentVersion: packageVersion(),
      schema: FLEET_SCHEMA,
    },
    store: checkStore(options.store, fleet),
    stateDir: checkFolder(options.stateDir),
    manager,
    loader,
    prefetch: checkFunction('prefetch', options.prefetch),
    heartbeatIntervalMs,
    leaseMs,
    trafficIntervalMs: checkInteger('trafficIntervalMs', options.trafficIntervalMs, 1_000, 10, MAX_MS),
    onError: checkFunction('onError', options.onError) ?? warn,
  };
}

// What the manager may give away is what the fleet may plan with.
function limitOf(manager: AspiredVersionsManager): number {
  const limit = manager.resources().devices.find(({ device }) => device === 'ram')?.limit;
  return limit !== undefined && Number.isSafeInteger(limit) ? limit : 0;
}

function checkLabels(value: unknown): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidOption('labels', 'an object of names and texts', value);
  }
  for (const [name, text] of Object.entries(value)) {
    checkFleetName(`the label ${JSON.stringify(name)}`, name);
    if (typeof text !== 'string' || text.length > 256) {
      throw invalidOption(`labels.${name}`, 'a text of at most 256 characters', text);
    }
  }
  return { ...(value as Record<string, string>) };
}

function checkMethods<T extends object>(name: string, what: string, value: T, methods: readonly string[]): T {
  const missing = methods.find(
    (method) => typeof (value as Record<string, unknown> | undefined)?.[method] !== 'function',
  );
  if (missing !== undefined) throw invalidOption(name, `${what}, with ${missing}()`, value);
  return value;
}

function checkStore(value: AgentStoreOption, fleet: string): AgentStoreOption {
  if (typeof value === 'object' && value !== null && 'redis' in value) {
    checkKeys('store', value, ['redis']);
    if (typeof value.redis !== 'string' || !/^(rediss?|unix):/.test(value.redis)) {
      throw invalidOption('store.redis', "a URL like 'redis://localhost:6379'", value.redis);
    }
    return value;
  }
  const store = checkMethods('store', "a store, or { redis: 'redis://…' }", value, STORE_METHODS) as HostStore;
  if (store.fleet !== fleet) throw invalidOption('store', `a store of the fleet ${fleet}`, store.fleet);
  return store;
}

function checkFolder(value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw invalidOption('stateDir', 'the path of a folder', value);
  }
  return isAbsolute(value) ? value : resolve(value);
}
