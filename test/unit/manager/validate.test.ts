// Validation: what it sees, when it runs, and what becomes of a version that it refuses.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredError, type LoadContext, type ServableId, type ValidateServable } from 'aspired';
import { deadline, turns } from '../../support/deadline.js';
import { CountingLoader, counted, one, PendingCall } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext, options = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, loadRetryIntervalMs: 0, ...options });

/** A loader that counts and has a validation. */
class ValidatingLoader extends CountingLoader<number> {
  constructor(
    version: number,
    readonly validate: (servable: number, context: LoadContext) => unknown,
  ) {
    super(version);
  }
}

const refusals = {
  throws: () => {
    throw new Error('wrong answer');
  },
  rejects: () => Promise.reject(new Error('wrong answer')),
  'returns false': () => false,
  'resolves with false': async () => false,
  'throws an AspiredError': () => {
    throw new AspiredError('ERR_RUN_FAILED', 'wrong answer');
  },
} as const;

for (const [how, refuse] of Object.entries(refusals)) {
  for (const whose of ['the loader', 'the option'] as const) {
    test(`a validation of ${whose} that ${how} refuses the version, and the old one goes on serving`, async (t) => {
      const validate: ValidateServable = (_servable, { id }) => (id.version === 2 ? refuse() : undefined);
      const m = start(t, whose === 'the option' ? { validate } : {});
      await m.aspire('m', counted(1));
      const loader = whose === 'the option' ? new CountingLoader(2) : new ValidatingLoader(2, refuse);
      const { versions } = await m.aspire('m', one(2, loader));
      const error = versions[0]?.error;
      assert.ok(coded('ERR_VALIDATION_FAILED', 'FAILED_PRECONDITION')(error));
      const why = how.includes('false') ? 'it returned false' : 'wrong answer';
      assert.equal(error?.message, `The validation of m/2 failed: ${why}`);
      assert.deepEqual(error?.servable, { name: 'm', version: 2 });
      assert.ok(error?.cause instanceof Error && error.cause.message === why);
      assert.deepEqual([loader.loads, loader.unloads], [1, 1], 'what was loaded is unloaded');
      assert.deepEqual(m.events.statesOf('m', 2), ['Start', 'Loading', 'End']);
      assert.equal(m.resolve('m'), 'm/1');
    });
  }
}

const acceptances: Readonly<Record<string, () => unknown>> = {
  nothing: () => undefined,
  true: () => true,
  'a promise of nothing': async () => {},
  '0': () => 0,
  'an object': () => ({ score: 1 }),
};
for (const [what, accept] of Object.entries(acceptances)) {
  test(`a validation that answers ${what} accepts the version`, async (t) => {
    const m = start(t, { validate: accept });
    await m.aspire('m', one(1, new ValidatingLoader(1, accept)));
    assert.equal(m.resolve('m'), 'm/1');
  });
}

test('load, warm-up, the validation of the loader, that of the option, Available: in this order', async (t) => {
  const calls: string[] = [];
  const gate = new PendingCall<void>();
  const begun = new PendingCall<void>();
  const validate = async (servable: unknown, { id, signal }: { id: ServableId; signal: AbortSignal }) => {
    assert.ok(signal instanceof AbortSignal && !signal.aborted);
    calls.push(`option ${id.name}/${id.version} ${servable}`);
    begun.succeed();
    await gate.promise;
  };
  const m = start(t, { validate });
  const loader = {
    load(): string {
      calls.push('load');
      return 'it';
    },
    warmup: async () => {
      await turns(2);
      calls.push('warmup');
    },
    async validate(this: unknown, servable: string, { id, attempt }: LoadContext) {
      assert.equal(this, loader, 'called as a method');
      await turns(2);
      calls.push(`loader ${id.name}/${id.version} ${servable} ${attempt}`);
    },
  };
  const transition = m.manager.setAspiredVersions('m', one(1, loader));
  await deadline(begun.promise, 'the validation');
  await turns();
  assert.equal(m.resolve('m'), 'ERR_SERVABLE_NOT_FOUND', 'not before it is accepted');
  assert.equal(m.manager.getServableStates('m')[0]?.managerState, 'Loading');
  gate.succeed();
  await m.settled(transition);
  assert.deepEqual(calls, ['load', 'warmup', 'loader m/1 it 1', 'option m/1 it']);
  assert.equal(m.resolve('m'), 'm/1');
});

test('a warm-up that failed is not validated, and keeps its own code', async (t) => {
  let validations = 0;
  const m = start(t, { validate: () => validations++ });
  const warmup = () => Promise.reject(new Error('cold'));
  const { versions } = await m.aspire('m', one(1, { load: () => 1, warmup, validate: () => validations++ }));
  assert.equal(versions[0]?.error?.code, 'ERR_WARMUP_FAILED');
  assert.equal(validations, 0);
});

