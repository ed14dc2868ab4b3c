// What the native addon exports. Nothing else in lib/ names the addon's functions; the numbers and tuples of this page
// are those of native/binding.
import type { HarnessState, ManagerState } from '../types.js';
import { loadNative } from './load.js';

/** A status that is not OK. `cause` is the token of the loader that knows more, or 0. */
export interface NativeStatus {
  readonly code: string;
  readonly message: string;
  readonly cause: number;
}

/** Messages from the core, in the order of its state changes: dispatch(kind, a, b). */
export const Message = {
  /** token, attempt or [attempt, {@link NativeAllocation} reserved] */ Load: 0,
  /** token */ Cancel: 1,
  /** token */ Unload: 2,
  /** token */ Release: 3,
  /** token */ Open: 4,
  /** token, epoch */ Close: 5,
  /** names */ Decide: 6,
  /** transition, {@link NativeTransitionResult} */ Settled: 7,
  /** {@link NativeState} */ Event: 8,
  /** wait, [outcome, states] */ WaitDone: 9,
  /** ids of what was abandoned */ Closed: 10,
  /** token */ Estimate: 11,
  /** token, token of the loader that it stands in for */ Renew: 12,
  /** name, {@link NativeBake} */ Bake: 13,
} as const;

/** Flags of an aspired version. */
export const VersionFlag = { Estimates: 1, Replace: 2, SameLoader: 4 } as const;

/** How a wait ended. */
export const WaitOutcome = { Reached: 0, Ended: 1, Closed: 2 } as const;

export type NativeState = readonly [
  version: number,
  managerState: number,
  status: NativeStatus | undefined,
  incarnation: number,
  at: number,
  name: string,
];
export type NativeTransitionResult = readonly [
  name: string,
  superseded: boolean,
  versions: readonly (readonly [version: number, managerState: number, status: NativeStatus | undefined])[],
];
export type NativeVersionState = readonly [
  version: number,
  state: number,
  aspired: boolean,
  status: NativeStatus | undefined,
  attempts: number,
  incarnation: number,
  retryInMs: number | undefined,
  degraded: boolean,
  standby: boolean,
  baking: boolean,
  bad: boolean,
  waiting: string | undefined,
];
export type NativeBake = readonly [version: number, incarnation: number, previous: number];
/** Memory in bytes, of 'main' or 'cuda'; without an instance: of any. */
export type NativeAllocation = readonly (readonly [device: string, instance: number | undefined, bytes: number])[];
export type NativeFootprint = readonly [servable: string, device: string, estimated: number, measured: number];
export type NativeResources = readonly [
  devices: readonly (readonly [
    device: string,
    instance: number,
    limit: number,
    estimated: number,
    reserved: number,
    measured: number,
    total: number | undefined,
    used: number | undefined,
    usedByOthers: number | undefined,
    available: number,
    drift: number,
    status: NativeStatus | undefined,
    measuredCgroup: number | undefined,
    aloneInCgroup: boolean | undefined,
  ])[],
  versions: readonly (readonly [
    name: string,
    version: number,
    state: number,
    standby: boolean,
    waiting: string | undefined,
    shares: readonly (readonly [
      device: number,
      estimated: number,
      reserved: number,
      measured: number,
      measuredCgroup: number | undefined,
    ])[],
    givenUp: boolean,
  ])[],
];
export type NativeAction = readonly [action: 'load' | 'unload', name: string, version: number];
export type NativeThreadStats = readonly [threads: number, queued: number, running: number, completed: number];

export interface NativeIntent {
  readonly policy?: number | undefined;
  readonly labels?: readonly (readonly [label: string, version: number])[] | undefined;
  readonly primary?: number | null | undefined;
  readonly priority?: number | undefined;
  readonly freesOwn?: boolean | undefined;
  readonly standby?: readonly [versions: number, ms: number] | undefined;
  readonly bake?: boolean | undefined;
}

