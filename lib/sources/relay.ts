import { isThenable, onClose, registerOnClose, type SourceTarget } from './source.js';

/**
 * A stage between a source and a target: converts each item of a list, and hands the list on with order and count as
 * they were. It hands on at once where no conversion is asynchronous. Of overlapping conversions of one name only the
 * newest list is handed on, so a slow conversion can never put an old list over a new one.
 */
export class Relay<In, Out> implements SourceTarget<In> {
  readonly #target: SourceTarget<Out>;
  readonly #convert: (name: string, item: In) => Out | Promise<Out>;
  readonly #newest = new Map<string, object>();

  /** `convert` never throws and never rejects: a failure is an item with an error. */
  constructor(target: SourceTarget<Out>, convert: (name: string, item: In) => Out | Promise<Out>) {
    this.#target = target;
    this.#convert = convert;
  }

  setAspiredVersions(name: string, items: readonly In[]): unknown {
    const ticket = {};
    this.#newest.set(name, ticket);
    const converted = items.map((item) => this.#convert(name, item));
    if (!converted.some(isThenable)) return this.#handOn(name, ticket, converted as Out[]);
    return Promise.all(converted).then((ready) => this.#handOn(name, ticket, ready));
  }

  [onClose](callback: () => void): () => void {
    return registerOnClose(this.#target, callback);
  }

  #handOn(name: string, ticket: object, items: readonly Out[]): unknown {
    if (this.#newest.get(name) !== ticket) return undefined;
    this.#newest.delete(name);
    return this.#target.setAspiredVersions(name, items);
  }
}
