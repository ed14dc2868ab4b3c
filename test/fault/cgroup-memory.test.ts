// Memory that is in no process, in a real cgroup: it is attributed to the load that took it, and it corrects the estimate of
// the next version where nobody else can have taken it.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findLimiter } from '../support/memory-limit.js';
import type { CgroupLoads } from './fixtures/cgroup-loads.js';

const program = fileURLToPath(new URL('./fixtures/cgroup-loads.js', import.meta.url));
const MiB = 2 ** 20;
const ESTIMATED = 16 * MiB;
const TAKEN = 64 * MiB;
const NOISE = 8 * MiB;
const TMPFS_MAGIC = 0x01021994;

const limiter = findLimiter();

function isTmpfs(folder: string): boolean {
  try {
    return statfsSync(folder).type === TMPFS_MAGIC;
  } catch {
    return false;
  }
}

function reasonToSkip(): string | false {
  if (typeof limiter === 'string') return limiter;
  if (limiter.counts !== 'rss') return 'no cgroup can be made here';
  if (!isTmpfs('/dev/shm')) return '/dev/shm is no tmpfs';
  return isTmpfs(tmpdir()) && 'the temporary folder is a tmpfs';
}
const skip = reasonToSkip();

async function run(t: TestContext, mode: 'alone' | 'shared'): Promise<CgroupLoads> {
  assert.ok(typeof limiter !== 'string');
  const folders = ['/dev/shm', tmpdir()].map((parent) => mkdtempSync(join(parent, 'aspired-cgroup-')));
  try {
    const command = [process.execPath, '--expose-gc', program, ...folders, mode];
    const { code, stdout, stderr } = await limiter.run(2 ** 40, command, { deadlineMs: 60_000 });
    assert.equal(code, 0, stderr);
    t.diagnostic(`${limiter.name}, ${mode}: ${stdout}`);
    return JSON.parse(stdout) as CgroupLoads;
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true });
  }
}

const contentOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8').trim() : '');

/** Whether pages stay charged that were read twice. With the multi-generational LRU, pages grow old in another way. */
function keepsWhatIsReadTwice(): boolean {
  // Takes the page cache away by itself, at any moment (https://docs.kernel.org/admin-guide/mm/damon/usage.html).
  const damon = contentOf('/sys/kernel/mm/damon/admin/kdamonds/0/state') === 'on';
  return !damon && Number(contentOf('/sys/kernel/mm/lru_gen/enabled')) === 0;
}

const assertAbout = (bytes: number | undefined, expected: number): void => {
  assert.ok(bytes !== undefined && Math.abs(bytes - expected) < NOISE, `${bytes}, not about ${expected}`);
};

test('what a load puts into tmpfs is charged to its cgroup, and the next version has it reserved', {
  skip,
}, async (t) => {
  const { alone, tmpfs, cache, heap, left } = await run(t, 'alone');
  assert.equal(alone, true);
  assertAbout(tmpfs.measured, 0);
  assertAbout(tmpfs.measuredCgroup, TAKEN);
  assertAbout(tmpfs.next, TAKEN);
  // The kernel takes the page cache back when it needs memory: no reason to keep memory free for it.
  assertAbout(cache.measured, 0);
  if (keepsWhatIsReadTwice()) assertAbout(cache.measuredCgroup, TAKEN);
  assert.equal(cache.next, ESTIMATED);
  // Memory of the process is in both.
  assertAbout(heap.measured, TAKEN);
  assertAbout(heap.measuredCgroup, TAKEN);
  assertAbout(heap.next, TAKEN);
  assertAbout(left, 0);
});

test('beside another process in the cgroup it is reported, and corrects nothing', { skip }, async (t) => {
  const { alone, tmpfs, heap } = await run(t, 'shared');
  assert.equal(alone, false);
  assertAbout(tmpfs.measured, 0);
  assertAbout(tmpfs.measuredCgroup, TAKEN);
  assert.equal(tmpfs.next, ESTIMATED);
  assertAbout(heap.next, TAKEN);
});