export interface NativeManagerOptions {
  /** See {@link Policy}. */
  readonly policy: number;
  readonly externalOrder: boolean;
  readonly manageStateIntervalMs: number;
  readonly numLoadThreads: number;
  readonly numUnloadThreads: number;
  readonly maxNumLoadRetries: number;
  readonly loadRetryIntervalMs: number;
  readonly maxLoadRetryIntervalMs: number;
  readonly slowRetryIntervalMs: number;
  readonly maxSlowRetryIntervalMs: number;
  readonly enableReloadServablesWithError: boolean;
  readonly freesOwn: boolean;
  readonly standby: readonly [versions: number, ms: number];
  readonly bake: boolean;
  readonly limits: NativeAllocation;
  /** UUIDs of the GPUs, in the order of the limits. */
  readonly cuda: readonly string[];
  readonly cudaPath: string;
  readonly nvmlPath: string;
  readonly maxLogEvents: number;
}

/** Numbers of the policies; External is one that JavaScript decides. */
export const Policy = { AvailabilityPreserving: 0, ResourcePreserving: 1, External: 2 } as const;

/** The manager of the core. After close() and its Closed message only join() may be called, once. */
export interface NativeManager {
  /** Returns the number of the transition, or why nothing was changed. One token per version. */
  setAspiredVersions(
    name: string,
    versions: readonly number[],
    tokens: readonly number[],
    /** See {@link VersionFlag}. */
    flags: readonly number[],
    errors: readonly (string | undefined)[] | undefined,
    intent: NativeIntent | undefined,
  ): number | NativeStatus;
  setIntent(name: string, intent: NativeIntent): NativeStatus | undefined;
  getIntent(name: string): { readonly labels: readonly (readonly [string, number])[]; readonly primary: number | null };
  getVersionStates(name: string): readonly NativeVersionState[];
  getServableNames(): string[];
  getEventLog(): readonly NativeState[];
  getPolicySnapshots(name: string): readonly (readonly [version: number, state: number, aspired: boolean])[];
  collectActions(name: string): NativeAction[];
  performActions(actions: readonly NativeAction[]): (NativeStatus | undefined)[];
  /** Starts a wait; WaitDone will name `wait`. Returns the number by which it is cancelled. */
  wait(requests: readonly (readonly [string, number | undefined])[], goal: number, wait: number): number;
  cancelWait(id: number): void;
  getResources(): NativeResources;
  /** By device. */
  setLimits(limits: readonly number[]): void;
  exportFootprints(): readonly NativeFootprint[];
  importFootprints(footprints: readonly NativeFootprint[]): void;
  clearFootprints(name: string | undefined): void;
  finishBake(
    name: string,
    version: number,
    incarnation: number,
    code: string | undefined,
    message: string,
    cause: number,
  ): NativeStatus | undefined;
  estimateDone(
    token: number,
    estimate: NativeAllocation | undefined,
    code: string | undefined,
    message: string,
    cause: number,
    retriable: boolean,
  ): void;
  /**
   * `shared`: what the servable gives away for other threads, an opaque native value. `givenUp`: the load still runs, and this
   * is its name for loadOver().
   */
  loadDone(
    token: number,
    code: string | undefined,
    message: string,
    cause: number,
    retriable: boolean,
    shared?: unknown,
    givenUp?: number,
  ): void;
  loadOver(givenUp: number): void;
  unloadDone(token: number, code: string | undefined, message: string, cause: number): void;
  drained(name: string, version: number, epoch: number): void;
  /** Other threads may attach by this token from now on. */
  share(token: string): void;
  /**
   * What attachments counted of the version with this token: copies, and whether the attachment is still there. What those
   * counted that are gone is one sum.
   */
  getCounters(token: number): readonly (readonly [counters: Float64Array, isAttached: boolean])[];
  setNumLoadThreads(count: number): void;
  setNumUnloadThreads(count: number): void;
  subscribe(on: boolean): void;
  step(): void;
  getNextDue(): number | undefined;
  /** Threads that are attached now. */
  getNumAttached(): number;
  getStats(): readonly [managed: number, load: NativeThreadStats, unload: NativeThreadStats];
  /** The load threads as an executor, for native loaders. */
  getLoadThreads(): unknown;
  getUnloadThreads(): unknown;
  close(drainTimeoutMs: number): NativeStatus | undefined;
  join(): void;
  /** While the count of ref() above unref() is positive, the event loop stays alive. */
  ref(): void;
  unref(): void;
}

