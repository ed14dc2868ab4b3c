// What was accepted outlives the process: restarts, crashes, damaged files, disks that cannot be written.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AcceptedFile } from '#lib/fleet/agent/accepted-file.js';
import { encodeCell } from '#lib/fleet/codec.js';
import { deadline, turns } from '../../support/deadline.js';
import { assertServes, codes, LoaderPark, moreBeats, ScriptedStore, startHost, tempDir, until } from './support.js';

const folderOf = (stateDir: string): string => join(stateDir, 'f', 'h1');
const fileOf = (stateDir: string): string => join(folderOf(stateDir), 'accepted.json');

/** A state folder in which a/1 and b/2 were accepted. */
async function accepted(t: TestContext): Promise<string> {
  const stateDir = tempDir(t);
  const { store, agent } = await startHost(t, { stateDir });
  await agent.joined;
  store.write({ a: { generation: 5, versions: [1], primary: 1 }, b: { generation: 6, versions: [2], primary: 2 } });
  await until(() => store.stateOf('a', 1) === 'Available' && store.stateOf('b', 2) === 'Available', 'both');
  await agent.close();
  return stateDir;
}

test('a restart while the store is away serves what was accepted, and joins when it is back', async (t) => {
  const stateDir = await accepted(t);
  const store = new ScriptedStore();
  store.fault = 'hangs';
  const host = await startHost(t, { stateDir, store });
  await until(() => host.test.available().length === 2, 'both');
  assertServes(host, 'a/1', 'b/2');
  assert.equal(host.agent.status.state, 'joining');
  store.fault = undefined;
  store.write(
    { a: { generation: 5, versions: [1], primary: 1 }, b: { generation: 7, versions: [2, 3], primary: 3 } },
    false,
  );
  await deadline(host.agent.joined, 'joined');
  await until(() => host.test.resolve('b') === 'b/3', 'what changed meanwhile');
  assert.deepEqual(host.loaders.loads.sort(), ['a/1', 'b/2', 'b/3'], 'nothing is loaded twice');
});

test('a version that was taken back is remembered over later cells and a restart, until a cell asks for it', async (t) => {
  const stateDir = tempDir(t);
  const first = await startHost(t, { stateDir });
  await first.agent.joined;
  const tellsOf = (store: ScriptedStore, generation: number): Promise<void> =>
    until(() => store.models.get('m')?.generation === generation, `generation ${generation} to be reported`);
  first.store.write({ m: { generation: 1, versions: [1], primary: 1, rolledBack: [2] } });
  await tellsOf(first.store, 1);
  // The next rollout of the model, which knows nothing of version 2.
  first.store.write({ m: { generation: 2, versions: [1, 3], primary: 3 } });
  await tellsOf(first.store, 2);
  assert.deepEqual(first.store.models.get('m')?.rolledBack, [2]);
  await first.agent.close();
  await first.test.manager.close();

  const { store, agent } = await startHost(t, { stateDir });
  await agent.joined;
  await tellsOf(store, 2);
  assert.deepEqual(store.models.get('m')?.rolledBack, [2], 'after a restart');
  store.write({ m: { generation: 3, versions: [3], primary: 3, rolledBack: [4] } });
  await tellsOf(store, 3);
  assert.deepEqual(store.models.get('m')?.rolledBack, [2, 4]);
  store.write({ m: { generation: 4, versions: [2, 3], primary: 3 } });
  await tellsOf(store, 4);
  assert.deepEqual(store.models.get('m')?.rolledBack, [4], 'an operator wants version 2 again');
});

test('the persisted document is aspired to before the store is talked to', async (t) => {
  const stateDir = await accepted(t);
  const store = new ScriptedStore();
  const order: string[] = [];
  store.onCall = (call) => order.push(call);
  const loaders = new LoaderPark();
  loaders.behaviour.set('a/1', () => {
    order.push('load a/1');
    return 1;
  });
  const {
    agent,
    test: { manager },
  } = await startHost(t, { stateDir, store, loaders });
  assert.deepEqual(manager.listServableNames().sort(), ['a', 'b'], 'aspired when start() resolves');
  await agent.joined;
  assert.equal(agent.status.accepted.get('a')?.generation, 5);
});

