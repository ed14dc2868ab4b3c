// The public vocabulary: TensorFlow Serving's terms, spelled for TypeScript.
import type { AspiredError } from './errors.js';
import type { BakeOptions } from './manager/bake-options.js';
import type { ResourceAllocation, ResourceReservation } from './resources/types.js';

/** One version of one servable stream. `version` is a safe integer >= 0. */
export interface ServableId {
  readonly name: string;
  readonly version: number;
}

/**
 * State of a version as the outside sees it. Within one incarnation it only moves forward, and ends with exactly one
 * `End`: clean when the event has no error.
 */
export type ManagerState = 'Start' | 'Loading' | 'Available' | 'Unloading' | 'End';

/** State of the harness that owns the loader of one version. */
export type HarnessState =
  | 'New'
  | 'LoadRequested'
  | 'LoadApproved'
  | 'Loading'
  | 'Ready'
  | 'UnloadRequested'
  | 'Quiescing'
  | 'Quiesced'
  | 'Unloading'
  | 'Disabled'
  | 'Error';

/** What a policy sees of one version. */
export interface AspiredServableStateSnapshot {
  readonly id: ServableId;
  readonly state: HarnessState;
  readonly isAspired: boolean;
}

/** What a policy may ask for. */
export interface ServableAction {
  readonly action: 'load' | 'unload';
  readonly id: ServableId;
}

/**
 * Decides the next action for one servable stream. Must be pure: the same snapshots give the same answer, whatever
 * their order. It is asked again after each action, with the state that the action led to, until it answers undefined.
 */
export interface AspiredVersionPolicy {
  getNextAction(snapshots: readonly AspiredServableStateSnapshot[]): ServableAction | undefined;
}

/** A policy by name, or one of your own. */
export type AspiredVersionPolicyOption = 'availability-preserving' | 'resource-preserving' | AspiredVersionPolicy;

/** What `load` and `warmup` are told. */
export interface LoadContext {
  readonly id: ServableId;
  /** Fires when the version is dropped while it loads, when `loadTimeoutMs` passes, and when the manager closes. */
  readonly signal: AbortSignal;
  /** 1 for the first attempt of an incarnation. */
  readonly attempt: number;
  /** What is reserved for the servable; undefined when its loader gave no estimate and nothing is known of it. */
  readonly reservation?: ResourceReservation | undefined;
}

/**
 * Looks at a servable that is loaded and warmed up, before its version becomes Available: runs a golden request, compares
 * with known answers. Throwing, rejecting or returning false (or a promise of false) refuses the version, with
 * ERR_VALIDATION_FAILED; any other answer accepts it. What was loaded is unloaded then, and the attempt is retried like one
 * whose warm-up failed. The versions that are Available go on serving meanwhile.
 */
export type ValidateServable = (
  servable: unknown,
  context: {
    readonly id: ServableId;
    /** Fires as that of load(): when the version is dropped, when loadTimeoutMs passes, and when the manager closes. */
    readonly signal: AbortSignal;
  },
) => unknown;

/**
 * Makes and unmakes the servable of one version. `unload` is called once for each servable that `load` brought, when that is
 * done with. `load` and `unload` of one loader never overlap, unless it pays no attention to its signal: what an attempt
 * brings that was given up (`cancelGraceMs`) is unloaded beside the next one. A retry begins beside it where there is memory
 * for both; otherwise it waits.
 *
 * `load` may be called again after a failure (a retry), also of what was unloaded because warmup() or validate() refused it;
 * and with `onInsufficientMemory: 'resource-preserving'` for a version that was unloaded for one that then failed. Otherwise
 * never after `unload`.
 */
export interface Loader<T = unknown> {
  /**
   * Upper bound of what the servable will take, asked for before the load. A failure is retried like a failed load.
   */
  estimateResources?(): ResourceAllocation | Promise<ResourceAllocation>;
  /** Makes the servable. Anything but undefined is a servable. */
  load(context: LoadContext): T | Promise<T>;
  /** Runs before the version becomes Available. A failure is a failed load, and the servable is unloaded. */
  warmup?(servable: T, context: LoadContext): void | Promise<void>;
  /**
   * Runs after warmup(), before the version becomes Available, and can refuse it: by throwing, rejecting or returning
   * false. A refusal is a failed load, retried like any other, and the servable is unloaded.
   */
  validate?(servable: T, context: LoadContext): unknown;
  /** Gives everything back. No handle to the servable is left when it is called. */
  unload?(servable: T): void | Promise<void>;
}

/**
 * One element of an aspired list: a loader, or the error of a source that could not prepare the version.
 *
 * `digest` is the identity of the content: a version that is aspired again with another digest has changed in place.
 */
export type AspiredVersion<T = unknown> =
  | { readonly version: number; readonly loader: Loader<T>; readonly digest?: string; readonly error?: undefined }
  | { readonly version: number; readonly error: unknown; readonly digest?: string; readonly loader?: undefined };

/**
 * What becomes of a loaded version whose content changed in place. `'refuse'`: what was loaded stays, and the change is
 * told once with ERR_CONTENT_CHANGED. `'reload'`: the version is drained and unloaded, and loaded anew as a new
 * incarnation. A version that failed is tried again in either case.
 */
