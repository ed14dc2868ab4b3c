// How the process ends: for scripts, so these numbers stay.
import { AspiredError, type CanonicalStatus } from '../errors.js';
import type { RolloutState } from '../fleet/index.js';

/** Exit codes. `status` uses the first four; everything else 0 or one from 64 on, which are those of sysexits.h. */
export const EXIT = {
  /** Done. Of status: promoted. */
  OK: 0,
  /** Of status: rolled back, aborted or undone. Of doctor: something is wrong. */
  FAILED: 1,
  /** It did not come to an end in time. */
  TIMEOUT: 2,
  /** Of status: frozen, an operator decides. */
  FROZEN: 3,
  /** The command line, a plan or a name is wrong. */
  USAGE: 64,
  /** Refused: the state of things does not allow it. */
  REFUSED: 65,
  /** No such rollout, host or model. */
  NOT_FOUND: 66,
  /** The store does not answer. */
  UNAVAILABLE: 69,
  /** A fault of ours. */
  INTERNAL: 70,
  /** The store refuses this user. */
  DENIED: 77,
  /** Interrupted by Ctrl-C. */
  INTERRUPTED: 130,
} as const;

const BY_STATUS: Partial<Readonly<Record<CanonicalStatus, number>>> = {
  INVALID_ARGUMENT: EXIT.USAGE,
  OUT_OF_RANGE: EXIT.USAGE,
  FAILED_PRECONDITION: EXIT.REFUSED,
  ALREADY_EXISTS: EXIT.REFUSED,
  ABORTED: EXIT.REFUSED,
  DATA_LOSS: EXIT.REFUSED,
  RESOURCE_EXHAUSTED: EXIT.REFUSED,
  NOT_FOUND: EXIT.NOT_FOUND,
  UNAVAILABLE: EXIT.UNAVAILABLE,
  DEADLINE_EXCEEDED: EXIT.TIMEOUT,
  PERMISSION_DENIED: EXIT.DENIED,
  UNAUTHENTICATED: EXIT.DENIED,
  CANCELLED: EXIT.INTERRUPTED,
};

/** A command line that cannot be meant: printed without a code, with exit code 64. */
export class UsageError extends Error {}

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.USAGE;
  if (error instanceof AspiredError) return BY_STATUS[error.status] ?? EXIT.INTERNAL;
  return EXIT.INTERNAL;
}

/** What `status` answers; undefined while the rollout goes on. */
export function exitCodeOfRollout({ phase, outcome }: RolloutState): number | undefined {
  if (phase === 'Frozen') return EXIT.FROZEN;
  if (phase !== 'Ended') return undefined;
  return outcome === 'Promoted' || outcome === 'FastPromoted' ? EXIT.OK : EXIT.FAILED;
}
