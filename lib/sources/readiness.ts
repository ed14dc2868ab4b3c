import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  byBytesPrefix,
  type ContentDigest,
  DigestJob,
  ignoreMissing,
  maxDigestEntries,
  type Observation,
  observe,
} from './content-digest.js';
import type { Limiter } from './limiter.js';

/** How a source knows that a version directory is written completely. */
export interface ReadinessRules {
  /** Name of the file that says so; undefined: the stability window says so. */
  readonly completionMarker: string | undefined;
  /** For how long nothing may have changed in the directory, in milliseconds. */
  readonly stabilityWindowMs: number;
  /** How often the content of a version that is offered already is looked at, in milliseconds. */
  readonly contentCheckIntervalMs: number;
  /** Bytes for a digest are given up when the file system does not answer for so long, in milliseconds. */
  readonly readTimeoutMs: number;
}

/** Which content is offered. */
export interface OfferedContent {
  /** Another one: the content has changed in place. */
  readonly revision: string;
  /** Identity of the content; undefined where none is wanted, or the directory has too many entries. */
  readonly digest: string | undefined;
  /** The directory has so many entries that changes in place are not looked for. */
  readonly unwatched: boolean;
}

/** Why a version directory is not offered. */
export type PendingReason = 'incomplete' | 'unstable' | 'digest';

/** When to look again, earlier than the next poll. */
interface LookAgain {
  readonly recheckAt?: number | undefined;
  /** Resolves when a digest is there that is being computed. */
  readonly digested?: Promise<void> | undefined;
}

/** Whether a version directory may be offered. */
export type Readiness = LookAgain &
  (
    | { readonly ready: true; readonly content: OfferedContent }
    | { readonly ready: false; readonly reason: PendingReason }
  );

interface Offered {
  /** What was seen of it; undefined where only the marker is looked at. */
  readonly seen: Observation | undefined;
  readonly digest: string | undefined;
  /** State of the marker file. */
  readonly marker: string | undefined;
}

interface DirectoryRecord {
  readonly firstSeenAt: number;
  /** Was there when the base path was listed for the first time. */
  readonly fromStart: boolean;
  /** The last observation, as far as it counts; undefined: none yet. */
  mark: string | undefined;
  /** When `mark` was observed first. */
  unchangedSince: number;
  /** The last marker that was seen. It vouches for what was there when it was seen first. */
  marker: string | undefined;
  /** The last mark that was found to be complete. */
  complete: string | undefined;
  /** Content that was offered; undefined: never offered. */
  offered: Offered | undefined;
  nextContentCheckAt: number;
  job: DigestJob | undefined;
  /** When a job that failed may begin anew. */
  jobRetryAt: number | undefined;
}

/**
 * Remembers what was seen of the version directories of one base path, and tells which are written completely, and
 * with which content.
 *
 * With a completion marker the marker decides. Without one, a directory is complete when two observations that are at
 * least the stability window apart by our own clock are equal (names, sizes, modification times and inodes of the whole
 * tree). A directory that was there for at least the window before it is looked at is taken at the first look if the
 * file system says that nothing in it changed for that long; the time of the last status change counts as well, which a
 * copy that preserves modification times cannot set back.
 *
 * A version that was offered stays ready for as long as its directory is listed. A change in place has to become
 * complete by the same rules before it is offered, and until then the content from before is. A marker vouches for what
 * was there when the marker appeared: a later change needs a marker that is written anew, or the stability window.
 */
export class ReadinessLedger {
  readonly #rules: ReadinessRules;
  readonly #hashing: Limiter;
  #mode: ContentDigest;
  #records = new Map<string, DirectoryRecord>();
  #listed = false;

  /** `hashing`: how many directories are read at a time. */
  constructor(rules: ReadinessRules, mode: ContentDigest, hashing: Limiter) {
    this.#rules = rules;
    this.#mode = mode;
    this.#hashing = hashing;
  }

