// package-lock.json holds an entry for every platform's optional package. `npm install` against a registry mirror that
// lacks some of them drops their entries, and then `npm ci` calls the lockfile out of sync.
//   node scripts/check-lockfile.mjs          exits 1 when an entry is missing
//   node scripts/check-lockfile.mjs --fix    adds the missing ones: exact version, platform from the name
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = join(dirname(fileURLToPath(import.meta.url)), '..', 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const fix = process.argv.includes('--fix');
const PLATFORM = /(android|darwin|linux|win32)-(arm64|x64)(-musl)?$/;

const problems = [];
let added = 0;
for (const [path, { dev, optionalDependencies = {} }] of Object.entries(lock.packages)) {
  if (path === '') continue;
  for (const [name, version] of Object.entries(optionalDependencies)) {
    if (lock.packages[`node_modules/${name}`] || lock.packages[`${path}/node_modules/${name}`]) continue;
    const [, os, cpu, musl] = PLATFORM.exec(name) ?? [];
    if (!fix || !os || !/^\d+\.\d+\.\d+$/.test(version)) {
      problems.push(`package-lock.json has no entry for ${name}@${version}, an optional dependency of ${path}`);
      continue;
    }
    const libc = os === 'linux' ? { libc: [musl ? 'musl' : 'glibc'] } : {};
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(dev ? { dev } : {}),
      ...libc,
      optional: true,
      os: [os],
    };
    added++;
  }
}

if (added > 0) {
  const byPath = ([a], [b]) => a.localeCompare(b, 'en');
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(byPath));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added ${added} entries to package-lock.json`);
}
if (problems.length > 0) {
  console.error(`${problems.join('\n')}\nnode scripts/check-lockfile.mjs --fix adds entries for platforms`);
  process.exit(1);
}
console.log(`lockfile: ${Object.keys(lock.packages).length - 1} packages, every platform's are listed`);
