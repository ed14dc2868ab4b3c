import { resolve } from 'node:path';
import { AspiredError } from '../errors.js';
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkKeys,
  checkName,
  checkVersion,
  invalidOption,
} from '../options.js';
import { type SourceClock, systemClock } from './clock.js';
import type { ContentDigest } from './content-digest.js';
import type { ReadinessRules } from './readiness.js';

/** Which of the versions on disk are aspired. */
export type ServableVersionPolicy =
  /** The n highest numbers. */
  | { readonly latest?: number | undefined; readonly all?: undefined; readonly specific?: undefined }
  /** Every version. */
  | { readonly all: true; readonly latest?: undefined; readonly specific?: undefined }
  /** Exactly these, as far as they are there. An empty list means: none, and unloads all. */
  | { readonly specific: readonly number[]; readonly latest?: undefined; readonly all?: undefined };

/** One servable that a {@link FileSystemSource} looks after. */
export interface FileSystemServable {
  readonly name: string;
  /** Directory whose version directories (`7`, `007`) are the versions. Relative to the working directory at this time. */
  readonly basePath: string;
  /** @default { latest: 1 } */
  readonly versionPolicy?: ServableVersionPolicy | undefined;
  /** @default that of the source */
  readonly contentDigest?: ContentDigest | undefined;
}

/** What can be changed at run time. */
export interface FileSystemSourceConfig {
  /** All servables: one that is not in the list is un-aspired. */
  readonly servables: readonly FileSystemServable[];
}

/** Options of {@link FileSystemSource}. */
export interface FileSystemSourceOptions extends FileSystemSourceConfig {
  /**
   * Time between polls in milliseconds. 0: poll once when connected, and when asked; what that poll finds half written
   * is still waited for. @default 1000
   */
  readonly pollIntervalMs?: number | undefined;
  /** An empty listing is taken for a fault of the source and unloads nothing. @default true */
  readonly servableVersionsAlwaysPresent?: boolean | undefined;
  /**
   * Name of a file that is written last into each version directory. A directory without it is not offered; the
   * stability window is not used then.
   */
  readonly completionMarker?: string | undefined;
  /**
   * Without a marker: a directory is offered when nothing in it changed for this many milliseconds. 0: at once. With
   * one, it holds for a change in place for which no marker is written anew. @default 1000
   */
  readonly stabilityWindowMs?: number | undefined;
  /**
   * How often the content of versions that are offered already is looked at for changes in place, in milliseconds;
   * `poll()` always looks. @default 10_000
   */
  readonly contentCheckIntervalMs?: number | undefined;
  /**
   * How the content of a version is told from another one, so that a version directory that changes in place is noticed.
   * `'stat'`: names, sizes, modification times and inode numbers; a look takes some 60 us of processor time per file, and
   * a touch is a change. `'sha256'`: the bytes. They are read before the first offer, and again when something that the
   * file system tells of has changed, one directory at a time; a GiB takes some 0.7 s of this thread, in slices of 0.2 ms,
   * and as much of another. `'off'`: not at all; also for file systems whose inode numbers change. A directory with more than
   * 5000 entries has no digest, which is a problem in the results. @default 'stat'
   */
  readonly contentDigest?: ContentDigest | undefined;
  /**
   * A servable whose listing takes longer, in milliseconds, is given up for this poll; so are the bytes of a version for
   * which the file system does not answer for so long. @default 10_000
   */
  readonly scanTimeoutMs?: number | undefined;
  /**
   * How many servables are listed at a time. Each takes a thread of libuv's pool, which has four for the whole process.
   * @default 2
   */
  readonly maxConcurrentScans?: number | undefined;
  /** Let the file system's events wake the poll early. Has no effect with `pollIntervalMs: 0`. @default true */
  readonly watch?: boolean | undefined;
  /**
   * Told once about each problem that appears: a base path that cannot be listed, a version that is not a directory, a
   * listing that was refused, a target that threw. Without it each one is a process warning.
   */
  readonly onError?: ((error: AspiredError, context: { readonly name: string }) => void) | undefined;
  /** Time, for tests. */
  readonly clock?: SourceClock | undefined;
}

/** A policy after the checks. */
export type CheckedPolicy =
  | { readonly kind: 'latest'; readonly count: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'specific'; readonly versions: readonly number[] };

/** A servable after the checks. */
export interface CheckedServable {
  readonly name: string;
  readonly basePath: string;
  readonly policy: CheckedPolicy;
  readonly contentDigest: ContentDigest;
}

/** The options after the checks. */
export interface CheckedOptions {
  /** Of servables that have none of their own. */
  readonly contentDigest: ContentDigest;
  readonly servables: readonly CheckedServable[];
  readonly pollIntervalMs: number;
  readonly servableVersionsAlwaysPresent: boolean;
  readonly readiness: ReadinessRules;
  readonly scanTimeoutMs: number;
  readonly maxConcurrentScans: number;
  readonly watch: boolean;
  readonly onError: FileSystemSourceOptions['onError'];
  readonly clock: SourceClock;
}

const longestMs = 2 ** 31 - 1;