export type ContentChange = 'refuse' | 'reload';

/** Versions that are dropped and stay loaded, closed to readers. */
export interface StandbyOptions {
  /** How many: the last ones that were dropped. @default 1 */
  readonly versions?: number;
  /** For how long: '30m', or milliseconds. @default until their memory is needed */
  readonly for?: string | number;
}

/** What is said of one servable, whoever sends its lists. What is not given stays as it was, or as the manager has it. */
export interface ServableOptions {
  /** Policy of this servable from now on. It is asked anew at once. */
  readonly aspiredVersionPolicy?: AspiredVersionPolicyOption;
  /** Loads with a higher priority get slots and memory first; then the older ones. @default 0 */
  readonly priority?: number;
  /**
   * What happens when old and new version cannot be resident together: `'wait'` until memory comes free;
   * `'resource-preserving'`: the old ones go first, if that makes room. Nothing of the servable is available then until the
   * new version is; should it fail, the last good one is loaded again. @default 'wait'
   */
  readonly onInsufficientMemory?: 'wait' | 'resource-preserving';
  /**
   * Keeps versions that are dropped resident, so that aspiring to them again takes no load. They are the first to go when
   * memory is needed, oldest first; and when nothing is aspired to any more. @default false
   */
  readonly standby?: StandbyOptions | false;
  /** Watches a new version while the old one stays, and goes back by itself. @default false */
  readonly bake?: BakeOptions | false;
  /** Runs before a version becomes Available, and can refuse it. @default false */
  readonly validate?: ValidateServable | false;
  /** What becomes of a version whose content changed in place. @default 'refuse' */
  readonly onContentChange?: ContentChange;
}

/** Intent that goes with a list. What is not given stays as it was. */
export interface AspiredVersionsOptions extends ServableOptions {
  /** All labels of the servable: label to version. Replaces the earlier ones. */
  readonly labels?: Readonly<Record<string, number>>;
  /** The version a plain name resolves to; null takes the primary away. */
  readonly primary?: number | null;
}

/** How one version of a list came out. */
export interface TransitionVersion {
  readonly version: number;
  readonly managerState: ManagerState;
  readonly error?: AspiredError;
}

/** How a list came out. */
export interface TransitionResult {
  readonly name: string;
  /** One entry per version of the list, in the order of the list. */
  readonly versions: readonly TransitionVersion[];
  /** A later list for the same name replaced this one before it was done. */
  readonly superseded: boolean;
}

/** The way from what was to what is aspired. */
export interface Transition {
  readonly name: string;
  /**
   * Resolves when every version of the list is Available or ended and every dropped one is gone. Never rejects; a list
   * that was superseded settles too, and close() settles what is left.
   */
  readonly settled: Promise<TransitionResult>;
}

/**
 * Where aspired versions go: the manager, a router, an adapter. Every call replaces the whole aspired set of that one
 * name: A VERSION THAT IS NOT IN THE LIST IS UNLOADED; an empty list unloads everything. Other names are not affected.
 */
export interface AspiredVersionsTarget<T = unknown> {
  setAspiredVersions(name: string, versions: readonly AspiredVersion<T>[]): unknown;
}

/** Which version of a servable is wanted. A plain string is the name. */
export type ServableRequest =
  | string
  | { readonly name: string; readonly version?: number | 'latest' | 'earliest'; readonly label?: undefined }
  | { readonly name: string; readonly label: string; readonly version?: undefined };

/** One step in the life of a version. */
export interface ServableStateEvent {
  readonly id: ServableId;
  readonly managerState: ManagerState;
  /** Why it ended, when it did not end well. */
  readonly error?: AspiredError;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Counts up: a version that is loaded again, or aspired again while it drains, starts a new incarnation. */
  readonly incarnation: number;
}

/** A managed version, as `getServableStates` shows it. */
export interface ServableVersionState {
  readonly id: ServableId;
  /** State of the harness. */
  readonly state: HarnessState;
  /** State as the events tell it. */
  readonly managerState: ManagerState;
  readonly aspired: boolean;
  /** Why the version, or its last attempt, failed. */
  readonly error?: AspiredError;
  /** Load attempts of this incarnation. */
  readonly attempts: number;
  readonly incarnation: number;
  /** The stream has an aspired version that failed and is waiting for its next retry, or for good. */
  readonly degraded: boolean;
  /** When the next retry is due, in milliseconds since the epoch. */
  readonly nextRetryAt?: number;
  /** Handles held in this isolate. */
  readonly leases: number;
  /**
   * Why it does not load yet: it waits for memory, with the arithmetic; or its loader is asked for an estimate. Of a version
   * that is Loading, its next attempt waits, after one that was given up.
   */
  readonly waiting?: string;
  /** Dropped, and kept resident for a way back. */
  readonly standby: boolean;
  /** In its bake. */
  readonly baking: boolean;
  /** It failed its bake, and is not tried again before it is aspired to with another loader, or its content changes. */
  readonly bad: boolean;
}