  /** From now on digests are made in another way. Content that does not change keeps the digest that it has. */
  setMode(mode: ContentDigest): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    for (const record of this.#records.values()) {
      dropJob(record);
      record.mark = undefined;
      record.nextContentCheckAt = 0;
    }
  }

  /** Notes what a listing holds: what is new starts its life, what is gone is forgotten. */
  listed(paths: readonly string[], now: number): void {
    const records = new Map<string, DirectoryRecord>();
    for (const path of paths) {
      records.set(path, this.#records.get(path) ?? newRecord(now, !this.#listed));
    }
    for (const [path, record] of this.#records) if (!records.has(path)) dropJob(record);
    this.#records = records;
    this.#listed = true;
  }

  /** Ends what is being computed; the next look begins anew. */
  abort(): void {
    for (const record of this.#records.values()) dropJob(record);
  }

  /**
   * Looks at a directory of the last listing. Rejects with the error of the file system when it cannot be looked at.
   * `force`: look at the content of an offered version also before its time.
   */
  async check(path: string, now: number, force: boolean): Promise<Readiness> {
    const record = this.#records.get(path) ?? newRecord(now, false);
    const { offered } = record;
    if (offered !== undefined && !force && this.#isSettled(record, offered)) {
      const content = this.#contentOf(offered);
      if (content.unwatched || now < record.nextContentCheckAt) return { ready: true, content };
    }
    record.nextContentCheckAt = now + this.#rules.contentCheckIntervalMs;
    const { completionMarker } = this.#rules;
    if (completionMarker === undefined) return this.#look(path, record, undefined, now);
    const marker = await observeMarker(join(path, completionMarker));
    if (marker === undefined) return this.#answer(record, 'incomplete');
    if (this.#mode !== 'off') return this.#look(path, record, marker, now);
    record.offered = { seen: undefined, digest: undefined, ...offered, marker };
    return this.#answer(record, 'incomplete');
  }

  /** The content with which a directory was offered before, or undefined. */
  offered(path: string): OfferedContent | undefined {
    const offered = this.#records.get(path)?.offered;
    return offered && this.#contentOf(offered);
  }

  async #look(path: string, record: DirectoryRecord, marker: string | undefined, now: number): Promise<Readiness> {
    const window = this.#rules.stabilityWindowMs;
    const seen = await observe(path);
    const mark = this.#markOf(seen);
    const firstLook = record.mark === undefined;
    if (record.mark !== mark) {
      record.mark = mark;
      record.unchangedSince = now;
      dropJob(record);
    }
    const isVouchedFor = marker !== undefined && record.marker !== marker;
    record.marker = marker;
    if (record.offered !== undefined && this.#isSettled(record, record.offered))
      return this.#answer(record, 'unstable');
    const wasThere = marker === undefined && (record.fromStart || now - record.firstSeenAt >= window);
    const isOld = firstLook && wasThere && now - seen.newestMs >= window;
    if (isVouchedFor || isOld || now - record.unchangedSince >= window) record.complete = mark;
    if (record.complete !== mark) {
      return this.#answer(record, 'unstable', { recheckAt: record.unchangedSince + window });
    }
    const digest = this.#digestOf(path, record, seen, now);
    if (digest instanceof DigestJob) return this.#answer(record, 'digest', { digested: digest.done });
    record.offered = { seen, digest, marker };
    dropJob(record);
    return this.#answer(record, 'unstable');
  }

  /** The digest of complete content, or the job that computes it. Throws what the job ended with. */
  #digestOf(path: string, record: DirectoryRecord, seen: Observation, now: number): string | DigestJob | undefined {
    const { offered } = record;
    const byBytes = this.#mode === 'sha256' && offered?.digest?.startsWith(byBytesPrefix);
    const same = byBytes ? offered?.seen?.strict === seen.strict : offered?.seen?.fingerprint === seen.fingerprint;
    if (same && offered?.digest !== undefined) return offered.digest;
    if (this.#mode === 'off' || seen.entries > maxDigestEntries) return undefined;
    return this.#mode === 'stat' ? `stat:${seen.fingerprint}` : this.#digestOfBytes(path, record, now);
  }

  #digestOfBytes(path: string, record: DirectoryRecord, now: number): string | DigestJob {
    const { job } = record;
    if (job?.digest !== undefined) return job.digest;
    if (job?.error !== undefined) {
      record.jobRetryAt ??= now + this.#rules.contentCheckIntervalMs;
      if (job.hangs || now < record.jobRetryAt) throw job.error;
      dropJob(record);
    }
    record.job ??= new DigestJob(path, this.#hashing, this.#rules.readTimeoutMs);
    return record.job;
  }

  /** What was offered stays offered; `reason` is for what never was. */
  #answer({ offered }: DirectoryRecord, reason: PendingReason, again: LookAgain = {}): Readiness {
    if (offered === undefined) return { ...again, ready: false, reason };
    return { ...again, ready: true, content: this.#contentOf(offered) };
  }

  /** The content that was seen last is the one that is offered. */
  #isSettled({ mark }: DirectoryRecord, { seen, digest }: Offered): boolean {
    if (this.#mode === 'off') return this.#rules.completionMarker !== undefined || mark === this.#markOf(seen);
    if (seen === undefined || mark !== this.#markOf(seen)) return false;
    return digest !== undefined || seen.entries > maxDigestEntries;
  }

  /** What counts as a change. The bytes tell whether it was one, so everything may be a reason to read them. */
  #markOf(seen: Observation | undefined): string | undefined {
    return this.#mode === 'off' ? seen?.plain : this.#mode === 'stat' ? seen?.fingerprint : seen?.strict;
  }

  #contentOf({ seen, digest, marker }: Offered): OfferedContent {
    const off = this.#mode === 'off';
    const unwatched = !off && seen !== undefined && seen.entries > maxDigestEntries;
    const revision = (off ? (marker ?? seen?.plain) : (digest ?? seen?.fingerprint)) ?? '';
    return { revision, digest: off ? undefined : digest, unwatched };
  }
}

function newRecord(now: number, fromStart: boolean): DirectoryRecord {
  return {
    firstSeenAt: now,
    fromStart,
    mark: undefined,
    unchangedSince: now,
    marker: undefined,
    complete: undefined,
    offered: undefined,
    nextContentCheckAt: 0,
    job: undefined,
    jobRetryAt: undefined,
  };
}

function dropJob(record: DirectoryRecord): void {
  record.job?.abort();
  // It keeps its thread; it must not be given another one.
  if (record.job?.hangs) return;
  record.job = undefined;
  record.jobRetryAt = undefined;
}

async function observeMarker(path: string): Promise<string | undefined> {
  const stats = await stat(path, { bigint: true }).catch(ignoreMissing);
  return stats?.isFile() ? `${stats.ino} ${stats.size} ${stats.mtimeNs}` : undefined;
}