test('nothing is acted on before it is on the disk', async (t) => {
  const stateDir = tempDir(t);
  const host = await startHost(t, { stateDir });
  const {
    store,
    agent,
    test: { manager },
  } = host;
  await agent.joined;
  const original = manager.setAspiredVersions.bind(manager);
  const seen: string[] = [];
  manager.setAspiredVersions = (name, versions, options) => {
    const onDisk = JSON.parse(readFileSync(fileOf(stateDir), 'utf8')).document.cells[name];
    seen.push(`${name} ${versions.map(({ version }) => version)} ${onDisk}`);
    return original(name, versions, options);
  };
  store.write({ a: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.stateOf('a', 1) === 'Available', '1');
  store.write({ a: { generation: 2, versions: [], primary: 1 } });
  await until(() => store.models.get('a')?.versions.length === 0, 'the removal');
  assert.deepEqual(seen, [
    `a 1 ${encodeCell({ generation: 1, versions: [1], primary: 1 })}`,
    `a  ${encodeCell({ generation: 2, versions: [], primary: 1 })}`,
  ]);
});

/** Runs an agent in a process of its own that is killed when its manager is told of version 2 of model a. */
async function killedBetweenPersistAndAct(stateDir: string): Promise<void> {
  const child = fork(fileURLToPath(new URL('./fixtures/killed-agent.js', import.meta.url)), [stateDir]);
  try {
    const [code, signal] = await deadline(
      new Promise<[number | null, string | null]>((resolve) => child.on('exit', (...end) => resolve(end))),
      'the end of the child',
    );
    assert.deepEqual([code, signal], [null, 'SIGKILL'], 'killed at the moment in question');
  } finally {
    child.kill('SIGKILL');
  }
}

test('kill -9 between writing down and acting: the next boot acts, without the store', async (t) => {
  const stateDir = tempDir(t);
  await killedBetweenPersistAndAct(stateDir);
  const store = new ScriptedStore();
  store.fault = 'ERR_STORE_UNAVAILABLE';
  const host = await startHost(t, { stateDir, store });
  await until(() => host.test.resolve('a') === 'a/2', '2');
  assert.equal(host.agent.status.accepted.get('a')?.generation, 2);
  store.fault = undefined;
  store.write({ a: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.findings().includes('ERR_DOCUMENT_STALE'), 'the older one to be refused');
  assert.equal(host.test.resolve('a'), 'a/2');
});

test('kill -9 at any moment: what was acted on is on the disk, whole', async (t) => {
  for (let round = 0; round < 4; round++) {
    const stateDir = tempDir(t);
    const child = fork(fileURLToPath(new URL('./fixtures/busy-agent.js', import.meta.url)), [stateDir]);
    t.after(() => void child.kill('SIGKILL'));
    let acted = 0;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.on('message', (generation: number) => {
      acted = Math.max(acted, generation);
      // Somewhere in the middle of what it does next.
      if (generation === 20 + 7 * round) setTimeout(() => child.kill('SIGKILL'), Math.random() * 5);
    });
    await deadline(exited, 'the end of the child');
    const { document, problem } = await new AcceptedFile(folderOf(stateDir), 'f', 'h1').read();
    assert.equal(problem, undefined);
    const onDisk = document.cells.get('a')?.cell.generation ?? 0;
    assert.ok(acted >= 20 && onDisk >= acted, `${onDisk} on the disk, ${acted} acted on`);
  }
});

test('a crash leaves a lease: the next boot gives it back at once, and a half-written file is no harm', async (t) => {
  const stateDir = tempDir(t);
  await killedBetweenPersistAndAct(stateDir);
  writeFileSync(`${fileOf(stateDir)}.tmp`, '{"schema":1,"sha');
  const store = new ScriptedStore();
  store.holder = JSON.parse(readFileSync(join(folderOf(stateDir), 'boot.json'), 'utf8')).bootId;
  const host = await startHost(t, { stateDir, store });
  await deadline(host.agent.joined, 'joined');
  assert.equal(store.holder, host.agent.bootId);
  assert.deepEqual(host.errors, [], 'nobody is bothered with that');
});

for (const [what, damage] of [
  ['cut short', (text: string) => text.slice(0, text.length / 2)],
  ['empty', () => ''],
  ['another version, by one digit', (text: string) => text.replace('1;5;1*', '1;5;7*')],
  ['without a checksum', (text: string) => text.replace(/"sha256":"\w+",/, '')],
  ["another host's", (text: string) => text.replace('"host":"h1"', '"host":"h2"')],
  ['no object', () => 'null'],
] as const) {
  test(`a state file that is ${what} is told and moved aside, and the store fills it again`, async (t) => {
    const stateDir = await accepted(t);
    const text = readFileSync(fileOf(stateDir), 'utf8');
    assert.notEqual(damage(text), text, 'the damage is one');
    writeFileSync(fileOf(stateDir), damage(text));
    const host = await startHost(t, { stateDir });
    await host.agent.joined;
    assert.deepEqual(codes(host.errors), ['ERR_DOCUMENT_UNDECODABLE']);
    await until(() => host.store.findings().includes('ERR_DOCUMENT_UNDECODABLE'), 'the finding');
    assertServes(host);
    const [aside] = readdirSync(folderOf(stateDir)).filter((name) => name.startsWith('accepted.json.damaged'));
    assert.equal(
      readFileSync(join(folderOf(stateDir), aside ?? '?'), 'utf8'),
      damage(text),
      'kept for somebody to look at',
    );
    host.store.write({ a: { generation: 5, versions: [1], primary: 1 } });
    await until(() => host.test.resolve('a') === 'a/1', 'a/1');
    await until(() => host.store.findings().length === 0, 'the end of the finding');
  });
}

test('a state file of another schema is moved aside, not read and not overwritten', async (t) => {
  const stateDir = await accepted(t);
  writeFileSync(fileOf(stateDir), '{"schema":0,"models":{"a":[1]}}');
  const host = await startHost(t, { stateDir });
  await host.agent.joined;
  assert.deepEqual(codes(host.errors), ['ERR_SCHEMA_UNSUPPORTED']);
  assertServes(host);
  assert.ok(existsSync(`${fileOf(stateDir)}.damaged-1`));
});

test('a state file that cannot be read for a moment is no damage; one that stays so is told, and stays', async (t) => {
  const stateDir = await accepted(t);
  const [path, elsewhere] = [fileOf(stateDir), join(stateDir, 'elsewhere')];
  const file = new AcceptedFile(folderOf(stateDir), 'f', 'h1');
  renameSync(path, elsewhere);
  symlinkSync(path, path); // ELOOP, for root too; and one rename ends it: a file that is absent for a moment is another case
  const reading = file.read();
  await turns();
  renameSync(elsewhere, path);
  const { document, problem } = await deadline(reading, 'the reading');
  assert.deepEqual([[...document.cells.keys()].sort(), problem], [['a', 'b'], undefined]);

  rmSync(path);
  symlinkSync(path, path);
  const other = await deadline(file.read(), 'the reading');
  assert.deepEqual([other.document.cells.size, other.problem?.code], [0, 'ERR_DOCUMENT_UNDECODABLE']);
  assert.deepEqual(
    readdirSync(folderOf(stateDir)).filter((name) => name.includes('damaged')),
    [],
  );
});

test('cells that a newer controller wrote keep what this agent cannot read of them', async (t) => {
  const stateDir = tempDir(t);
  const host = await startHost(t, { stateDir });
  await host.agent.joined;
  const text = `${encodeCell({ generation: 1, versions: [1], primary: 1 })};zsomething-new`;
  host.store.write({ a: text });
  await until(() => host.test.resolve('a') === 'a/1', 'a/1');
  await host.agent.close();
  assert.equal((await new AcceptedFile(folderOf(stateDir), 'f', 'h1').read()).document.cells.get('a')?.text, text);
});

test('a disk that cannot be written: not acted on, served on, told, and done when it can be', async (t) => {
  const stateDir = await accepted(t);
  const host = await startHost(t, { stateDir });
  const { store } = host;
  store.write({ a: { generation: 5, versions: [1], primary: 1 }, b: { generation: 6, versions: [2], primary: 2 } });
  await host.agent.joined;
  await until(() => host.test.available().length === 2, 'both');
  // Tests run as root, whom no mode stops; a folder where the file is to be written does.
  mkdirSync(`${fileOf(stateDir)}.tmp`);
  store.write({ a: { generation: 7, versions: [1, 9], primary: 9 }, b: { generation: 7, versions: [] } });
  await until(() => store.findings().includes('ERR_ACCEPTED_UNWRITABLE'), 'the finding');
  await moreBeats(store);
  assertServes(host, 'a/1', 'b/2');
  assert.deepEqual(host.loaders.loads.sort(), ['a/1', 'b/2'], 'nothing new was loaded');
  assert.equal(store.models.get('a')?.generation, 5, 'nor said to be accepted');
  assert.deepEqual(codes(host.errors), ['ERR_ACCEPTED_UNWRITABLE'], 'told once');
  rmSync(`${fileOf(stateDir)}.tmp`, { recursive: true });
  await until(() => host.test.resolve('a') === 'a/9' && store.findings().length === 0, 'the change');
  assertServes(host, 'a/1', 'a/9');
});

/** What descriptors of this process are open on. */
function openUnder(folder: string): string[] {
  const paths = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return []; // the one that readdir had
    }
  });
  return paths.filter((path) => path.startsWith(folder));
}

