import { AspiredError, messageOf } from '../../errors.js';

/** What cannot be told twice within this time, in ms: a store that is away fails everything, several times a second. */
const QUIET_MS = 10_000;

/** Makes AspiredErrors of what went wrong where nobody waits for it, and tells each once in a while. */
export class Complaints {
  private readonly told = new Map<string, number>();

  constructor(
    private readonly onError: (error: AspiredError) => void,
    private readonly clock: () => number,
  ) {}

  /** Never throws: not even when the listener does. */
  tell(thrown: unknown): void {
    const error =
      thrown instanceof AspiredError ? thrown : new AspiredError('ERR_INTERNAL', messageOf(thrown), { cause: thrown });
    // The store says the same of each command, with the name of the command.
    const key = error.code === 'ERR_STORE_UNAVAILABLE' ? error.code : `${error.code} ${error.message}`;
    const now = this.clock();
    if (now - (this.told.get(key) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return;
    if (this.told.size > 100) this.told.clear();
    this.told.set(key, now);
    try {
      this.onError(error);
    } catch (failure) {
      process.emitWarning(failure instanceof Error ? failure : String(failure));
    }
  }

  /** It is over: the next time it is news again. */
  forget(code: string): void {
    this.told.delete(code);
  }
}
