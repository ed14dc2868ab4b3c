// What is written down during a run, one line of JSON each. Hosts and controllers append to files of their own, which the
// fleet under test knows nothing of; all times are of the one monotonic clock of the machine, in ms.
import type { FaultKind } from '../seeded/schedule.js';

/** What really happened on a host, by its own process. */
export type HostEvent =
  | { readonly e: 'boot'; readonly host: string; readonly zone: string; readonly capacity: number }
  /** The versions that a reader can have, and the one of a plain name: written when either changes. */
  | {
      readonly e: 'available';
      readonly host: string;
      readonly model: string;
      readonly versions: readonly number[];
      readonly primary?: number | undefined;
    }
  /** A list was given to the manager; without a generation: from the disk, before the agent was there to ask. */
  | {
      readonly e: 'list';
      readonly host: string;
      readonly model: string;
      readonly versions: readonly number[];
      readonly generation?: number | undefined;
    }
  /** The accepted cell changed. */
  | {
      readonly e: 'cell';
      readonly host: string;
      readonly model: string;
      readonly generation: number;
      readonly versions: readonly number[];
      readonly primary?: number | undefined;
      readonly rolledBack?: readonly number[] | undefined;
    }
  /** Memory is taken from `loading` on, and given back by `unloaded` or `failed`. */
  | {
      readonly e: 'loading' | 'loaded' | 'failed' | 'unloaded';
      readonly host: string;
      readonly model: string;
      readonly version: number;
      readonly bytes: number;
    }
  /** Requests since the last such line; `refused`: nothing was there to answer them. */
  | {
      readonly e: 'requests';
      readonly host: string;
      readonly model: string;
      readonly answered: number;
      readonly failed: number;
      readonly refused: number;
    };

/** What a controller did, by its own process. */
export type ControllerEvent =
  | {
      readonly e: 'commit';
      readonly rollout: string;
      readonly model: string;
      /** The revision that the controller meant to follow. */
      readonly expected: number;
      readonly outcome: 'committed' | 'duplicate' | 'conflict';
      readonly revision: number;
      readonly phase: string;
      readonly wave: number;
      readonly end?: string | undefined;
      readonly tombstone?: number | undefined;
      readonly event: string;
      /** Of the audit, and why it does not go on: for whoever looks for a reason. */
      readonly message: string;
      readonly hold?: string | undefined;
      /** The answers of webhooks that count from here on, by their messages. */
      readonly answers?: readonly string[] | undefined;
      /** The store's clock. */
      readonly at: number;
    }
  /** The same commit was sent once more. */
  | {
      readonly e: 'resent';
      readonly rollout: string;
      readonly revision: number;
      readonly outcome: string;
      readonly again: number;
    }
  | { readonly e: 'probe'; readonly point: string; readonly rollout: string };

export interface AuditLine {
  readonly rollout: string;
  readonly revision?: number | undefined;
  readonly event: string;
  readonly actor: string;
}

/** How a rollout stood when the run was over; without an outcome: it had not ended. */
export interface RolloutEnd {
  readonly id: string;
  readonly outcome?: string | undefined;
  readonly revision?: number | undefined;
}

/** What the test did and saw from outside. */
export type HarnessEvent =
  | { readonly e: 'fault'; readonly kind: FaultKind; readonly detail: string; readonly n: number }
  | { readonly e: 'fault-over'; readonly kind: FaultKind; readonly n: number }
  /** A host lost its process: by the test, or by a version that takes its host down. */
  | { readonly e: 'down'; readonly host: string; readonly why: string }
  /**
   * The data of the store went back to what it was at `since`; nothing was left of it without. `exported`: what was taken back
   * until then was in an export, and is restored. `at`: by the store's clock, which is the machine's.
   */
  | {
      readonly e: 'lost-writes';
      readonly since?: number | undefined;
      readonly exported?: number | undefined;
      readonly at?: number;
    }
  | {
      readonly e: 'started';
      readonly rollout: string;
      readonly model: string;
      readonly version: number;
      /** 0: none. */
      readonly from: number;
      /** By host, from 0. */
      readonly waves: Readonly<Record<string, number>>;
    }
  | {
      readonly e: 'verb';
      readonly rollout: string;
      readonly verb: string;
      readonly operation: string;
      readonly actor: string;
      readonly outcome: 'applied' | 'no-op' | 'refused' | 'pending' | 'unknown';
      readonly replicated: number;
      /** When it was given first; `t` is when it was acknowledged. */
      readonly sent: number;
    }
  | { readonly e: 'ended'; readonly rollout: string; readonly outcome: string }
  | { readonly e: 'gate-result'; readonly rollout: string; readonly key: string; readonly result: string }
  /** The webhook was called, and answered. */
  | {
      readonly e: 'call';
      /** The idempotency key. */
      readonly key: string;
      readonly rollout: string;
      readonly wave: number;
      /** The rest of the question. */
      readonly asks: string;
      /** When the question came; `t` is just before the answer. */
      readonly sent: number;
      /** Undefined: it answered with an error. */
      readonly verdict?: 'pass' | 'fail' | undefined;
      /** The message of the answer: no other call has the same. */
      readonly answer: string;
    }
  /** No faults from here on. */
  | { readonly e: 'quiet' }
  /** The fleet had time enough; what the store says now. */
  | {
      readonly e: 'final';
      readonly audit: Readonly<Record<string, readonly AuditLine[]>>;
      readonly rollouts: readonly RolloutEnd[];
      readonly models: readonly {
        readonly name: string;
        readonly stable?: number | undefined;
        readonly tombstones: readonly number[];
        /** A rollout: one whose start was never acknowledged is followed by nobody. */
        readonly active?: string | undefined;
      }[];
      /** By host and model, decoded. */
      readonly desired: readonly {
        readonly host: string;
        readonly model: string;
        readonly generation: number;
        readonly versions: readonly number[];
        readonly primary?: number | undefined;
      }[];
    };

export type ChaosEvent = (HostEvent | ControllerEvent | HarnessEvent) & {
  /** Monotonic, ms. */
  readonly t: number;
  /** The process that wrote it. */
  readonly by: string;
};

/** One kind of event. */
export type EventOf<K extends ChaosEvent['e']> = Extract<ChaosEvent, { e: K }>;

/** What a run was like, for the checkers. */
export interface RunSettings {
  readonly seed: number;
  readonly bakeMs: number;
  readonly heartbeatMs: number;
  readonly maxUnavailable: number;
  /** From the end of the faults to the end of the last rollout, ms. */
  readonly endsWithinMs: number;
  /** From a rollback to the last host without the version, as far as nothing is wrong meanwhile, ms. */
  readonly rollbackMs: number;
  readonly replicas: number;
}

export interface History {
  readonly settings: RunSettings;
  /** In order of time. */
  readonly events: readonly ChaosEvent[];
}

/** What a checker found. */
export interface Violation {
  readonly invariant: string;
  /** When, monotonic ms. */
  readonly t: number;
  readonly message: string;
}

/** The events of one kind, in order. */
export function eventsOf<K extends ChaosEvent['e']>(
  { events }: Pick<History, 'events'>,
  ...kinds: readonly K[]
): EventOf<K>[] {
  return events.filter((event): event is EventOf<K> => (kinds as readonly string[]).includes(event.e));
}
