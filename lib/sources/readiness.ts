import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compareNames } from './version-names.js';

/** How a source knows that a version directory is written completely. */
export interface ReadinessRules {
  /** Name of the file that says so; undefined: the stability window says so. */
  readonly completionMarker: string | undefined;
  /** For how long nothing may have changed in the directory, in milliseconds. */
  readonly stabilityWindowMs: number;
  /** How often the content of a version that is offered already is looked at, in milliseconds. */
  readonly contentCheckIntervalMs: number;
}

/** Whether a version directory may be offered. `recheckAt`: when to look again, earlier than the next poll. */
export type Readiness =
  | { readonly ready: true; readonly revision: string; readonly recheckAt?: number | undefined }
  | { readonly ready: false; readonly reason: 'incomplete' | 'unstable'; readonly recheckAt?: number | undefined };

interface Observation {
  readonly signature: string;
  /** Newest change that the file system tells of, in milliseconds since the epoch. */
  readonly newestMs: number;
}

interface DirectoryRecord {
  readonly firstSeenAt: number;
  /** Was there when the base path was listed for the first time. */
  readonly fromStart: boolean;
  signature: string | undefined;
  /** When `signature` was observed first. */
  unchangedSince: number;
  /** Content that was offered; undefined: never offered. */
  offered: string | undefined;
  nextContentCheckAt: number;
}

/**
 * Remembers what was seen of the version directories of one base path, and tells which are written completely.
 *
 * With a completion marker the marker decides. Without one, a directory is complete when two observations that are at
 * least the stability window apart by our own clock are equal (names, sizes and modification times of the whole tree).
 * A directory that was there for at least the window before it is looked at is taken at the first look if the file
 * system says that nothing in it changed for that long; the time of the last status change counts as well, which a
 * copy that preserves modification times cannot set back.
 *
 * This gates the first offer only. A version that was offered stays ready for as long as its directory is listed: a
 * change in place gives it a new revision once the change is complete, and never takes it away.
 */
export class ReadinessLedger {
  readonly #rules: ReadinessRules;
  #records = new Map<string, DirectoryRecord>();
  #listed = false;

  constructor(rules: ReadinessRules) {
    this.#rules = rules;
  }

  /** Notes what a listing holds: what is new starts its life, what is gone is forgotten. */
  listed(paths: readonly string[], now: number): void {
    const records = new Map<string, DirectoryRecord>();
    for (const path of paths) {
      records.set(path, this.#records.get(path) ?? newRecord(now, !this.#listed));
    }
    this.#records = records;
    this.#listed = true;
  }

  /**
   * Looks at a directory of the last listing. Rejects with the error of the file system when it cannot be looked at.
   * `force`: look at the content of an offered version also before its time.
   */
  async check(path: string, now: number, force: boolean): Promise<Readiness> {
    const record = this.#records.get(path) ?? newRecord(now, false);
    const changing = record.offered !== record.signature;
    if (record.offered !== undefined && !changing && !force && now < record.nextContentCheckAt) {
      return { ready: true, revision: record.offered };
    }
    record.nextContentCheckAt = now + this.#rules.contentCheckIntervalMs;
    return this.#rules.completionMarker === undefined
      ? this.#checkStability(path, record, now)
      : this.#checkMarker(join(path, this.#rules.completionMarker), record);
  }

  /** The revision under which a directory was offered before, or undefined. */
  offeredRevision(path: string): string | undefined {
    return this.#records.get(path)?.offered;
  }

  async #checkMarker(marker: string, record: DirectoryRecord): Promise<Readiness> {
    const stats = await stat(marker).catch(ignoreMissing);
    if (stats?.isFile()) {
      record.signature = record.offered = `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
    }
    if (record.offered === undefined) return { ready: false, reason: 'incomplete' };
    return { ready: true, revision: record.offered };
  }

  async #checkStability(path: string, record: DirectoryRecord, now: number): Promise<Readiness> {
    const window = this.#rules.stabilityWindowMs;
    const seen = await observe(path);
    const firstLook = record.signature === undefined;
    if (record.signature !== seen.signature) {
      record.signature = seen.signature;
      record.unchangedSince = now;
    }
    const wasThere = record.fromStart || now - record.firstSeenAt >= window;
    const stable = now - record.unchangedSince >= window || (firstLook && wasThere && now - seen.newestMs >= window);
    if (stable) record.offered = record.signature;
    const recheckAt = stable ? undefined : record.unchangedSince + window;
    if (record.offered === undefined) return { ready: false, reason: 'unstable', recheckAt };
    return { ready: true, revision: record.offered, recheckAt };
  }
}

function newRecord(now: number, fromStart: boolean): DirectoryRecord {
  return {
    firstSeenAt: now,
    fromStart,
    signature: undefined,
    unchangedSince: now,
    offered: undefined,
    nextContentCheckAt: 0,
  };
}

/** One look at everything below `root`. Links to directories are not followed, so that no loop can be entered. */
async function observe(root: string): Promise<Observation> {
  const hash = createHash('sha1');
  const newest = { ms: 0 };
  note(await stat(root));
  await walk('');
  return { signature: hash.digest('base64'), newestMs: newest.ms };

  function note(stats: Stats): void {
    newest.ms = Math.max(newest.ms, stats.mtimeMs, stats.ctimeMs);
  }

  async function walk(folder: string): Promise<void> {
    // Only the root must be there: what goes away under our eyes is not in the next observation either.
    const listing = readdir(join(root, folder), { withFileTypes: true });
    const entries = folder === '' ? await listing : ((await listing.catch(ignoreMissing)) ?? []);
    for (const entry of entries.sort((a, b) => compareNames(a.name, b.name))) {
      const path = join(folder, entry.name);
      let stats = await lstat(join(root, path)).catch(ignoreMissing);
      if (stats?.isSymbolicLink()) stats = (await stat(join(root, path)).catch(ignoreMissing)) ?? stats;
      if (stats === undefined) continue;
      note(stats);
      hash.update(stats.isDirectory() ? `${path}/\0` : `${path}\0${stats.size}\0${stats.mtimeMs}\0`);
      if (entry.isDirectory()) await walk(path);
    }
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}
