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
  /** token, attempt */ Load: 0,
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
} as const;

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
];
export type NativeAction = readonly [action: 'load' | 'unload', name: string, version: number];
export type NativeThreadStats = readonly [threads: number, queued: number, running: number, completed: number];

export interface NativeIntent {
  readonly policy?: number | undefined;
  readonly labels?: readonly (readonly [label: string, version: number])[] | undefined;
  readonly primary?: number | null | undefined;
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
  /** `shared`: what the servable gives away for other threads, an opaque native value. */
  loadDone(
    token: number,
    code: string | undefined,
    message: string,
    cause: number,
    retriable: boolean,
    shared?: unknown,
  ): void;
  unloadDone(token: number, code: string | undefined, message: string, cause: number): void;
  drained(name: string, version: number, epoch: number): void;
  /** Other threads may attach by this token from now on. */
  share(token: string): void;
  /** What attachments counted of the version with this token: copies, and whether the attachment is still there. */
  getCounters(token: number): readonly (readonly [counters: Float64Array, isAttached: boolean])[];
  setNumLoadThreads(count: number): void;
  setNumUnloadThreads(count: number): void;
  subscribe(on: boolean): void;
  step(): void;
  getNextDue(): number | undefined;
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

/** Messages to an attachment, in the order of the manager's state changes: dispatch(kind, a, b). */
export const AttachMessage = {
  /** {@link NativeOpenServable} */ Open: 0,
  /** key, epoch */ Close: 1,
  /** key: it is being unloaded */ Gone: 2,
  /** {@link NativeReaderIntent} */ Intent: 3,
  /** the manager is closing */ Shut: 4,
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
  /** What is there now; what changes from now on comes by `dispatch`. Undefined: no such manager is open. */
  attach(
    token: string,
    dispatch: (kind: number, a: unknown, b: number) => void,
  ): readonly [intents: readonly NativeReaderIntent[], open: readonly NativeOpenServable[]] | undefined;
  /** The manager reads what is counted of this version here, as it is and as it was at stopCounting() or the end. */
  countIn(key: number, counters: Float64Array): void;
  stopCounting(key: number): void;
  /** Answers a Close, once. */
  drained(epoch: number): void;
  /** Everything has drained, and nothing more is heard. */
  detach(): void;
}

interface NativeAddon {
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
}

/** The addon; loaded when this module is. */
export const native = loadNative() as NativeAddon;

/** Names of the harness states, by number. */
export const harnessStates: readonly HarnessState[] = native.harnessStates;
/** Names of the manager states, by number. */
export const managerStates: readonly ManagerState[] = native.managerStates;
