import { AspiredError, messageOf } from '../errors.js';
import { isThenable, registerOnClose, type SourceConnection, type SourceTarget } from './source.js';

/** How the hand-over of one list went. Both absent: the target has it. */
export interface Delivery {
  /** The target refused the list. */
  readonly error?: AspiredError;
  /** The target, or a stage before it, is asynchronous. Resolves with its error; never rejects. */
  readonly pending?: Promise<AspiredError | undefined>;
}

/**
 * The connection of a source: the gate in front of the target. Nothing passes once it is disposed, by its owner or
 * because the target closed.
 */
export class Connection<Item> implements SourceConnection, SourceTarget<Item> {
  readonly #target: SourceTarget<Item>;
  readonly #onDispose: () => void;
  #unregister: (() => void) | undefined;
  #closed = false;

  /** `onDispose` ends the work of the source; it runs once. */
  constructor(target: SourceTarget<Item>, onDispose: () => void) {
    this.#target = target;
    this.#onDispose = onDispose;
  }

  /**
   * Follows the life of the target. Separate from the constructor: a closed target disposes at once, or throws, as the
   * manager does; the connection is disposed then, too.
   */
  open(): void {
    try {
      const unregister = registerOnClose(this.#target, () => this.dispose());
      if (this.#closed) unregister();
      else this.#unregister = unregister;
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  setAspiredVersions(name: string, items: readonly Item[]): unknown {
    if (this.#closed) return undefined;
    try {
      const answer = this.#target.setAspiredVersions(name, items);
      if (!isThenable(answer)) return answer;
      return answer.then(undefined, (error) => {
        this.#refused(error);
        throw error;
      });
    } catch (error) {
      this.#refused(error);
      throw error;
    }
  }

  dispose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unregister?.();
    this.#unregister = undefined;
    this.#onDispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #refused(error: unknown): void {
    if (error instanceof AspiredError && error.code === 'ERR_MANAGER_CLOSED') this.dispose();
  }
}

/** Makes a call that hands a list of `name` to a target. Never throws. */
export function deliver(name: string, call: () => unknown): Delivery {
  try {
    const answer = call();
    if (!isThenable(answer)) return {};
    return {
      pending: Promise.resolve(answer).then(
        () => undefined,
        (error: unknown) => refusal(name, error),
      ),
    };
  } catch (error) {
    return { error: refusal(name, error) };
  }
}

function refusal(name: string, error: unknown): AspiredError {
  if (error instanceof AspiredError) return error;
  const message = `The target did not take the versions of ${JSON.stringify(name)}: ${messageOf(error)}`;
  return new AspiredError('ERR_SOURCE_ERROR', message, { cause: error });
}
