// TensorFlow Serving's cases for its StaticManagerBuilder, by the ids of the behaviour specification, section 10.13. There a
// builder takes finished servables; here a list of loaders that return them does, and settled says that it is built.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager } from 'aspired';
import { deadline } from '../support/deadline.js';
import { coded, TestManager } from '../support/manager.js';

const value = <T>(servable: T) => ({ load: () => servable });

test('SM-01 SM-05 a servable that was added is found by its version, and by its id', async (t) => {
  const m = new TestManager(t);
  await m.aspire('n', [{ version: 22, loader: value('22') }]);
  using handle = m.manager.getServableHandle<string>({ name: 'n', version: 22 });
  using again = m.manager.getServableHandle<string>(handle.id);
  assert.deepEqual([handle.servable, again.servable], ['22', '22']);
});

test('SM-02 nothing is added after the end', async () => {
  const manager = new AspiredVersionsManager();
  await deadline(manager.setAspiredVersions('n', [{ version: 22, loader: value('22') }]).settled, 'the first list');
  await deadline(manager.close(), 'close()');
  const add = () => manager.setAspiredVersions('n', [{ version: 23, loader: value('23') }]);
  assert.throws(add, coded('ERR_MANAGER_CLOSED', 'FAILED_PRECONDITION'));
});

test('SM-03 no servable is an error; the same version twice is an error', async (t) => {
  const m = new TestManager(t, { maxNumLoadRetries: 0 });
  const { versions } = await m.aspire('n', [{ version: 22, loader: value(undefined) }]);
  assert.deepEqual([versions[0]?.managerState, versions[0]?.error?.code], ['End', 'ERR_LOAD_FAILED']);
  const twice = [22, 22].map((version) => ({ version, loader: value('x') }));
  assert.throws(() => m.manager.setAspiredVersions('n', twice), coded('ERR_DUPLICATE_VERSION', 'INVALID_ARGUMENT'));
});

test('SM-04 Latest is the highest one', async (t) => {
  const m = new TestManager(t);
  await m.aspire(
    'n',
    [22, 24].map((version) => ({ version, loader: value(String(version)) })),
  );
  using handle = m.manager.getServableHandle<string>('n');
  assert.deepEqual([handle.servable, { ...handle.id }], ['24', { name: 'n', version: 24 }]);
});

test('SM-06 an empty manager has nothing', async (t) => {
  const m = new TestManager(t);
  assert.throws(() => m.manager.getServableHandle('n'), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
  assert.deepEqual(m.manager.listAvailableServableIds(), []);
});

test('SM-07 a version that was not added is not found', async (t) => {
  const m = new TestManager(t);
  await m.aspire('n', [{ version: 22, loader: value('22') }]);
  const request = { name: 'n', version: 21 };
  assert.throws(() => m.manager.getServableHandle(request), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
});
