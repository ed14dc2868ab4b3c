import type { AspiredError } from '../errors.js';
import type { ResourceReservation } from '../resources/types.js';
import type { LoadContext, ServableId } from '../types.js';

/** Under this symbol a context carries the manager's load threads, for loaders that work in native code. */
export const kLoadThreads: unique symbol = Symbol.for('aspired.loadThreads') as never;
/** Under this symbol the second argument of unload() carries the manager's unload threads. */
export const kUnloadThreads: unique symbol = Symbol.for('aspired.unloadThreads') as never;

/** Under this symbol the argument of estimateResources() says how many GPUs the manager accounts. */
export const kNumGpus: unique symbol = Symbol.for('aspired.numGpus') as never;

/** The context of one attempt. The AbortController is made when a loader first asks for the signal. */
export class AttemptContext implements LoadContext {
  readonly id: ServableId;
  readonly attempt: number;
  readonly reservation: ResourceReservation | undefined;
  private readonly loadThreads: () => unknown;
  private controller: AbortController | undefined;
  private isAborted = false;
  private reason: unknown;

  constructor(
    id: ServableId,
    attempt: number,
    reservation: ResourceReservation | undefined,
    loadThreads: () => unknown,
  ) {
    this.id = id;
    this.attempt = attempt;
    this.reservation = reservation;
    this.loadThreads = loadThreads;
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.isAborted) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  get [kLoadThreads](): unknown {
    return this.loadThreads();
  }

  get aborted(): boolean {
    return this.isAborted;
  }

  /** Aborts the attempt, once. */
  abort(reason: unknown): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.reason = reason;
    this.controller?.abort(reason);
  }
}

/** One attempt to load. */
export class Attempt {
  settled = false;
  timer: NodeJS.Timeout | undefined = undefined;
  /** What the attempt is given up with. */
  verdict: AspiredError | undefined = undefined;
  /** Its name in the core when it was given up and still runs. */
  givenUp: number | undefined = undefined;

  constructor(readonly context: AttemptContext) {}
}
