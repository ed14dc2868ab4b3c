// Files that are whole or not there, whenever the process or the machine ends.
import { close, fsync, open as openDescriptor, writeFile } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

// The handles of node:fs/promises take twice the processor time of these, once per change and host.
const descriptors = {
  open: promisify(openDescriptor),
  writeFile: promisify(writeFile),
  fsync: promisify(fsync),
  close: promisify(close),
};

/** The text of the file; undefined when there is none. Rejects when it cannot be read. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Replaces the file; when this resolves it is on the disk. Written aside and renamed, so that there is the old or the new
 * one and never a half; the folder is synchronized, or the rename itself could be lost with the power.
 */
export async function writeDurably(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  const aside = `${path}.tmp`;
  try {
    await writeAndSync(aside, text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await makeFolder(folder);
    await writeAndSync(aside, text);
  }
  await rename(aside, path);
  await syncFolder(folder);
}

/** Makes the folder, with those above it that are not there; that they are is on the disk then, too. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

async function writeAndSync(path: string, text: string): Promise<void> {
  const file = await descriptors.open(path, 'w', 0o644);
  try {
    await descriptors.writeFile(file, text);
    await descriptors.fsync(file);
  } finally {
    await descriptors.close(file);
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders, and keeps its journal of names by itself.
  if (process.platform === 'win32') return;
  const folder = await descriptors.open(path, 'r');
  try {
    await descriptors.fsync(folder);
  } finally {
    await descriptors.close(folder);
  }
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
    await rename(path, aside);
    return aside;
  }
}

/** More than this many are a disk that fails every day: the last one is given up with an error. */
const MAX_ASIDE = 1000;
