// TensorFlow Serving's cases for its manager builder: a source, or a source with a chain of adapters, into the manager.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager, mapItems, StaticSource, toLoaders } from 'aspired';

const deadline = () => ({ signal: AbortSignal.timeout(10_000) });

test('AVMB-1 what a source emits becomes available', async () => {
  await using manager = new AspiredVersionsManager({});
  const source = new StaticSource([{ name: 'servable', version: 1, path: 'path' }]);
  using connection = source.connect(manager, ({ path }) => ({ load: () => `loaded from ${path}` }));
  assert.equal(connection.closed, false);
  await manager.waitUntilServablesReachState([{ name: 'servable', version: 1 }], 'Available', deadline());
  using handle = manager.getServableHandle<string>('servable');
  assert.equal(handle.servable, 'loaded from path');
});

test('AVMB-2 a chain of adapters is applied in its order', async () => {
  await using manager = new AspiredVersionsManager({});
  const append = (i: number) => mapItems<string | undefined, string>((path) => `${path}/adapter${i}`);
  const chain = append(0)
    .pipe(append(1))
    .pipe(append(2))
    .pipe(toLoaders<string, string>((path) => ({ load: () => path })));
  using connection = new StaticSource([{ name: 'servable', version: 1, path: 'p' }]).connect(chain.to(manager));
  assert.equal(connection.closed, false);
  await manager.waitUntilServablesReachState([{ name: 'servable', version: 1 }], 'Available', deadline());
  using handle = manager.getServableHandle<string>('servable');
  assert.equal(handle.servable, 'p/adapter0/adapter1/adapter2');
});

test('AVMB the end of the manager ends the source, through a chain too', async () => {
  const manager = new AspiredVersionsManager({});
  const direct = new StaticSource([{ name: 'a', version: 1 }]).connect(manager, () => ({ load: () => 'a' }));
  const chain = toLoaders<string | undefined, string>(() => ({ load: () => 'b' }));
  const chained = new StaticSource([{ name: 'b', version: 1 }]).connect(chain.to(manager));
  await manager.close();
  assert.deepEqual([direct.closed, chained.closed], [true, true]);
});
