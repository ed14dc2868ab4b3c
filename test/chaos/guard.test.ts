// Nothing stays behind: the process of the harness is killed, and what it started ends, stopped or not.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deadline } from '../support/deadline.js';
import { within } from './harness/waits.js';

const PROGRAM = `
import { spawn } from 'node:child_process';
import { Guard } from ${JSON.stringify(new URL('./harness/guard.js', import.meta.url).href)};
const guard = new Guard();
guard.folder(process.argv[1]);
const start = () => spawn('sleep', ['1000'], { stdio: 'ignore', detached: true });
const [stopped, running, ended] = [start(), start(), start()];
for (const { pid } of [stopped, running, ended]) guard.process(pid);
stopped.kill('SIGSTOP');
ended.once('exit', () => {
  guard.gone(ended.pid);
  console.log(JSON.stringify([stopped.pid, running.pid]));
});
ended.kill('SIGKILL');
setInterval(() => {}, 1000);
`;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('a harness that is killed leaves no process and no folder', { skip: process.platform === 'win32' }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'aspired-chaos-'));
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = await deadline(new Promise((resolve) => child.stdout.once('data', resolve)), 'the processes');
  const pids = JSON.parse(String(said)) as number[];
  assert.deepEqual(pids.map(isAlive), [true, true]);
  child.kill('SIGKILL');
  assert.ok(await within(10_000, () => !pids.some(isAlive) && !existsSync(folder)), 'something is left');
});
