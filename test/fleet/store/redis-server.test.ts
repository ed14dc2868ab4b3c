// The redis-server of a test: private, and gone with its owner however that ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deadline, PATIENCE_MS } from '../../support/deadline.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';

const skip = withoutRedis;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function gone(pid: number): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  while (isAlive(pid)) {
    assert.ok(Date.now() < until, `redis-server ${pid} outlives its test`);
    await sleep(10);
  }
}

test('a server with AOF keeps what it was told over kill -9, one without does not', { skip }, async (t) => {
  for (const aof of ['always', false] as const) {
    const server = await RedisServer.start(t, { aof });
    await server.command('SET', 'k', 'v');
    const { pid } = server;
    await server.kill();
    await gone(pid);
    await server.restart();
    assert.equal(await server.command('GET', 'k'), aof ? 'v' : null);
  }
});

test('a paused server holds its connections and answers later', { skip }, async (t) => {
  const server = await RedisServer.start(t, { password: 'secret' });
  assert.equal(await server.command('PING'), 'PONG');
  server.pause();
  const answer = server.command('INCR', 'n');
  assert.equal(await Promise.race([answer, sleep(50, 'silence')]), 'silence');
  server.resume();
  assert.equal(await answer, 1);
});

test('a replica follows its master and takes no writes', { skip }, async (t) => {
  const master = await RedisServer.start(t);
  const replica = await RedisServer.start(t, { replicaOf: master });
  await master.command('SET', 'k', 'v');
  assert.equal(await master.command('WAIT', 1, 5000), 1);
  assert.equal(await replica.command('GET', 'k'), 'v');
  await assert.rejects(replica.command('SET', 'k', 'w'), /READONLY/);
  assert.equal((await replica.info('replication')).role, 'slave');
});

const PROGRAM = `
  import { RedisServer } from ${JSON.stringify(new URL('../../support/redis-server.js', import.meta.url).href)};
  const server = await RedisServer.start({ after() {} });
  console.log(JSON.stringify([server.pid, server.folder]));
  setInterval(() => {}, 1000);
`;

for (const [how, end] of [
  ['that is killed', (pid: number) => process.kill(pid, 'SIGKILL')],
  ['whose terminal is closed', (pid: number) => process.kill(-pid, 'SIGHUP')],
] as const) {
  test(`a server does not outlive a process ${how}`, { skip }, async (t) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true, // a group of its own
    });
    t.after(() => child.kill('SIGKILL'));
    const line = await deadline(
      new Promise<string>((resolve) => child.stdout.once('data', (chunk) => resolve(String(chunk)))),
      'the server of the child',
    );
    const [pid, folder] = JSON.parse(line) as [number, string];
    assert.ok(isAlive(pid));
    end(child.pid as number);
    await gone(pid);
    rmSync(folder, { recursive: true, force: true });
  });
}
