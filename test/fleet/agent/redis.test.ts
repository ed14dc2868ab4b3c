// The agent over a real Redis: joining, following, outages, lost data, wrong passwords, a crash.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type OnnxServable, onnxLoader } from 'aspired';
import type { FleetAgentOptions } from '#lib/fleet/agent/options.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { DesiredCell, HostReport } from '#lib/fleet/types.js';
import { deadline } from '../../support/deadline.js';
import { coded } from '../../support/manager.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { model as onnxModel } from '../../unit/onnx/support.js';
import { LossyProxy } from '../store/lossy-proxy.js';
import { intent } from '../store/support.js';
import { codes, type Host, startHost, tempDir, until } from './support.js';

const skip = withoutRedis;

/** What a controller does, by hand. */
class Controller {
  private readonly generations = new Map<string, number>();

  private constructor(readonly store: RedisStore) {}

  static async start(t: TestContext, server: RedisServer): Promise<Controller> {
    const store = await RedisStore.connect({ url: server.url, fleet: 'f' });
    t.after(() => store.close());
    const controller = new Controller(store);
    await controller.start();
    return controller;
  }

  /** Makes the fleet, which knows of nothing yet. */
  async start(): Promise<void> {
    this.generations.clear();
    await this.store.create();
  }

  /** Enters the hosts that asked for it, once that one is among them. */
  async enter(host = 'h1'): Promise<void> {
    await this.eventually(async () => (await this.store.readHints('')).hosts.includes(host), `a hint of ${host}`);
    const report = await this.report(host, () => true);
    await this.store.enterHosts([report.info]);
  }

  async write(model: string, cell: Omit<DesiredCell, 'generation'>, generationAbove?: number): Promise<number> {
    const expectGeneration = this.generations.get(model) ?? 0;
    const change = { model, expectGeneration, hosts: ['h1'], writes: [{ place: 0, cell }], intent: intent() };
    const answer = await this.store.assertCells({ ...change, ...(generationAbove ? { generationAbove } : {}) });
    assert.equal(answer.outcome, 'committed');
    this.generations.set(model, answer.generation);
    return answer.generation;
  }

  /** The report of the host, when it is so. */
  async report(host: string, test: (report: HostReport) => boolean): Promise<HostReport> {
    let found: HostReport | undefined;
    await this.eventually(async () => {
      [found] = await this.store.readReports([host]);
      return found !== undefined && test(found);
    }, `the report of ${host}`);
    return found as HostReport;
  }

  available(version: number, model = 'm'): Promise<HostReport> {
    const isSo = ({ models }: HostReport): boolean =>
      models.get(model)?.versions.find((report) => report.version === version)?.managerState === 'Available';
    return this.report('h1', isSo);
  }

