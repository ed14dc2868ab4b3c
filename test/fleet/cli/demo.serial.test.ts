import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withoutRedis } from '../../support/redis-server.js';

const MAIN = fileURLToPath(new URL('../../../scripts/fleet-demo/main.js', import.meta.url));

/** Processes that were started with this in their environment. */
async function processesWith(variable: string): Promise<readonly string[]> {
  // Elsewhere nobody can be asked.
  if (process.platform !== 'linux') return [];
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const of = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    if ((await of('environ')).split('\0').includes(variable))
      found.push(`${pid}: ${(await of('cmdline')).replaceAll('\0', ' ')}`);
  }
  return found;
}

describe('npm run fleet:demo', { skip: withoutRedis }, () => {
  it('promotes the good version everywhere, takes the bad one back, and loses no request while controllers are killed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'aspired-fleet-demo-'));
    try {
      const file = join(folder, 'summary.json');
      // What it leaves behind it would leave in here.
      const env = { ...process.env, TMPDIR: folder, ASPIRED_TEST_MARK: folder };
      const child = spawn(process.execPath, [MAIN, '--json', file], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 180_000,
      });
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close'),
      ]);
      assert.equal(code, 0, `${stdout}\n${stderr}`);
      const summary = JSON.parse(await readFile(file, 'utf8'));
      assert.deepEqual(
        summary.checks.filter(({ holds }: { holds: boolean }) => !holds),
        [],
      );
      assert.equal(summary.checks.length, 7);
      assert.deepEqual([summary.ok, summary.hosts, summary.killed.length], [true, 20, 2]);
      assert.deepEqual(
        summary.rollouts.map(({ version, outcome }: { version: number; outcome: string }) => [version, outcome]),
        [
          [1, 'Promoted'],
          [2, 'Promoted'],
          [3, 'RolledBack'],
        ],
      );
      for (const { phase, requests } of summary.phases) {
        assert.equal(requests.lost, 0, phase);
        assert.deepEqual(Object.keys(requests.failed), phase.startsWith('v3') ? ['3'] : [], phase);
      }
      assert.match(stdout, /Promoted rev \d+: 20\/20 serving/);
      assert.deepEqual(await readdir(folder), ['summary.json']);
      assert.deepEqual(await processesWith(`ASPIRED_TEST_MARK=${folder}`), []);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'aspired-fleet-demo-'));
    try {
      const env = { ...process.env, TMPDIR: folder, ASPIRED_TEST_MARK: folder };
      const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (chunk) => {
        said += chunk;
        // The hosts are there, and a rollout is on.
        if (said.includes('on all hosts\n') && said.includes(' rev ')) child.kill('SIGINT');
      });
      const [code] = await once(child, 'close');
      assert.equal(code, 130, said);
      assert.deepEqual(await readdir(folder), []);
      assert.deepEqual(await processesWith(`ASPIRED_TEST_MARK=${folder}`), []);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
