import type { AspiredError } from '../errors.js';
import type { NativeManagerOptions } from '../native/binding.js';
import { checkBoolean, checkFunction, checkInteger, checkKeys, invalidOption } from '../options.js';
import { Devices } from '../resources/devices.js';
import { fromFootprints } from '../resources/report.js';
import type { Footprints, ResourcesOptions } from '../resources/types.js';
import type {
  AspiredVersionPolicy,
  AspiredVersionPolicyOption,
  ServableAction,
  ServableId,
  ServableOptions,
} from '../types.js';
import { checkBake } from './bake-options.js';
import { checkPolicy } from './check-policy.js';
import {
  checkContentChange,
  checkInsufficientMemory,
  checkStandby,
  checkValidate,
  ServableSettings,
} from './servable-options.js';

/** Options of {@link AspiredVersionsManager}. */
export interface AspiredVersionsManagerOptions {
  /** @default 'availability-preserving' */
  readonly aspiredVersionPolicy?: AspiredVersionPolicyOption;
  /**
   * How many loads run at once, on as many native threads at a lower OS priority; 0: one at a time, native work on the
   * manage-state thread. Can be changed by setNumLoadThreads(). @default 2
   */
  readonly numLoadThreads?: number;
  /** The same for unloads. @default 1 */
  readonly numUnloadThreads?: number;
  /**
   * Reconciliation period. The loop is driven by events, not by this; it only bounds how long anything missed would
   * stay so. 0: no thread, step() turns the crank. @default 100
   */
  readonly manageStateIntervalMs?: number;
  /** Quick retries of a failed load, within one incarnation. @default 5 */
  readonly maxNumLoadRetries?: number;
  /** Pause before the first quick retry; doubles up to {@link maxLoadRetryIntervalMs}, with 20 % jitter. @default 60000 */
  readonly loadRetryIntervalMs?: number;
  /** @default 8 x loadRetryIntervalMs */
  readonly maxLoadRetryIntervalMs?: number;
  /**
   * Pause before a new incarnation of a version whose quick retries are used up; doubles up to
   * {@link maxSlowRetryIntervalMs}, with jitter. @default 8 x loadRetryIntervalMs, at least 100
   */
  readonly slowRetryIntervalMs?: number;
  /** @default 8 x slowRetryIntervalMs */
  readonly maxSlowRetryIntervalMs?: number;
  /**
   * Asked after a failed attempt: false ends the retries, quick and slow ones, until the version is aspired anew. It
   * decides about retries only, never about success.
   */
  readonly shouldRetryModelLoad?: (error: AspiredError, id: ServableId) => boolean;
  /**
   * A failed version is loaded again: at once when a list names it with a new loader, otherwise after a growing pause.
   * False: it stays failed until it is dropped and aspired again. @default true
   */
  readonly enableReloadServablesWithError?: boolean;
  /**
   * Order of the actions that one round allows: negative when `a` goes first. Unloads go before loads in any case; the
   * function orders unloads among themselves, and loads among themselves.
   */
  readonly customSortActions?: (a: ServableAction, b: ServableAction) => number;
  /** Runs before each load attempt; a failure is a failed attempt. */
  readonly preLoadHook?: (id: ServableId) => void | Promise<void>;
  /** What the versions may take of memory, and how it is watched. @default main memory, up to the limit of the process */
  readonly resources?: ResourcesOptions;
  /** What earlier processes learned of what versions take: see {@link AspiredVersionsManager.exportFootprints}. */
  readonly footprints?: Footprints;
  /** For servables that do not say otherwise, as are the following. */
  readonly onInsufficientMemory?: ServableOptions['onInsufficientMemory'];
  readonly standby?: ServableOptions['standby'];
  readonly bake?: ServableOptions['bake'];
  readonly validate?: ServableOptions['validate'];
  readonly onContentChange?: ServableOptions['onContentChange'];
  /** A load attempt that takes longer is aborted and has failed, as has an estimate. 0: no limit. @default 0 */
  readonly loadTimeoutMs?: number;
  /** An unload that takes longer is given up. 0: no limit. @default 0 */
  readonly unloadTimeoutMs?: number;
  /**
   * How long a loader has to settle after its signal fired, before its attempt is given up. What is reserved for it is free
   * when it has settled. @default 1000
   */
  readonly cancelGraceMs?: number;
  /** How many events getEventLog() remembers. @default 1000 */
  readonly maxLogEvents?: number;
  /** Which handles are watched for being dropped without release(): one in 1,024, all, or none. @default 'sampled' */
  readonly leakDetection?: 'sampled' | 'all' | 'off';
  /**
   * withServable() and withServableSync() count requests, errors and latency per version, see getServableMetrics(). Costs
   * two readings of the clock per request; handles are not counted and cost nothing. @default true
   */
  readonly metrics?: boolean;
  /** Told of faults in callbacks that nobody awaits (a policy that throws). @default process.emitWarning */
  readonly onError?: (error: AspiredError) => void;
}

const KEYS = [
  'aspiredVersionPolicy',
  'numLoadThreads',
  'numUnloadThreads',
  'manageStateIntervalMs',
  'maxNumLoadRetries',
  'loadRetryIntervalMs',
  'maxLoadRetryIntervalMs',
  'slowRetryIntervalMs',
  'maxSlowRetryIntervalMs',
  'shouldRetryModelLoad',
  'enableReloadServablesWithError',
  'customSortActions',
  'preLoadHook',
  'resources',
  'footprints',
  'onInsufficientMemory',
  'standby',
  'bake',
  'validate',
  'onContentChange',
  'loadTimeoutMs',
  'unloadTimeoutMs',
  'cancelGraceMs',
  'maxLogEvents',
  'leakDetection',
  'metrics',
  'onError',
] as const satisfies readonly (keyof AspiredVersionsManagerOptions)[];