/** See native/binding/cuda_info.h. */
export type NativeCudaDevice = readonly [
  ordinal: number | undefined,
  uuid: string,
  name: string,
  totalBytes: number,
  isMig: boolean,
  parentUuid: string | undefined,
  usedBytes: number | undefined,
  selfBytes: number | undefined,
  status: NativeStatus | undefined,
];

/** Messages to an attachment, in the order of the manager's state changes: dispatch(kind, a, b). */
export const AttachMessage = {
  /** {@link NativeOpenServable} */ Open: 0,
  /** key, epoch */ Close: 1,
  /** key: it is being unloaded */ Gone: 2,
  /** {@link NativeReaderIntent} */ Intent: 3,
  /** the manager is closing */ Shut: 4,
  /** what attach() left out has been told */ CaughtUp: 5,
} as const;

export type NativeOpenServable = readonly [key: number, name: string, version: number, shared: unknown];
export type NativeReaderIntent = readonly [
  name: string,
  aspired: readonly number[],
  labels: readonly (readonly [label: string, version: number])[],
  primary: number | null,
];

/** The registry of this thread as a part of a manager of another one. */
export interface NativeAttachment {
  /**
   * What is there now; what changes from now on comes by `dispatch`. Where another thread is still telling of what is there,
   * this waits for it, for a second at most; then it is not complete, and the rest comes by `dispatch`, with a CaughtUp
   * behind it. Undefined: no such manager is open.
   */
  attach(
    token: string,
    dispatch: (kind: number, a: unknown, b: number) => void,
  ):
    | readonly [intents: readonly NativeReaderIntent[], open: readonly NativeOpenServable[], isComplete: boolean]
    | undefined;
  /** The manager reads what is counted of this version here, as it is and as it was at stopCounting() or the end. */
  countIn(key: number, counters: Float64Array): void;
  stopCounting(key: number): void;
  /** Answers a Close, once. */
  drained(epoch: number): void;
  /** Everything has drained, and nothing more is heard. */
  detach(): void;
}

interface NativeAddon {
  /** What limits the memory of this process. */
  hostMemory(): { readonly bytes: number; readonly machine: number; readonly limit: string };
  readonly NativeAttachment: new () => NativeAttachment;
  readonly NativeManager: new (
    options: NativeManagerOptions,
    dispatch: (kind: number, a: unknown, b: unknown) => void,
  ) => NativeManager;
  readonly harnessStates: readonly HarnessState[];
  readonly managerStates: readonly ManagerState[];
  readonly managerStateOf: readonly ManagerState[];
  getNextAction(
    policy: number,
    versions: readonly number[],
    states: readonly number[],
    aspired: readonly boolean[],
  ): readonly ['load' | 'unload', number] | undefined;
  /** `absence` is empty when there are devices. Empty paths mean the usual names. */
  readCudaDevices(
    cudaPath: string,
    nvmlPath: string,
  ): readonly [
    absence: string,
    message: string,
    cudaVersion: string | undefined,
    driverVersion: string | undefined,
    devices: readonly NativeCudaDevice[],
  ];
}

/** The addon; loaded when this module is. */
export const native = loadNative() as NativeAddon;

/** Names of the harness states, by number. */
export const harnessStates: readonly HarnessState[] = native.harnessStates;
/** Names of the manager states, by number. */
export const managerStates: readonly ManagerState[] = native.managerStates;