/** Checks all options before anything is made of them. */
export function checkFileSystemSourceOptions(options: FileSystemSourceOptions): CheckedOptions {
  checkKeys('FileSystemSource', options, [
    'servables',
    'pollIntervalMs',
    'servableVersionsAlwaysPresent',
    'completionMarker',
    'stabilityWindowMs',
    'contentCheckIntervalMs',
    'contentDigest',
    'scanTimeoutMs',
    'maxConcurrentScans',
    'watch',
    'onError',
    'clock',
  ]);
  const contentDigest = checkContentDigest('contentDigest', options.contentDigest, 'stat');
  const scanTimeoutMs = checkInteger('scanTimeoutMs', options.scanTimeoutMs, 10_000, 1, longestMs);
  return {
    contentDigest,
    servables: checkServables(options.servables, contentDigest),
    pollIntervalMs: checkInteger('pollIntervalMs', options.pollIntervalMs, 1000, 0, longestMs),
    servableVersionsAlwaysPresent: checkBoolean(
      'servableVersionsAlwaysPresent',
      options.servableVersionsAlwaysPresent,
      true,
    ),
    readiness: {
      completionMarker: checkMarker(options.completionMarker),
      stabilityWindowMs: checkInteger('stabilityWindowMs', options.stabilityWindowMs, 1000, 0, longestMs),
      contentCheckIntervalMs: checkInteger(
        'contentCheckIntervalMs',
        options.contentCheckIntervalMs,
        10_000,
        0,
        longestMs,
      ),
      readTimeoutMs: scanTimeoutMs,
    },
    scanTimeoutMs,
    maxConcurrentScans: checkInteger('maxConcurrentScans', options.maxConcurrentScans, 2, 1),
    watch: checkBoolean('watch', options.watch, true),
    onError: checkFunction('onError', options.onError),
    clock: checkClock(options.clock),
  };
}

/** Checks a configuration given at run time. */
export function checkFileSystemSourceConfig(
  config: FileSystemSourceConfig,
  contentDigest: ContentDigest,
): readonly CheckedServable[] {
  checkKeys('updateConfig', config, ['servables']);
  return checkServables(config.servables, contentDigest);
}

function checkServables(value: unknown, contentDigest: ContentDigest): readonly CheckedServable[] {
  if (!Array.isArray(value)) throw invalidOption('servables', 'an array', value);
  const names = new Set<string>();
  return value.map((servable: unknown, i) => {
    checkKeys(`servables[${i}]`, servable, ['name', 'basePath', 'versionPolicy', 'contentDigest']);
    const name = checkName(servable.name);
    if (names.has(name)) {
      throw new AspiredError('ERR_INVALID_ARGUMENT', `The option servables names ${JSON.stringify(name)} twice.`);
    }
    names.add(name);
    const { basePath } = servable;
    if (typeof basePath !== 'string' || basePath === '' || basePath.includes('\0')) {
      throw invalidOption(`servables[${i}].basePath`, 'a path', basePath);
    }
    return {
      name,
      basePath: resolve(basePath),
      policy: checkPolicy(`servables[${i}].versionPolicy`, servable.versionPolicy),
      contentDigest: checkContentDigest(`servables[${i}].contentDigest`, servable.contentDigest, contentDigest),
    };
  });
}

function checkPolicy(where: string, value: unknown): CheckedPolicy {
  if (value === undefined) return { kind: 'latest', count: 1 };
  checkKeys(where, value, ['latest', 'all', 'specific']);
  const given = ['latest', 'all', 'specific'].filter((key) => value[key] !== undefined);
  if (given.length > 1) throw invalidOption(where, 'one of latest, all and specific', value);
  if (value.all !== undefined) {
    if (value.all !== true) throw invalidOption(`${where}.all`, 'true', value.all);
    return { kind: 'all' };
  }
  if (value.specific !== undefined)
    return { kind: 'specific', versions: checkVersions(`${where}.specific`, value.specific) };
  return { kind: 'latest', count: checkInteger(`${where}.latest`, value.latest, 1, 1) };
}

function checkVersions(where: string, value: unknown): readonly number[] {
  if (!Array.isArray(value)) throw invalidOption(where, 'an array of versions', value);
  const versions = value.map((version, i) => checkVersion(`${where}[${i}]`, version));
  const twice = versions.find((version, i) => versions.indexOf(version) !== i);
  if (twice !== undefined) {
    throw new AspiredError('ERR_DUPLICATE_VERSION', `The option ${where} names version ${twice} twice.`);
  }
  return versions;
}

function checkContentDigest(where: string, value: unknown, fallback: ContentDigest): ContentDigest {
  if (value === undefined) return fallback;
  if (value !== 'stat' && value !== 'sha256' && value !== 'off') {
    throw invalidOption(where, "'stat', 'sha256' or 'off'", value);
  }
  return value;
}

function checkMarker(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const isName = typeof value === 'string' && value !== '' && value !== '.' && value !== '..' && !/[/\\\0]/.test(value);
  if (!isName) throw invalidOption('completionMarker', 'the name of a file, without a folder', value);
  return value;
}

function checkClock(value: SourceClock | undefined): SourceClock {
  if (value === undefined) return systemClock;
  if (typeof value?.now !== 'function' || typeof value.after !== 'function') {
    throw invalidOption('clock', 'an object with now and after', value);
  }
  return value;
}
