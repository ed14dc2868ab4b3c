// The command as it is installed: processes, a real Redis, a real model.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureModels } from '../../../scripts/models/ensure-models.js';
import { PATIENCE_MS } from '../../support/deadline.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';

const MAIN = resolve('dist/cli/main.js');
const MODEL = 'half_plus_two';

describe('aspired fleet', { skip: withoutRedis }, () => {
  let redis: RedisServer;
  let folder = '';
  const running: ChildProcess[] = [];

  const start = (...argv: string[]): ChildProcess => {
    const env = { ...process.env, ASPIRED_REDIS: redis.url, ASPIRED_FLEET: 'shop', ASPIRED_ACTOR: 'ci', NO_COLOR: '1' };
    const child = spawn(process.execPath, [MAIN, 'fleet', ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(child);
    return child;
  };
  const run = async (...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const child = start(...argv);
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout as NodeJS.ReadableStream),
      text(child.stderr as NodeJS.ReadableStream),
      once(child, 'close'),
    ]);
    return { code, stdout, stderr };
  };
  const ok = async (...argv: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(...argv);
    assert.equal(code, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const json = async (...argv: string[]) => JSON.parse(await ok(...argv, '--output', 'json'));

  before(async () => {
    // after() of a hook is that of the hook: the file ends it itself.
    redis = await RedisServer.start({ after() {} }, { aof: true });
    folder = await mkdtemp(join(tmpdir(), 'aspired-command-line-'));
    await ensureModels({ out: join(folder, 'models'), only: [MODEL] });
  });
  after(async () => {
    for (const child of running) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('rolls a version out over hosts that it runs itself, and tells all about it', async () => {
    await ok('create');
    start('controller');
    const agents = ['a', 'b'].map((id) =>
      start(
        'agent',
        '--id',
        id,
        '--zone',
        `zone-${id}`,
        '--label',
        'tier=canary',
        '--models',
        join(folder, 'models'),
        '--state',
        folder,
        '--heartbeat',
        '1s',
      ),
    );
    const until = Date.now() + PATIENCE_MS;
    for (let alive = 0; alive < 2; await sleep(100)) {
      assert.ok(Date.now() < until, 'the hosts are in the fleet');
      const { hosts } = await json('hosts');
      alive = hosts.filter((host: { alive: boolean }) => host.alive).length;
    }

    const why = ['--reason', 'first version'];
    const plan = ['--waves', '1,100%', '--bake', '0s', '--gate', 'load'];
    const started = await json('rollout', 'start', `${MODEL}@1`, ...plan, ...why);
    assert.deepEqual([started.schema, started.outcome, started.replicated], [1, 'applied', 0]);
    const status = await run('rollout', 'status', started.rollout, '--timeout', '60s');
    assert.equal(status.code, 0, status.stdout + status.stderr);
    assert.match(status.stdout, /Promoted rev \d+: 2\/2 serving/);

    const rollout = await json('rollout', 'get', MODEL);
    assert.deepEqual(
      [rollout.rollout, rollout.outcome, rollout.hosts.serving, rollout.waveCount, rollout.actor, rollout.reason],
      [started.rollout, 'Promoted', 2, 2, 'ci', 'first version'],
    );
    assert.match(await ok('rollout', 'get', MODEL), /✔ Promoted[\s\S]*✔ wave 2 {2}.*1\/1/);
    assert.match(await ok('rollout', 'explain', MODEL), /Promoted/);
    assert.equal(await ok('list'), 'no rollout is active\n');
    assert.deepEqual((await json('history', MODEL)).rollouts.length, 1);
    const audit = (await ok('audit', MODEL, '--output', 'json'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.ok(audit.some(({ actor }) => actor === 'ci') && audit.some(({ revision }) => revision === rollout.revision));
    // More than one page, of a trail that is longer.
    const entries = "for i = 1, 1500 do redis.call('XADD', KEYS[1], i .. '-0', 'e', 'e' .. i) end";
    await redis.command('EVAL', entries, 1, '{shop}:audit:long');
    const latest = (await ok('audit', 'long', '--count', '1200', '--output', 'json')).trimEnd().split('\n');
    assert.deepEqual(
      latest.map((line) => JSON.parse(line).event),
      Array.from({ length: 1200 }, (_, i) => `e${301 + i}`),
    );
    assert.match(await ok('host', 'describe', 'a'), /half_plus_two {2}v1 +v1 +Available/);

    const again = await run('rollout', 'start', `${MODEL}@1`, '--plan', join(folder, 'none.json'), ...why);
    assert.equal(again.code, 64);
    const late = await run('rollout', 'resume', MODEL, ...why);
    assert.equal(late.code, 65, late.stdout + late.stderr);
    const unknown = await run('rollout', 'get', 'nothing');
    assert.deepEqual([unknown.code, /^ERR_ROLLOUT_NOT_FOUND: /.test(unknown.stderr)], [66, true]);

    await ok('host', 'cordon', 'b', '--reason', 'disk');
    assert.match(await ok('hosts'), /^b .* cordoned /m);
    await ok('host', 'uncordon', 'b', '--reason', 'disk is back');
    await ok('doctor');

    // An agent that is told to stop gives its lease back, and ends well.
    agents[0]?.kill('SIGTERM');
    assert.deepEqual(await once(agents[0] as ChildProcess, 'close'), [0, null]);
    assert.match(await ok('hosts'), /^a .* away /m);
  });

  it('loads no more on a host than the capacity that the fleet is told of', async () => {
    const where = ['--models', join(folder, 'models'), '--state', folder, '--heartbeat', '1s'];
    const agent = start('agent', '--id', 'small', '--capacity', '16B', ...where);
    const until = Date.now() + PATIENCE_MS;
    for (let code = ''; code !== 'ERR_RESOURCE_EXHAUSTED'; await sleep(100)) {
      assert.ok(Date.now() < until, `the load is refused: ${code}`);
      const { hosts } = await json('hosts');
      const { capacityBytes, models = [] } = hosts.find(({ host }: { host: string }) => host === 'small') ?? {};
      const [version] = models[0]?.reported?.versions ?? [];
      assert.notEqual(version?.managerState, 'Available');
      code = version?.error?.code ?? '';
      if (code) assert.equal(capacityBytes, 16);
    }
    agent.kill('SIGTERM');
    await once(agent, 'close');
  });

  it('says how many replicas have it, of those that are wanted or connected', async () => {
    const why = ['--reason', 'how safe it is'];
    const replica = await RedisServer.start({ after() {} }, { replicaOf: redis });
    try {
      const until = Date.now() + PATIENCE_MS;
      for (let text = ''; !text.endsWith(', replicated 1 of 1\n'); ) {
        assert.ok(Date.now() < until, `the replica has it: ${text}`);
        text = await ok('rollout', 'abort', MODEL, ...why);
      }
      assert.equal((await json('rollout', 'abort', MODEL, '--min-replicas', '1', ...why)).replicated, 1);
      replica.pause();
      const { replicated, replicas } = await json('rollout', 'abort', MODEL, ...why);
      assert.deepEqual([replicated, replicas], [0, 1]);
      const start = ['rollout', 'start', `${MODEL}@2`, ...why];
      const { code, stderr } = await run(...start, '--min-replicas', '1');
      assert.deepEqual([code, /^ERR_STORE_UNCONFIRMED: .*nothing was started/.test(stderr)], [69, true], stderr);
    } finally {
      replica.resume();
      await replica.stop();
    }
  });

  it('restores what export wrote into an empty store, and nothing that it did not', async () => {
    const saved = join(folder, 'fleet.json');
    const bad = join(folder, 'bad.json');
    const shop = ['--fleet', 'shop'];
    await ok('export', '--out', saved, ...shop);
    const { hosts, models } = JSON.parse(await readFile(saved, 'utf8'));
    const other = { ...JSON.parse(await readFile(saved, 'utf8')), fleet: 'other' };
    const why = ['--fleet', 'other', '--reason', 'a new server'];
    for (const [content, expected] of [
      ['{}', /^ERR_INVALID_ARGUMENT: Expected 1, .* for schema of the export/],
      [JSON.stringify({ ...other, fleet: 'shop' }), /^ERR_INVALID_ARGUMENT: Expected "other" for fleet of the export/],
    ] as const) {
      await writeFile(bad, content);
      const { code, stderr } = await run('restore', bad, ...why);
      assert.deepEqual([code, expected.test(stderr)], [64, true], stderr);
    }
    await writeFile(saved, JSON.stringify(other));
    const restored = await json('restore', saved, ...why);
    assert.deepEqual(await json('restore', saved, ...why), restored, 'the same file is the same operation');
    const again = JSON.parse(await ok('export', '--fleet', 'other'));
    assert.deepEqual([again.hosts, again.models], [hosts, models]);
    await writeFile(saved, JSON.stringify({ ...other, incarnation: 'another file' }));
    assert.equal((await run('restore', saved, ...why)).code, 65);
  });

  it('says what is wrong with the name of a model', async () => {
    const { code, stderr } = await run('rollout', 'start', 'a:b@1', '--reason', 'typo');
    assert.equal(code, 64);
    assert.match(stderr, /^ERR_FLEET_INVALID_NAME: .* for model, but received "a:b"/);
  });

  it('says which code when the store does not answer, and ends soon', async () => {
    const { code, stdout, stderr } = await run('list', '--redis', 'redis://127.0.0.1:1');
    assert.deepEqual([code, stdout], [69, '']);
    assert.match(stderr, /^ERR_STORE_UNAVAILABLE: /);
  });
});
