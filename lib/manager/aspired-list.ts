// Checks of what a caller gives for one servable: its list, its labels, its primary. They throw before anything changes.
import { AspiredError, messageOf } from '../errors.js';
import type { NativeIntent } from '../native/binding.js';
import { checkKeys, checkVersion, describe, invalidOption } from '../options.js';
import type { AspiredVersion, AspiredVersionsOptions, Loader, ServableId } from '../types.js';
import {
  type CheckedServableOptions,
  checkServableOptions,
  type LocalSettings,
  SERVABLE_KEYS,
} from './servable-options.js';

const INTENT_KEYS = [...SERVABLE_KEYS, 'labels', 'primary'];

/** One element of a list that has been checked: a loader, or the error of a source. */
export interface ListItem {
  readonly id: ServableId;
  readonly loader: Loader | undefined;
  readonly error: AspiredError | undefined;
  readonly digest: string | undefined;
}

export function checkList(name: string, versions: unknown): ListItem[] {
  if (!Array.isArray(versions)) throw invalidOption('versions', 'an array of aspired versions', versions);
  const seen = new Set<number>();
  return versions.map((item: AspiredVersion, index) => {
    const where = `versions[${index}]`;
    checkKeys(where, item, ['version', 'loader', 'error', 'digest']);
    const version = checkVersion(`${where}.version`, item.version);
    if (seen.has(version)) {
      throw new AspiredError('ERR_DUPLICATE_VERSION', `${where}: version ${version} of ${name} is in the list twice.`);
    }
    seen.add(version);
    return checkItem(where, { name, version }, item);
  });
}

function checkItem(where: string, id: ServableId, item: AspiredVersion): ListItem {
  const { loader, error } = item as { loader?: unknown; error?: unknown };
  const digest = checkDigest(`${where}.digest`, item.digest);
  const hasError = error !== undefined && error !== null;
  if (loader !== undefined && hasError) {
    throw invalidOption(where, 'a loader or an error, not both', item);
  }
  if (hasError) {
    const message = `The source could not prepare ${id.name}/${id.version}: ${messageOf(error)}`;
    return {
      id,
      loader: undefined,
      error: new AspiredError('ERR_SOURCE_ERROR', message, { cause: error, servable: id }),
      digest,
    };
  }
  return { id, loader: checkLoader(`${where}.loader`, loader), error: undefined, digest };
}

function checkDigest(where: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') throw invalidOption(where, 'a non-empty string', value);
  return value;
}

export function checkLoader(where: string, value: unknown): Loader {
  if (typeof value !== 'object' || value === null) {
    throw invalidOption(where, 'a loader (an object with load())', value, 'ERR_INVALID_LOADER');
  }
  const loader = value as Loader;
  if (typeof loader.load !== 'function') {
    const got = describe(loader.load);
    throw new AspiredError('ERR_INVALID_LOADER', `Expected a function for option ${where}.load, but received ${got}.`);
  }
  for (const method of ['warmup', 'validate', 'unload', 'estimateResources'] as const) {
    if (loader[method] !== undefined && typeof loader[method] !== 'function') {
      throw invalidOption(`${where}.${method}`, 'a function', loader[method], 'ERR_INVALID_LOADER');
    }
  }
  return loader;
}

/** Labels as entries, or undefined. */
export function checkLabels(value: unknown): ReadonlyMap<string, number> | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidOption('labels', 'an object of label: version', value);
  }
  return new Map(
    Object.entries(value).map(([label, version]) => {
      if (label === '') throw invalidOption('labels', 'labels that are not empty', value);
      return [label, checkVersion(`labels.${label}`, version)];
    }),
  );
}

export function checkPrimary(value: unknown): number | null | undefined {
  return value === undefined || value === null ? value : checkVersion('primary', value);
}

export interface CheckedIntent {
  readonly native: NativeIntent;
  readonly labels: ReadonlyMap<string, number> | undefined;
  readonly primary: number | null | undefined;
  readonly local: LocalSettings;
  readonly policy: CheckedServableOptions['policy'];
}

/** The options that go with a list; undefined when there are none. */
export function checkIntent(options: unknown): CheckedIntent | undefined {
  if (options === undefined) return undefined;
  checkKeys('options', options, INTENT_KEYS);
  const given = options as AspiredVersionsOptions;
  const labels = checkLabels(given.labels);
  const primary = checkPrimary(given.primary);
  const { native, local, policy } = checkServableOptions(given);
  return { native: { ...native, labels: labels && [...labels], primary }, labels, primary, local, policy };
}
