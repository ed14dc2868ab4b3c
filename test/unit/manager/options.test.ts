// Every option of the manager: a bad value names the option, the expectation and the value; nothing is made.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager, type AspiredVersionsManagerOptions } from 'aspired';
import { coded } from '../../support/manager.js';

const make = (options: unknown) => () => new AspiredVersionsManager(options as AspiredVersionsManagerOptions);

const integers = {
  numLoadThreads: 256,
  numUnloadThreads: 256,
  manageStateIntervalMs: 2 ** 31 - 1,
  maxNumLoadRetries: 1_000_000,
  loadRetryIntervalMs: 2 ** 31 - 1,
  maxLoadRetryIntervalMs: 2 ** 31 - 1,
  slowRetryIntervalMs: 2 ** 31 - 1,
  maxSlowRetryIntervalMs: 2 ** 31 - 1,
  loadTimeoutMs: 2 ** 31 - 1,
  unloadTimeoutMs: 2 ** 31 - 1,
  cancelGraceMs: 2 ** 31 - 1,
  maxLogEvents: 10_000_000,
};

for (const [name, max] of Object.entries(integers)) {
  test(`${name} is an integer from 0 to ${max}`, async () => {
    for (const value of [-1, max + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1', null, true, {}, 1n]) {
      assert.throws(make({ [name]: value }), (error: Error) => {
        assert.match(
          error.message,
          new RegExp(`^Expected an integer from 0 to ${max} for option ${name}, but received `),
        );
        return coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT')(error);
      });
    }
    const isThreads = name.endsWith('Threads');
    for (const value of [0, 1, isThreads ? 2 : max, undefined]) await make({ [name]: value })().close();
  });
}

for (const name of ['shouldRetryModelLoad', 'customSortActions', 'preLoadHook', 'validate', 'onError']) {
  test(`${name} is a function`, () => {
    for (const value of [null, 'f', 7, {}, true]) {
      assert.throws(make({ [name]: value }), (error: Error) => {
        assert.match(error.message, new RegExp(`^Expected a function for option ${name}, but received `));
        return coded('ERR_INVALID_ARGUMENT')(error);
      });
    }
  });
}

test('aspiredVersionPolicy is a name or an object with getNextAction()', async () => {
  for (const value of [null, 'availability', 7, {}, { getNextAction: 1 }, () => undefined]) {
    assert.throws(make({ aspiredVersionPolicy: value }), (error: Error) => {
      assert.match(error.message, /for option aspiredVersionPolicy, but received /);
      return coded('ERR_INVALID_ARGUMENT')(error);
    });
  }
  for (const value of [
    'availability-preserving',
    'resource-preserving',
    { getNextAction: () => undefined },
    undefined,
  ]) {
    await make({ aspiredVersionPolicy: value })().close();
  }
});

test('enableReloadServablesWithError is a boolean', () => {
  for (const value of [null, 0, 'yes', {}]) {
    assert.throws(make({ enableReloadServablesWithError: value }), /Expected a boolean for option enableReload/);
  }
});

test('leakDetection is one of its words', () => {
  for (const value of ['some', 1, true, null]) {
    assert.throws(make({ leakDetection: value }), /Expected 'sampled', 'all' or 'off' for option leakDetection/);
  }
});

test('an unknown option is an error, with a suggestion where there is one', () => {
  const suggestions = {
    numLoadThread: 'numLoadThreads',
    aspiredVersionsPolicy: 'aspiredVersionPolicy',
    maxLoadRetries: 'maxNumLoadRetries',
    manageStateInterval: 'manageStateIntervalMs',
    onerror: 'onError',
  };
  for (const [wrong, right] of Object.entries(suggestions)) {
    assert.throws(make({ [wrong]: 1 }), (error: Error) => {
      assert.match(error.message, new RegExp(`^Unknown option ${wrong} in options. Did you mean ${right}\\?$`));
      return coded('ERR_UNKNOWN_OPTION', 'INVALID_ARGUMENT')(error);
    });
  }
  assert.throws(make({ somethingElseEntirely: 1 }), /Unknown option somethingElseEntirely in options. Known: /);
});

test('options are an object, or none', async () => {
  for (const value of [null, 7, 'fast', [], () => 1])
    assert.throws(make(value), coded('ERR_INVALID_ARGUMENT'), String(value));
  await make(undefined)().close();
  await make({})().close();
});

test('options of a list are checked, before anything changes', async (t) => {
  const manager = make({})();
  t.after(() => manager.close());
  const list = (options: unknown) => () => manager.setAspiredVersions('m', [], options as never);
  assert.throws(list({ lables: {} }), /Did you mean labels/);
  assert.throws(list({ aspiredVersionPolicy: 'best' }), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(list({ primary: -1 }), coded('ERR_INVALID_VERSION'));
  assert.throws(list({ labels: { a: -1 } }), coded('ERR_INVALID_VERSION'));
  for (const options of [null, 7, []]) assert.throws(list(options), coded('ERR_INVALID_ARGUMENT'));
  assert.deepEqual(manager.listServableNames(), []);
});
