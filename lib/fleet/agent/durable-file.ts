// Files that are whole or not there, whenever the process or the machine ends.
import { closeSync, constants, fstatSync, fsync, open as openDescriptor, rename, writeFile } from 'node:fs';
import { mkdir, rename as moveTo, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

// Each step is a way to another thread and back, which takes longer than the call, and a host takes them for each change. So
// these rather than node:fs/promises, whose handles take twice the processor time; a write that is synchronized by itself
// (O_DSYNC: the bytes, and the length that it takes to read them) where that means the disk, which is Linux; what is there
// already is closed at once, which waits for nothing; and the folder stays open.
const steps = {
  open: promisify(openDescriptor),
  writeFile: promisify(writeFile),
  fsync: promisify(fsync),
  rename: promisify(rename),
};
const SYNCHRONIZED = process.platform === 'linux' ? constants.O_DSYNC : undefined;
const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (SYNCHRONIZED ?? 0);

/** The text of the file; undefined when there is none. Rejects when it cannot be read. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Replaces the file once, see {@link DurableFile.write}. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = new DurableFile(path);
  try {
    await file.write(text);
  } finally {
    file.close();
  }
}

/** A file that is replaced often. Keeps a descriptor of its folder from the first write to close(). */
export class DurableFile {
  #folder: number | undefined;

  constructor(readonly path: string) {}

  /**
   * Replaces the file; when this resolves it is on the disk. Written aside and renamed, so that there is the old or the new
   * one and never a half; the folder is synchronized, or the rename itself could be lost with the power. One at a time.
   */
  async write(text: string): Promise<void> {
    const aside = `${this.path}.tmp`;
    try {
      await writeAndSync(aside, text);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await makeFolder(dirname(this.path));
      await writeAndSync(aside, text);
    }
    await steps.rename(aside, this.path);
    const folder = await this.#openFolder();
    if (folder !== undefined) await steps.fsync(folder);
  }

  async #openFolder(): Promise<number | undefined> {
    // Somebody may have removed the folder, and another one has its name now.
    if (this.#folder !== undefined && fstatSync(this.#folder).nlink === 0) this.close();
    this.#folder ??= await openFolder(dirname(this.path));
    return this.#folder;
  }

  /** No write is under way. One that comes later opens the folder again. */
  close(): void {
    if (this.#folder !== undefined) closeSync(this.#folder);
    this.#folder = undefined;
  }
}

/** Makes the folder, with those above it that are not there; that they are is on the disk then, too. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

async function writeAndSync(path: string, text: string): Promise<void> {
  const file = await steps.open(path, WRITE, 0o644);
  try {
    await steps.writeFile(file, text);
    if (SYNCHRONIZED === undefined) await steps.fsync(file);
  } finally {
    closeSync(file);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await openFolder(path);
  if (folder === undefined) return;
  try {
    await steps.fsync(folder);
  } finally {
    closeSync(folder);
  }
}

// Windows cannot open folders, and keeps its journal of names by itself.
async function openFolder(path: string): Promise<number | undefined> {
  return process.platform === 'win32' ? undefined : steps.open(path, 'r');
}

/** Moves the file to a name that is free, for somebody to look at; answers the name. */
export async function moveAside(path: string, why: string): Promise<string> {
  const folder = dirname(path);
  for (let count = 1; ; count++) {
    const aside = join(folder, `${path.slice(folder.length + 1)}.${why}-${count}`);
    try {
      // Held open by nobody: a name that is taken must not be replaced.
      await (await open(aside, 'wx')).close();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST' && count < MAX_ASIDE) continue;
      throw error;
    }
    await moveTo(path, aside);
    return aside;
  }
}

/** More than this many are a disk that fails every day: the last one is given up with an error. */
const MAX_ASIDE = 1000;
