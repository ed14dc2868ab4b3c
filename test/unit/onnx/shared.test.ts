// One model for several registries: one session, an object of JavaScript for each.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager, type AttachedVersionsManager, type OnnxServable, onnxLoader } from 'aspired';
import { deadline } from '../../support/deadline.js';
import { coded, floats, model } from './support.js';

interface Shared {
  readonly manager: AspiredVersionsManager;
  readonly attached: AttachedVersionsManager;
}

async function share(name: string, options = {}): Promise<Shared> {
  const manager = new AspiredVersionsManager();
  await manager.setAspiredVersions('m', [{ version: 1, loader: onnxLoader(await model(name), options) }]).settled;
  return { manager, attached: AspiredVersionsManager.attach(manager.attachToken) };
}

function servableOf(reader: { getServableHandle: AspiredVersionsManager['getServableHandle'] }): OnnxServable {
  const handle = reader.getServableHandle<OnnxServable>('m');
  const { servable } = handle;
  handle.release();
  return servable;
}

test('a model is available at the attach, without a load, and answers the same', async () => {
  const { manager, attached } = await share('half_plus_two');
  const mine = servableOf(attached);
  const theirs = servableOf(manager);
  assert.notEqual(mine, theirs);
  assert.equal(mine.path, theirs.path);
  assert.deepEqual([mine.inputs, mine.outputs], [theirs.inputs, theirs.outputs]);
  assert.deepEqual(mine.runSync({ x: floats([2]) }).y?.data, Float32Array.of(3));
  const answers = await Promise.all([mine.run({ x: floats([4]) }), theirs.run({ x: floats([6]) })]);
  assert.deepEqual(
    answers.map(({ y }) => y?.data),
    [Float32Array.of(4), Float32Array.of(5)],
  );
  await attached.close();
  assert.deepEqual(theirs.runSync({ x: floats([2]) }).y?.data, Float32Array.of(3), 'not unloaded with the attachment');
  await manager.close();
});

test('one that was loaded later is opened without a load', async () => {
  const { manager, attached } = await share('half_plus_two');
  const loader = onnxLoader(await model('half_plus_two'));
  await manager.setAspiredVersions('m', [{ version: 2, loader }]).settled;
  assert.deepEqual(attached.listAvailableServableIds(), [{ name: 'm', version: 2 }]);
  await manager.close();
  await attached.close();
});

test('after the unload an object that is left is ERR_SERVABLE_UNLOADED', async () => {
  const { manager, attached } = await share('half_plus_two');
  const left = servableOf(attached);
  await manager.setAspiredVersions('m', []).settled;
  assert.throws(() => left.runSync({ x: floats([2]) }), coded('ERR_SERVABLE_UNLOADED'));
  await assert.rejects(left.run({ x: floats([2]) }), coded('ERR_SERVABLE_UNLOADED'));
  await manager.close();
  await attached.close();
});

test('the unload waits for a run that another registry began, lease or not', async () => {
  const { manager, attached } = await share('slow');
  const x = { type: 'float32', data: new Float32Array(512).fill(0.01), dims: [1, 512] };
  const order: string[] = [];
  const run = servableOf(attached)
    .run({ x })
    .then(() => order.push('run'));
  const unload = manager.setAspiredVersions('m', []).settled.then(() => order.push('unload'));
  await deadline(Promise.all([run, unload]), 'the run and the unload');
  assert.deepEqual(order, ['run', 'unload']);
  await manager.close();
  await attached.close();
});

test('maxQueue is one bound for all registries', async () => {
  const { manager, attached } = await share('slow', { maxQueue: 1 });
  const x = { type: 'float32', data: new Float32Array(512).fill(0.01), dims: [1, 512] };
  const run = servableOf(manager).run({ x });
  await assert.rejects(servableOf(attached).run({ x }), coded('ERR_OVERLOADED'));
  await run;
  await manager.close();
  await attached.close();
});

test('the unload of a loader is not for a model of another thread', async () => {
  const { manager, attached } = await share('half_plus_two');
  const mine = servableOf(attached);
  await onnxLoader(await model('half_plus_two')).unload?.(mine);
  assert.throws(() => mine.runSync({ x: floats([2]) }), coded('ERR_SERVABLE_UNLOADED'));
  assert.deepEqual(servableOf(manager).runSync({ x: floats([2]) }).y?.data, Float32Array.of(3));
  await manager.close();
  await attached.close();
});