test('a state folder that is removed under the agent is made again, and close() leaves no descriptor', async (t) => {
  const stateDir = tempDir(t);
  const host = await startHost(t, { stateDir });
  await host.agent.joined;
  for (const generation of [1, 2, 3]) {
    host.store.write({ a: { generation, versions: [generation], primary: generation } });
    await until(() => host.test.resolve('a') === `a/${generation}`, `a/${generation}`);
    assert.match(readFileSync(fileOf(stateDir), 'utf8'), new RegExp(`"a":"1;${generation};`));
    if (generation === 1) rmSync(folderOf(stateDir), { recursive: true });
  }
  if (process.platform === 'linux')
    assert.deepEqual(openUnder(stateDir), [folderOf(stateDir)], 'the one that is there');
  await host.agent.close();
  if (process.platform === 'linux') assert.deepEqual(openUnder(stateDir), []);
});

test('a state folder that cannot be made at all: the host joins, follows nothing, and says why', async (t) => {
  const stateDir = join(tempDir(t), 'file');
  writeFileSync(stateDir, 'in the way');
  const host = await startHost(t, { stateDir });
  await host.agent.joined;
  host.store.write({ a: { generation: 1, versions: [1] } });
  await until(() => host.store.findings().includes('ERR_ACCEPTED_UNWRITABLE'), 'the finding');
  assertServes(host);
});

test('a restart of the agent alone, on a manager that serves: nothing is loaded again', async (t) => {
  const stateDir = tempDir(t);
  const first = await startHost(t, { stateDir });
  await first.agent.joined;
  first.store.write({ a: { generation: 1, versions: [1], primary: 1 } });
  await until(() => first.store.stateOf('a', 1) === 'Available', 'a/1');
  await first.agent.close({ keepServing: true });
  assert.equal(first.store.holder, first.agent.bootId, 'the lease was not given back');
  assertServes(first, 'a/1');
  const { agent, errors } = await startHost(t, {
    stateDir,
    store: first.store,
    test: first.test,
    loaders: first.loaders,
  });
  await deadline(agent.joined, 'joined');
  assert.equal(first.store.holder, agent.bootId);
  assert.deepEqual(first.loaders.loads, ['a/1']);
  assert.deepEqual(errors, []);
});
