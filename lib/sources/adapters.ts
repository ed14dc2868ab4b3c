import { join } from 'node:path';
import { AspiredError, messageOf } from '../errors.js';
import { invalidOption } from '../options.js';
import type { ServableId } from '../types.js';
import { Relay } from './relay.js';
import { type ErroredItem, isThenable, type SourceItem, type SourceTarget } from './source.js';

/**
 * A step between a source and a target. It is a description: one adapter can be put before any number of targets.
 *
 *     source.connect(prefixPaths('/models').pipe(toLoaders(({ path }) => onnxLoader(path))).to(manager));
 */
export interface SourceAdapter<In, Out> {
  /** The target that adapts what it gets and hands it to `target`. */
  to(target: SourceTarget<Out>): SourceTarget<In>;
  /** This adapter, then `next`. */
  pipe<Next>(next: SourceAdapter<Out, Next>): SourceAdapter<In, Next>;
}

/** An adapter from the function that puts it before a target. */
export function createAdapter<In, Out>(to: (target: SourceTarget<Out>) => SourceTarget<In>): SourceAdapter<In, Out> {
  return {
    to(target) {
      checkTarget('target', target);
      return to(target);
    },
    pipe: (next) => createAdapter((target) => to(next.to(target))),
  };
}

/**
 * Converts payloads one by one. A conversion that throws or rejects turns its own item into an errored one; items that
 * are in error already keep their error; order and count stay.
 */
export function mapItems<In, Out>(
  convert: (payload: In, id: ServableId) => Out | Promise<Out>,
): SourceAdapter<SourceItem<In>, SourceItem<Out>> {
  if (typeof convert !== 'function') throw invalidOption('convert', 'a function', convert);
  return createAdapter((target) => new Relay(target, (name, item) => convertItem(name, item, convert)));
}

/** Puts `prefix` before every path; an empty prefix changes nothing. */
export function prefixPaths(prefix: string): SourceAdapter<SourceItem<string>, SourceItem<string>> {
  if (typeof prefix !== 'string') throw invalidOption('prefix', 'a string', prefix);
  return mapItems((path) => (prefix === '' ? path : join(prefix, path)));
}

/** Gives every item `error`, except the ones that have an error of their own: for names that nothing can serve. */
export function injectErrors(error: unknown): SourceAdapter<SourceItem<unknown>, ErroredItem> {
  if (error === undefined) throw invalidOption('error', 'an error', error);
  return createAdapter(
    (target) => new Relay(target, (_name, item) => (hasError(item) ? item : { version: item.version, error })),
  );
}

/** Whether an item is in error. */
export function hasError<P>(item: SourceItem<P>): item is ErroredItem {
  return item.error !== undefined;
}

/** The error of an item whose stage failed: an AspiredError as it is, anything else as the cause of one. */
export function itemError(thrown: unknown, id: ServableId): AspiredError {
  if (thrown instanceof AspiredError) return thrown;
  return new AspiredError('ERR_SOURCE_ERROR', `Cannot prepare ${id.name}/${id.version}: ${messageOf(thrown)}`, {
    cause: thrown,
    servable: id,
  });
}

/** Throws unless `target` can take lists. */
export function checkTarget(name: string, target: unknown): void {
  const method = (target as { setAspiredVersions?: unknown } | null | undefined)?.setAspiredVersions;
  if (typeof method !== 'function') throw invalidOption(name, 'an object with setAspiredVersions', target);
}

function convertItem<In, Out>(
  name: string,
  item: SourceItem<In>,
  convert: (payload: In, id: ServableId) => Out | Promise<Out>,
): SourceItem<Out> | Promise<SourceItem<Out>> {
  if (hasError(item)) return item;
  const { version, revision, digest } = item;
  const id = { name, version };
  const content = { ...(revision === undefined ? {} : { revision }), ...(digest === undefined ? {} : { digest }) };
  const made = (payload: Out): SourceItem<Out> => ({ version, payload, ...content });
  const failed = (thrown: unknown): SourceItem<Out> => ({ version, error: itemError(thrown, id) });
  try {
    const payload = convert(item.payload, id);
    return isThenable(payload) ? Promise.resolve(payload).then(made, failed) : made(payload as Out);
  } catch (error) {
    return failed(error);
  }
}