test('a loader that refused is not asked by the option', async (t) => {
  let asked = 0;
  const m = start(t, { validate: () => asked++ });
  await m.aspire('m', one(1, new ValidatingLoader(1, () => false)));
  assert.equal(asked, 0);
});

test('a refusal is retried, each time with a new load', async (t) => {
  const m = start(t, { maxNumLoadRetries: 3 });
  const attempts: number[] = [];
  const loader = {
    balance: 0,
    load() {
      this.balance++;
      return 'it';
    },
    validate: (_servable: string, { attempt }: LoadContext) => attempts.push(attempt) === 3,
    unload() {
      this.balance--;
    },
  };
  await m.aspire('m', one(1, loader));
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.equal(loader.balance, 1, 'two of three were unloaded');
  assert.equal(m.resolve('m'), 'm/1');
});

test('shouldRetryModelLoad is asked about a refusal', async (t) => {
  const codes: string[] = [];
  const shouldRetryModelLoad = (error: AspiredError) => codes.push(error.code) < 2;
  const m = start(t, { maxNumLoadRetries: 9, shouldRetryModelLoad, validate: () => false });
  await m.aspire('m', one(1, { load: () => 1 }));
  assert.deepEqual(codes, ['ERR_VALIDATION_FAILED', 'ERR_VALIDATION_FAILED']);
});

/** A version whose validation hangs until its signal fires. */
async function validating(t: TestContext, options = {}) {
  const begun = new PendingCall<AbortSignal>();
  const loader = new ValidatingLoader(1, (_servable, { signal }) => {
    begun.succeed(signal);
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))));
  });
  const m = start(t, options);
  const transition = m.manager.setAspiredVersions('m', one(1, loader));
  const signal = await deadline(begun.promise, 'the validation');
  return { m, loader, transition, signal };
}

test('a version that is dropped while it is validated is cancelled, and unloaded', async (t) => {
  const { m, loader, signal } = await validating(t);
  await m.aspire('m', []);
  assert.equal((signal.reason as AspiredError).code, 'ERR_LOAD_CANCELLED');
  const end = await m.saw('m', 1, 'End');
  assert.equal(end.error?.code, 'ERR_LOAD_CANCELLED');
  assert.equal(loader.unloads, 1);
});

test('loadTimeoutMs bounds the validation too', async (t) => {
  const { m, loader, transition } = await validating(t, { loadTimeoutMs: 20 });
  const { versions } = await m.settled(transition);
  assert.equal(versions[0]?.error?.code, 'ERR_LOAD_TIMEOUT');
  assert.equal(loader.unloads, 1);
});

test('an unload that fails after a refusal is reported, and the refusal stays the reason', async (t) => {
  const m = start(t);
  const unload = () => Promise.reject(new Error('stuck'));
  const { versions } = await m.aspire('m', one(1, { load: () => 1, validate: () => false, unload }));
  assert.equal(versions[0]?.error?.code, 'ERR_VALIDATION_FAILED');
  assert.deepEqual(
    m.errors.map(({ code }) => code),
    ['ERR_UNLOAD_FAILED'],
  );
});

test('a load that brought nothing is not validated', async (t) => {
  let asked = 0;
  const m = start(t, { validate: () => asked++ });
  const { versions } = await m.aspire('m', one(1, { load: () => undefined, validate: () => asked++ }));
  assert.equal(versions[0]?.error?.code, 'ERR_LOAD_FAILED');
  assert.equal(asked, 0);
});

test('a version waits for its own validation only', async (t) => {
  const gate = new PendingCall<unknown>();
  const validate = (_servable: unknown, { id }: { id: ServableId }) => (id.name === 'slow' ? gate.promise : true);
  const m = start(t, { validate });
  const slow = m.manager.setAspiredVersions('slow', counted(1));
  await m.aspire('m', counted(1));
  assert.deepEqual([m.resolve('m'), m.resolve('slow')], ['m/1', 'ERR_SERVABLE_NOT_FOUND']);
  gate.succeed(undefined);
  await m.settled(slow);
  assert.equal(m.resolve('slow'), 'slow/1');
});

test('validate of a loader is a function', async (t) => {
  const m = start(t);
  const loader = { load: () => 1, validate: true };
  assert.throws(
    () => m.manager.setAspiredVersions('m', one(1, loader as never)),
    (error: Error) => {
      assert.match(error.message, /^Expected a function for option versions\[0\]\.loader\.validate, but received/);
      return coded('ERR_INVALID_LOADER')(error);
    },
  );
});