  private async eventually(test: () => Promise<boolean>, what: string): Promise<void> {
    const end = performance.now() + 15_000;
    while (!(await test().catch(() => false))) {
      if (performance.now() > end) throw new Error(`Still waiting for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

type AgentHost = Omit<Host, 'store'>;

function startAgent(
  t: TestContext,
  server: RedisServer,
  options: Partial<Omit<FleetAgentOptions, 'store'>> = {},
): Promise<AgentHost> {
  return startHost(t, { heartbeatIntervalMs: 200, ...options, redis: server.url });
}

/** A fleet with one host, which was entered and has version 1 of m. */
async function startServing(t: TestContext, options: Parameters<typeof startAgent>[2] = {}) {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const host = await startAgent(t, server, options);
  await deadline(host.agent.joined, 'joined');
  await controller.enter();
  await controller.write('m', { versions: [1], primary: 1 });
  await controller.available(1);
  return { server, controller, host };
}

test('an agent joins through Redis, is entered, follows and reports', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const host = await startAgent(t, server, { zone: 'eu-1a', labels: { tier: 'gold' } });
  await deadline(host.agent.joined, 'joined');
  await controller.enter();
  assert.deepEqual(
    (await controller.store.hosts()).map(({ info }) => [info.id, info.zone, info.labels]),
    [['h1', 'eu-1a', { tier: 'gold' }]],
  );
  await controller.write('m', { versions: [42], primary: 42 });
  await controller.available(42);
  await host.test.manager.withServable('m', () => 1);
  const traffic = ({ models }: HostReport): boolean => models.get('m')?.versions[0]?.traffic?.requests === 1;
  const { status } = await controller.report('h1', traffic);
  assert.equal(status.bootId, host.agent.bootId);
  await controller.write('m', { versions: [] });
  await controller.report('h1', ({ models }) => models.get('m')?.versions.length === 0);
  assert.deepEqual(host.errors, []);
  await host.agent.close();
  assert.deepEqual(await controller.store.readLeases(['h1']), [undefined], 'the lease was given back');
});

test('a change costs the host one beat: what its doorbell says needs no reading', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const host = await startAgent(t, server, { heartbeatIntervalMs: 60_000 });
  await deadline(host.agent.joined, 'joined');
  await controller.enter();
  await controller.write('m', { versions: [1, 2], primary: 1 });
  await controller.available(2);
  const calls = async (): Promise<(name: string) => number> => {
    const stats = await server.info('commandstats');
    return (name) => Number(/calls=(\d+)/.exec(stats[`cmdstat_${name}`] ?? '')?.[1] ?? 0);
  };
  const beats = async (): Promise<number> => (await calls())('evalsha');
  await server.command('CONFIG', 'RESETSTAT');
  const changes = 20;
  for (let change = 1; change <= changes; change++) {
    const before = await beats();
    const generation = await controller.write('m', { versions: [1, 2], primary: 1 + (change % 2) });
    await until(() => host.agent.status.accepted.get('m')?.generation === generation, 'the cell');
    const end = performance.now() + 15_000;
    while ((await beats()) < before + 2 && performance.now() < end);
  }
  const count = await calls();
  t.diagnostic(`${changes} changes: ${count('hgetall')} readings, ${count('evalsha') - changes} beats`);
  assert.equal(count('hgetall'), 0, 'readings of the document');
  assert.equal(count('evalsha'), 2 * changes, 'a script of the controller and a beat of the host for each');
});

test('Redis stops answering for a while: no request fails, and what was written meanwhile is followed', {
  skip,
}, async (t) => {
  const { server, controller, host } = await startServing(t);
  let stop = false;
  let requests = 0;
  const failures: unknown[] = [];
  const storm = (async () => {
    while (!stop) {
      await host.test.manager
        .withServable('m', () => new Promise((r) => setImmediate(r)))
        .catch((e) => failures.push(e));
      requests++;
    }
  })();
  try {
    server.pause();
    await until(() => host.agent.status.state === 'away', 'the agent to notice');
    server.resume();
    await controller.write('m', { versions: [1, 2], primary: 2 });
    await until(() => host.test.resolve('m') === 'm/2', 'the flip');
    await until(() => host.agent.status.state === 'joined', 'the agent to be back');
  } finally {
    stop = true;
  }
  await storm;
  assert.deepEqual(failures, []);
  assert.ok(requests > 100, `${requests} requests`);
  assert.deepEqual(codes(host.errors), ['ERR_STORE_UNAVAILABLE'], 'told once');
});

test('Redis is killed and comes back empty: served on; restored from what the host says', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const host = await startAgent(t, server);
  await deadline(host.agent.joined, 'joined');
  await controller.enter();
  for (const version of [1, 2, 3]) await controller.write('m', { versions: [version], primary: version });
  await controller.available(3);
  await server.kill();
  await server.restart();
  await controller.report('h1', ({ models }) => models.get('m')?.generation === 3);
  assert.equal(host.test.resolve('m'), 'm/3');
  await until(() => host.agent.status.findings.some(({ code }) => code === 'ERR_DOCUMENT_MISSING'), 'the finding');
  await controller.start();
  await controller.enter();
  // A controller that does not know better begins at 1, which the host must not follow.
  await controller.write('m', { versions: [1], primary: 1 });
  await until(() => host.agent.status.findings.some(({ code }) => code === 'ERR_DOCUMENT_STALE'), 'the finding');
  assert.equal(host.test.resolve('m'), 'm/3');
  await controller.write('m', { versions: [3, 4], primary: 4 }, 3);
  await until(() => host.test.resolve('m') === 'm/4', 'the generation above');
  assert.deepEqual(
    host.loaders.loads.filter((key) => key === 'm/3'),
    ['m/3'],
    '3 was never loaded again',
  );
});

test('started while Redis is away: what was accepted is served, and joined when it comes', { skip }, async (t) => {
  const stateDir = tempDir(t);
  const { server, host: first } = await startServing(t, { stateDir });
  await first.agent.close();
  await server.kill();
  const host = await startAgent(t, server, { stateDir });
  await until(() => host.test.resolve('m') === 'm/1', 'what was accepted');
  assert.equal(host.agent.status.state, 'joining');
  await server.restart();
  await deadline(host.agent.joined, 'joined');
});

/** A folder in which m/1 was accepted from a Redis that was as it should be. */
async function accepted(t: TestContext): Promise<string> {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const stateDir = tempDir(t);
  const { agent, test } = await startAgent(t, server, { stateDir });
  await agent.joined;
  await controller.enter();
  await controller.write('m', { versions: [1], primary: 1 });
  await controller.available(1);
  await agent.close();
  await test.manager.close();
  return stateDir;
}

for (const [what, code, spoiled] of [
  [
    'refuses the password',
    'ERR_STORE_DENIED',
    async (t) => (await RedisServer.start(t, { password: 'right' })).url.replace('right', 'wrong'),
  ],
  [
    'is too old',
    'ERR_STORE_UNSUPPORTED',
    async (t) => {
      const proxy = await LossyProxy.start(t, (await RedisServer.start(t)).port);
      proxy.edits = (answer) => answer.replace(/redis_version:\d/, 'redis_version:6');
      return proxy.url;
    },
  ],
  [
    'is a replica',
    'ERR_STORE_READ_ONLY',
    async (t) => (await RedisServer.start(t, { replicaOf: await RedisServer.start(t) })).url,
  ],
] as [string, string, (t: TestContext) => Promise<string>][]) {
  test(`a Redis that ${what}: the host is told, and serves what it accepted`, { skip }, async (t) => {
    const stateDir = await accepted(t);
    const host = await startHost(t, { stateDir, redis: await spoiled(t) });
    await until(() => host.agent.status.findings.some((finding) => finding.code === code), 'the finding');
    await until(() => host.test.resolve('m') === 'm/1', 'what was accepted');
    // What an operator has to mend ends the wait for joined; a replica may become a master.
    if (code !== 'ERR_STORE_READ_ONLY') await assert.rejects(deadline(host.agent.joined, 'joined'), coded(code));
    assert.deepEqual(codes(host.errors), [code], 'told once');
    assert.equal(await host.test.manager.withServable('m', () => 'served'), 'served');
    await deadline(host.agent.close(), 'close()', 5_000);
    assert.equal(host.test.resolve('m'), 'm/1');
  });
}

test('a Redis that refuses writes: served on, told, and whole when it takes them again', { skip }, async (t) => {
  const { server, host } = await startServing(t);
  await server.command('CONFIG', 'SET', 'maxmemory', '1');
  await until(() => codes(host.errors).includes('ERR_STORE_READ_ONLY'), 'the error');
  assert.equal(host.test.resolve('m'), 'm/1');
  await server.command('CONFIG', 'SET', 'maxmemory', '0');
  await until(() => host.agent.status.state === 'joined', 'the agent to be back');
});

test('kill -9 of a host: the next one has its lease at once, and what it had accepted', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const stateDir = tempDir(t);
  const child = fork(fileURLToPath(new URL('./fixtures/redis-agent.js', import.meta.url)), [server.url, stateDir]);
  t.after(() => void child.kill('SIGKILL'));
  await controller.enter();
  await controller.write('m', { versions: [1], primary: 1 });
  const before = await controller.available(1);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await deadline(exited, 'the end of the child');
  assert.equal((await controller.store.readLeases(['h1']))[0]?.bootId, before.status.bootId, 'it lives on');
  const host = await startAgent(t, server, { stateDir });
  await deadline(host.agent.joined, 'joined', 5_000);
  const after = await controller.available(1);
  assert.equal(after.status.bootId, host.agent.bootId);
  assert.deepEqual(host.errors, []);
});

test('two agents with one id over Redis: the second is told, the first undisturbed', { skip }, async (t) => {
  const { server, controller, host: first } = await startServing(t);
  const second = await startAgent(t, server);
  await assert.rejects(deadline(second.agent.joined, 'joined'), coded('ERR_HOST_CONFLICT'));
  const { status } = await controller.available(1);
  assert.equal(status.bootId, first.agent.bootId);
  assert.deepEqual(first.errors, []);
  await first.agent.close();
  await until(() => second.test.resolve('m') === 'm/1', 'the second to take over');
});

test('ONNX models: loaded on the threads of the manager, flipped under requests', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const controller = await Controller.start(t, server);
  const path = await onnxModel('half_plus_two');
  const host = await startAgent(t, server, { loader: () => onnxLoader(path) });
  await deadline(host.agent.joined, 'joined');
  await controller.enter();
  await controller.write('m', { versions: [1, 2], primary: 1 });
  await controller.available(1);
  const { models } = await controller.available(2);
  const report = models.get('m')?.versions[0];
  assert.ok((report?.ramBytes ?? 0) > 0, 'the estimate of the loader came through');
  await controller.write('m', { versions: [1, 2], primary: 2 });
  await until(() => host.test.resolve('m') === 'm/2', 'the flip');
  await host.test.manager.withServable<OnnxServable, void>('m', (servable) => {
    assert.ok(servable.inputs.length > 0);
  });
});
