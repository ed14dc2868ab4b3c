// What loaders answer and throw, in the words of the manager.
import { AspiredError, type AspiredErrorCode, messageOf } from '../errors.js';
import type { ServableId } from '../types.js';

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

export function nameOf(id: ServableId): string {
  return `${id.name}/${id.version}`;
}

/** What a loader threw, as an AspiredError of this version; an error that has a code keeps it. */
export function wrapError(code: AspiredErrorCode, what: string, id: ServableId, thrown: unknown): AspiredError {
  if (thrown instanceof AspiredError) {
    if (thrown.servable) return thrown;
    return new AspiredError(thrown.code, thrown.message, { cause: thrown, servable: id });
  }
  return new AspiredError(code, `${what} ${nameOf(id)} failed: ${messageOf(thrown)}`, { cause: thrown, servable: id });
}