/** Most threads that a pool may have. */
export const MAX_THREADS = 256;
const MAX_MS = 2 ** 31 - 1; // what a timer takes

/** The part of the options that stays in JavaScript. */
export interface ManagerSettings {
  readonly policy: AspiredVersionPolicy | undefined;
  readonly shouldRetryModelLoad: AspiredVersionsManagerOptions['shouldRetryModelLoad'];
  readonly customSortActions: AspiredVersionsManagerOptions['customSortActions'];
  readonly preLoadHook: AspiredVersionsManagerOptions['preLoadHook'];
  readonly servables: ServableSettings;
  readonly devices: Devices;
  readonly footprints: ReturnType<typeof fromFootprints> | undefined;
  readonly loadTimeoutMs: number;
  readonly unloadTimeoutMs: number;
  readonly cancelGraceMs: number;
  readonly manageStateIntervalMs: number;
  /** Watches a handle when (count & mask) is 0; -1 watches none. */
  readonly leakMask: number;
  readonly metrics: boolean;
  readonly onError: (error: AspiredError) => void;
}

function warn(error: AspiredError): void {
  process.emitWarning(error.message, { type: 'AspiredWarning', code: error.code });
}

/** Checks every option; throws before anything is made. */
export function checkManagerOptions(value: unknown = {}): { native: NativeManagerOptions; settings: ManagerSettings } {
  checkKeys('options', value, KEYS);
  const options = value as AspiredVersionsManagerOptions;
  const { aspiredVersionPolicy = 'availability-preserving', leakDetection = 'sampled' } = options;
  const policy = checkPolicy('aspiredVersionPolicy', aspiredVersionPolicy);
  const ms = (key: keyof AspiredVersionsManagerOptions, fallback: number): number =>
    checkInteger(key, options[key], fallback, 0, MAX_MS);
  const threads = (key: keyof AspiredVersionsManagerOptions, fallback: number): number =>
    checkInteger(key, options[key], fallback, 0, MAX_THREADS);
  const loadRetryIntervalMs = ms('loadRetryIntervalMs', 60_000);
  const slowRetryIntervalMs = ms('slowRetryIntervalMs', Math.min(MAX_MS, Math.max(100, 8 * loadRetryIntervalMs)));
  const manageStateIntervalMs = ms('manageStateIntervalMs', 100);
  const bake = checkBake(options.bake);
  const validate = checkValidate(options.validate) || undefined;
  const onContentChange = checkContentChange('onContentChange', options.onContentChange) ?? 'refuse';
  const metrics = checkBoolean('metrics', options.metrics, true);
  if (bake && !metrics) throw invalidOption('metrics', 'true where there is a bake', metrics);
  const devices = new Devices(options.resources);
  const customSortActions = checkFunction('customSortActions', options.customSortActions);
  if (!['sampled', 'all', 'off'].includes(leakDetection)) {
    throw invalidOption('leakDetection', "'sampled', 'all' or 'off'", leakDetection);
  }
  return {
    native: {
      policy: policy.number,
      externalOrder: customSortActions !== undefined,
      manageStateIntervalMs,
      numLoadThreads: threads('numLoadThreads', 2),
      numUnloadThreads: threads('numUnloadThreads', 1),
      maxNumLoadRetries: checkInteger('maxNumLoadRetries', options.maxNumLoadRetries, 5, 0, 1_000_000),
      loadRetryIntervalMs,
      maxLoadRetryIntervalMs: ms('maxLoadRetryIntervalMs', Math.min(MAX_MS, 8 * loadRetryIntervalMs)),
      slowRetryIntervalMs,
      maxSlowRetryIntervalMs: ms('maxSlowRetryIntervalMs', Math.min(MAX_MS, 8 * slowRetryIntervalMs)),
      enableReloadServablesWithError: checkBoolean(
        'enableReloadServablesWithError',
        options.enableReloadServablesWithError,
        true,
      ),
      freesOwn: checkInsufficientMemory('onInsufficientMemory', options.onInsufficientMemory) ?? false,
      standby: checkStandby('standby', options.standby) ?? [0, 0],
      bake: bake !== undefined,
      limits: devices.nativeLimits,
      cuda: devices.uuids,
      cudaPath: devices.paths.cudaPath ?? '',
      nvmlPath: devices.paths.nvmlPath ?? '',
      maxLogEvents: checkInteger('maxLogEvents', options.maxLogEvents, 1000, 0, 10_000_000),
    },
    settings: {
      policy: policy.custom,
      shouldRetryModelLoad: checkFunction('shouldRetryModelLoad', options.shouldRetryModelLoad),
      customSortActions,
      preLoadHook: checkFunction('preLoadHook', options.preLoadHook),
      servables: new ServableSettings({ bake, validate, onContentChange }),
      devices,
      footprints: options.footprints === undefined ? undefined : fromFootprints(options.footprints),
      loadTimeoutMs: ms('loadTimeoutMs', 0),
      unloadTimeoutMs: ms('unloadTimeoutMs', 0),
      cancelGraceMs: ms('cancelGraceMs', 1000),
      manageStateIntervalMs,
      leakMask: leakDetection === 'off' ? -1 : leakDetection === 'all' ? 0 : 1023,
      metrics,
      onError: checkFunction('onError', options.onError) ?? warn,
    },
  };
}
