// All the set-up of a fresh clone, each step only when it is needed.
//   node scripts/setup.mjs              dependencies, native addon, lib/ -> dist/
//   node scripts/setup.mjs --tests=js   also test/, bench/, scripts/ -> dist-test/, the test models and redis-server
//   node scripts/setup.mjs --tests      also GoogleTest and the C++ tests
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildAddon, buildNativeTests, ensureGoogletest } from './support/native.mjs';
import { say, step } from './support/progress.mjs';
import { ensureRedisServer } from './support/redis.mjs';
import { Failure, main, npmCommand, root, run } from './support/run.mjs';
import { filesBelow, hashOf, isFresh, writeStamp } from './support/stamp.mjs';
import { compile } from './support/typescript.mjs';

const LOCK = join(root, '.cache/setup.lock');

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new Failure(`aspired needs Node.js 20.19 or newer; this is ${process.version} (${process.execPath}).`);
}

// npm records what it installed in node_modules/.package-lock.json; a platform's own packages are optional there.
function dependenciesAreCurrent() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    if (!installed[path]) return entry.optional === true;
    return installed[path].version === entry.version;
  });
}

async function installDependencies() {
  if (dependenciesAreCurrent()) return;
  const [command, ...args] = npmCommand();
  await step('dependencies (npm ci)', (report) =>
    run(command, [...args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { report }),
  );
}

async function makeModels() {
  const program = 'dist-test/scripts/models/make-models.js';
  if (!existsSync(join(root, program))) return;
  const hash = hashOf(filesBelow(['dist-test/scripts/models'], (file) => file.endsWith('.js')));
  const stamp = '.cache/models/.aspired-stamp';
  if (isFresh(stamp, hash)) return;
  await step('test models', (report) => run(process.execPath, [program, '--out', '.cache/models'], { report }));
  writeStamp(stamp, hash);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// Undefined: the lock has just been given back.
function lockOwner() {
  try {
    return Number(readFileSync(LOCK, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}

// Two set-ups in one checkout would write the same build folders at once.
async function withLock(work) {
  mkdirSync(join(root, '.cache'), { recursive: true });
  for (let said = false; ; ) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = lockOwner();
    if (owner === undefined) continue;
    if (owner > 0 && !isAlive(owner)) {
      rmSync(LOCK, { force: true });
      continue;
    }
    if (!said) say(`waiting for the set-up of process ${owner} in this folder`);
    said = true;
    await sleep(200);
  }
  const unlock = () => rmSync(LOCK, { force: true });
  process.once('exit', unlock);
  for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
    process.once(signal, () => process.exit(code));
  }
  try {
    return await work();
  } finally {
    unlock();
    process.off('exit', unlock);
  }
}

await main(async () => {
  const tests = process.argv.find((arg) => arg.startsWith('--tests'));
  const unknown = process.argv.slice(2).find((arg) => !['--tests', '--tests=js', '--tests=all'].includes(arg));
  if (unknown) throw new Failure(`Unknown argument ${unknown}; known: --tests, --tests=js`);
  checkNode();
  await withLock(async () => {
    await installDependencies();
    await buildAddon();
    await compile('lib');
    if (!tests) return;
    await compile('tests');
    await makeModels();
    await ensureRedisServer();
    if (tests === '--tests=js') return;
    if (await ensureGoogletest()) await buildNativeTests('plain');
  });
});
