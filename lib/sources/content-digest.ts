// What is in a version directory: by what the file system says of its files, and by their bytes.
import { createHash, type Hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AspiredError, messageOf } from '../errors.js';
import type { Limiter } from './limiter.js';
import { compareNames } from './version-names.js';

/** How the content of a version directory is told from another content. */
export type ContentDigest =
  /** Names, sizes, modification times and inode numbers of all files. */
  | 'stat'
  /** The bytes of all files. They are read only after something that the file system tells of has changed. */
  | 'sha256'
  /** Not at all: versions carry no digest. */
  | 'off';

/** Directories with more entries than this get no digest: a look takes some 60 us of processor time for each. */
export const maxDigestEntries = 5000;

/** How a digest of bytes begins. */
export const byBytesPrefix = 'sha256:';

/** Small enough that hashing one piece, 0.2 ms, holds up nobody on this thread. */
const pieceBytes = 256 * 1024;

/** One look at everything below a directory. */
export interface Observation {
  /** Names, sizes, modification times. */
  readonly plain: string;
  /** The same and inode numbers, which not every file system keeps. */
  readonly fingerprint: string;
  /** The same and the times of the last status change, which nobody can set back. */
  readonly strict: string;
  /** Newest change that the file system tells of, in milliseconds since the epoch. */
  readonly newestMs: number;
  /** How many files, directories and links there are. */
  readonly entries: number;
}

interface Entry {
  /** Relative to the root. */
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'link' | 'other';
  /** Of what a link to a file leads to. */
  readonly stats: BigIntStats;
}

/** Looks at everything below `root`. Rejects when it cannot be looked at. */
export async function observe(root: string): Promise<Observation> {
  const plain = createHash('sha1');
  const fingerprint = createHash('sha1');
  const strict = createHash('sha1');
  let newestMs = 0;
  let entries = 0;
  const note = ({ mtimeMs, ctimeMs }: BigIntStats): void => {
    newestMs = Math.max(newestMs, Number(mtimeMs), Number(ctimeMs));
  };
  note(await stat(root, { bigint: true }));
  for await (const { path, kind, stats } of entriesBelow(root)) {
    note(stats);
    entries++;
    // What is in a directory speaks for itself; its own times change with files that were there for a moment.
    const line = kind === 'directory' ? `${path}/\0` : `${path}\0${kind} ${stats.size} ${stats.mtimeNs}\0`;
    const inode = kind === 'directory' ? '' : `${stats.ino}\0`;
    plain.update(line);
    fingerprint.update(line + inode);
    strict.update(kind === 'directory' ? line : `${line}${inode}${stats.ctimeNs}\0`);
  }
  return {
    plain: plain.digest('base64'),
    fingerprint: fingerprint.digest('base64'),
    strict: strict.digest('base64'),
    newestMs,
    entries,
  };
}

/**
 * Everything below `root`, in the order of the names. Links to directories are not followed, so that no loop can be
 * entered; they are links, as dangling ones are. Only the root must be there: what goes away under our eyes is not in
 * the next look either.
 */
async function* entriesBelow(root: string, folder = ''): AsyncGenerator<Entry> {
  const listing = readdir(join(root, folder), { withFileTypes: true });
  const found = folder === '' ? await listing : ((await listing.catch(ignoreMissing)) ?? []);
  for (const { name } of found.sort((a, b) => compareNames(a.name, b.name))) {
    const path = folder === '' ? name : `${folder}/${name}`;
    const stats = await lstat(join(root, path), { bigint: true }).catch(ignoreMissing);
    if (stats === undefined) continue;
    if (stats.isSymbolicLink()) {
      const target = await stat(join(root, path), { bigint: true }).catch(ignoreMissing);
      yield target === undefined || target.isDirectory()
        ? { path, kind: 'link', stats }
        : { path, kind: kindOf(target), stats: target };
      continue;
    }
    const kind = kindOf(stats);
    yield { path, kind, stats };
    if (kind === 'directory') yield* entriesBelow(root, path);
  }
}

function kindOf(stats: BigIntStats): Entry['kind'] {
  return stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : 'other';
}

/** Looks at a digest within its timeout, and looks without a sign of life by which that has passed. */
const looks = 2;

/**
 * A digest of the bytes of one directory that is being computed. It waits for its turn at the limiter, reads piece by
 * piece, and hashes on this thread: some 0.7 s for a GiB. It holds for what was observed before it began, if a look
 * after its end observes the same. It fails, and gives its turn to the next one, when the file system does not answer for
 * `timeoutMs`.
 */
export class DigestJob {
  /** Resolves when it has come to an end, well or not. Never rejects. */
  readonly done: Promise<void>;
  digest: string | undefined;
  error: AspiredError | undefined;
  #aborted = false;
  /** How often the file system answered. */
  #answers = 0;
  #reading = false;

  constructor(root: string, limiter: Limiter, timeoutMs: number) {
    this.done = this.#run(root, limiter, timeoutMs);
  }

  /** It has come to an end without an answer of the file system, and still has a thread that waits for one. */
  get hangs(): boolean {
    return this.error !== undefined && this.#reading;
  }

  /** Ends it after the piece that is being read. */
  abort(): void {
    this.#aborted = true;
  }

  async #run(root: string, limiter: Limiter, timeoutMs: number): Promise<void> {
    const leave = await limiter.enter();
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<void>((resolve) => {
      let [seen, silent] = [-1, 0];
      // A timer that was late itself, because this thread was busy, is one look and no more.
      const look = (): void => {
        silent = this.#answers === seen ? silent + 1 : 0;
        seen = this.#answers;
        if (silent < looks) return;
        this.abort();
        const message = `Cannot read the content of ${root}: the file system did not answer for ${timeoutMs} ms`;
        this.error = new AspiredError('ERR_SOURCE_ERROR', message);
        resolve();
      };
      timer = setInterval(look, Math.ceil(timeoutMs / looks)).unref();
    });
    try {
      await Promise.race([this.#read(root), silence]);
    } finally {
      clearInterval(timer);
      leave();
    }
  }

  async #read(root: string): Promise<void> {
    this.#reading = true;
    try {
      const hash = createHash('sha256');
      const piece = Buffer.allocUnsafe(pieceBytes);
      for await (const { path, kind } of entriesBelow(root)) {
        if (this.#aborted) return;
        this.#answers++;
        // Names hold no zero byte, and digests are of one length: no two directories give the same lines.
        hash.update(`${path}\0${kind}\0`);
        if (kind === 'link') hash.update(`${await readlink(join(root, path))}\0`);
        // A pipe would never end.
        if (kind === 'file') hash.update((await this.#hashFile(join(root, path), piece)).digest());
      }
      if (!this.#aborted) this.digest = `${byBytesPrefix}${hash.digest('hex')}`;
    } catch (cause) {
      // Without the code of the file system: a file that is missing is not a version that is missing.
      const message = `Cannot read the content of ${root}: ${messageOf(cause)}`;
      this.error ??= new AspiredError('ERR_SOURCE_ERROR', message, { cause });
    } finally {
      this.#reading = false;
    }
  }

  async #hashFile(path: string, piece: Buffer): Promise<Hash> {
    const hash = createHash('sha256');
    const file = await open(path);
    try {
      while (!this.#aborted) {
        const { bytesRead } = await file.read(piece, 0, piece.length);
        if (bytesRead === 0) break;
        this.#answers++;
        hash.update(piece.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
    return hash;
  }
}

/** Takes "it is not there" for an answer. */
export function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}
