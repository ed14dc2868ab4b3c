// Skips a step whose inputs did not change: a stamp file holds the hash of the inputs' contents.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './run.mjs';

/** All files below the paths (files or folders, relative to the root), sorted. */
export function filesBelow(paths, keep = () => true) {
  return paths
    .flatMap((path) => {
      const full = join(root, path);
      if (!existsSync(full)) return [];
      if (!statSync(full).isDirectory()) return [path];
      return readdirSync(full, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1));
    })
    .map((path) => path.replaceAll('\\', '/'))
    .filter(keep)
    .sort();
}

/** Hash of the contents of the files and of the extra strings. */
export function hashOf(files, ...extra) {
  const hash = createHash('sha256').update(JSON.stringify(extra));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** True when the stamp holds this hash. */
export function isFresh(stamp, hash) {
  const path = join(root, stamp);
  return existsSync(path) && readFileSync(path, 'utf8') === hash;
}

export function writeStamp(stamp, hash) {
  mkdirSync(dirname(join(root, stamp)), { recursive: true });
  writeFileSync(join(root, stamp), hash);
}

export function removeStamp(stamp) {
  rmSync(join(root, stamp), { force: true });
}
