// The words of the way from a source to the manager: source -> adapters, routers -> loaders -> manager.
import type { Loader } from '../types.js';

/**
 * One version on its way to the manager: a payload (a path, say), or the error of a stage that could not prepare it.
 * An errored item is still a version: the manager shows it as ended with that error.
 */
export type SourceItem<P> =
  | {
      readonly version: number;
      readonly payload: P;
      /** Changes when what the payload stands for changes in place: the version gets a new loader. */
      readonly revision?: string;
      /** Identity of the content, for the manager; another one does what another revision does. */
      readonly digest?: string;
      readonly error?: undefined;
    }
  | ErroredItem;

/** A version that a stage could not prepare. */
export interface ErroredItem {
  readonly version: number;
  readonly error: unknown;
  readonly payload?: undefined;
}

/**
 * Takes lists of items. Every call replaces the whole list of that one name: A VERSION THAT IS NOT IN THE LIST IS
 * UNLOADED; an empty list unloads everything. The manager is a target of {@link AspiredVersion}s.
 *
 * A target that works asynchronously returns a promise; a later list for the same name overtakes an earlier one.
 */
export interface SourceTarget<Item> {
  setAspiredVersions(name: string, items: readonly Item[]): unknown;
}

/** A version that a source found. */
export interface SourceVersion {
  readonly name: string;
  readonly version: number;
  readonly path: string;
}

/** Makes the loader of a version. What it throws, or rejects with, becomes the error of that one version. */
export type LoaderFactory<T, V = SourceVersion> = (version: V) => Loader<T> | Promise<Loader<T>>;

/** A source at work. Disposing it ends all work of the source; nothing reaches the target afterwards. */
export interface SourceConnection extends Disposable {
  /** The connection was disposed, by its owner or because the manager closed. */
  readonly closed: boolean;
  /** Ends the connection. What is aspired stays aspired. Idempotent. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A target under this key takes a callback to run when it closes, and returns a function that takes it back. */
export const onClose: unique symbol = Symbol.for('aspired.onClose');

/** Runs `callback` when `target` closes, where the target can say so. */
export function registerOnClose(target: object, callback: () => void): () => void {
  const register = (target as { [onClose]?: unknown })[onClose];
  if (typeof register !== 'function') return () => {};
  const unregister: unknown = register.call(target, callback);
  return typeof unregister === 'function' ? () => void unregister() : () => {};
}

/** Whether a stage answered with a promise. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
