// What random operations have found, as the shortest story of each.
import assert from 'node:assert/strict';
import test from 'node:test';
import { AspiredVersionsManager, type Loader } from 'aspired';

const microtasks = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
const ok: Loader = { load: () => ({}) };
const failing: Loader = {
  load() {
    throw new Error('no weights');
  },
};

async function withManager(play: (manager: AspiredVersionsManager, rounds: () => Promise<void>) => Promise<void>) {
  const manager = new AspiredVersionsManager({
    manageStateIntervalMs: 0,
    maxNumLoadRetries: 0,
    loadRetryIntervalMs: 0,
    slowRetryIntervalMs: 0,
  });
  const rounds = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      manager.step();
      await microtasks();
    }
  };
  try {
    await play(manager, rounds);
  } finally {
    await manager.close();
  }
}

test('a list whose only version fails settles, although the policy keeps the version it dropped', () =>
  withManager(async (manager, rounds) => {
    manager.setAspiredVersions('m', [{ version: 1, loader: ok }]);
    await rounds();
    const { settled } = manager.setAspiredVersions('m', [{ version: 2, loader: failing }]);
    await rounds();
    const { versions } = await settled;
    assert.deepEqual(
      versions.map(({ managerState, error }) => [managerState, error?.code]),
      [['End', 'ERR_LOAD_FAILED']],
    );
    assert.deepEqual(manager.listAvailableServableIds(), [{ name: 'm', version: 1 }]);
  }));

test('a version that failed is reported as ended, also while a retry of it is under way', () =>
  withManager(async (manager, rounds) => {
    let open: (servable: object) => void = () => {};
    const slow: Loader = {
      load: () =>
        new Promise((resolve) => {
          open = resolve;
        }),
    };
    const list = [
      { version: 1, loader: slow },
      { version: 2, loader: failing },
    ];
    const { settled } = manager.setAspiredVersions('m', list);
    await rounds();
    open({});
    await rounds();
    const { versions } = await settled;
    assert.deepEqual(
      versions.map(({ managerState }) => managerState),
      ['Available', 'End'],
    );
  }));

test('a loader whose version is dropped before the message to load it came is not called', () =>
  withManager(async (manager, rounds) => {
    let calls = 0;
    const counting: Loader = { load: () => ++calls };
    const dropper: Loader = {
      load() {
        manager.setAspiredVersions('m', []);
        return {};
      },
    };
    manager.setAspiredVersions('a', [{ version: 1, loader: dropper }]);
    manager.setAspiredVersions('m', [{ version: 1, loader: counting }]);
    await rounds();
    assert.equal(calls, 0);
    assert.deepEqual(manager.listServableNames(), ['a']);
  }));

test('a good loader replaces the error of a source that waits for the end of a cancelled load', () =>
  withManager(async (manager, rounds) => {
    let open: (servable: object) => void = () => {};
    const deaf: Loader = {
      load: () =>
        new Promise((resolve) => {
          open = resolve;
        }),
    };
    manager.setAspiredVersions('m', [{ version: 1, loader: deaf }]);
    await rounds();
    manager.setAspiredVersions('m', []);
    manager.setAspiredVersions('m', [{ version: 1, error: new Error('no directory') }]);
    manager.setAspiredVersions('m', [{ version: 1, loader: ok }]);
    open({});
    await rounds();
    assert.deepEqual(manager.listAvailableServableIds(), [{ name: 'm', version: 1 }]);
  }));
