import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkGates } from '#lib/fleet/gates/index.js';

test('without gates a plan has those of load and traffic, with their defaults', () => {
  const expected = [
    { kind: 'load', maxErrors: 0 },
    {
      kind: 'traffic',
      minRequests: 100,
      maxErrorRateIncrease: 0.01,
      maxLatencyIncrease: 1.5,
      onInsufficientData: 'hold',
    },
  ];
  assert.deepEqual(checkGates(undefined), expected);
  assert.deepEqual(checkGates(expected), expected, 'checked once more');
  assert.deepEqual(checkGates([]), []);
});

test('what is given stays, what is not is filled in', () => {
  const url = 'https://gates.example.com/canary?model=ranker';
  assert.deepEqual(checkGates([{ kind: 'webhook', url, timeoutMs: 500 }]), [
    { kind: 'webhook', url, when: 'after-bake', timeoutMs: 500, attempts: 5 },
  ]);
});

for (const [value, code, message] of [
  ['load', 'ERR_PLAN_INVALID', /an array of at most 32 gates for option gates/],
  [Array(33).fill({ kind: 'load' }), 'ERR_PLAN_INVALID', /array of 33/],
  [[null], 'ERR_PLAN_INVALID', /a gate for option gates\[0\], but received null/],
  [[{}], 'ERR_PLAN_INVALID', /one of 'load', 'traffic', 'webhook' for option gates\[0\]\.kind/],
  [[{ kind: 'trafic' }], 'ERR_PLAN_INVALID', /'traffic', or another of/],
  [[{ kind: 'toString' }], 'ERR_PLAN_INVALID', /gates\[0\]\.kind/],
  [[{ kind: 'load', maxError: 1 }], 'ERR_UNKNOWN_OPTION', /maxError in gates\[0\]\. Did you mean maxErrors\?/],
  [[{ kind: 'load', maxErrors: -1 }], 'ERR_PLAN_INVALID', /an integer from 0/],
  [[{ kind: 'load', maxErrors: 0.5 }], 'ERR_PLAN_INVALID', /an integer from 0/],
  [[{ kind: 'load' }, { kind: 'traffic', minRequests: 0 }], 'ERR_PLAN_INVALID', /gates\[1\]\.minRequests/],
  [[{ kind: 'traffic', maxErrorRateIncrease: 0 }], 'ERR_PLAN_INVALID', /a number above 0 to 0\.9/],
  [[{ kind: 'traffic', maxErrorRateIncrease: Number.NaN }], 'ERR_PLAN_INVALID', /received NaN/],
  [[{ kind: 'traffic', maxErrorRateIncrease: '1%' }], 'ERR_PLAN_INVALID', /received "1%"/],
  [[{ kind: 'traffic', maxLatencyIncrease: 1 }], 'ERR_PLAN_INVALID', /a number above 1/],
  [[{ kind: 'traffic', onInsufficientData: 'wait' }], 'ERR_PLAN_INVALID', /'hold' or 'pass' or 'fail'/],
  [[{ kind: 'webhook' }], 'ERR_PLAN_INVALID', /an http or https URL for option gates\[0\]\.url/],
  [[{ kind: 'webhook', url: 'file:///etc/passwd' }], 'ERR_PLAN_INVALID', /an http or https URL/],
  [[{ kind: 'webhook', url: 'not a url' }], 'ERR_PLAN_INVALID', /an http or https URL/],
  [[{ kind: 'webhook', url: 'http://a/', attempts: 0 }], 'ERR_PLAN_INVALID', /gates\[0\]\.attempts/],
  [[{ kind: 'webhook', url: 'http://a/', timeoutMs: 2 ** 31 }], 'ERR_PLAN_INVALID', /gates\[0\]\.timeoutMs/],
  [[{ kind: 'webhook', url: 'http://a/', when: 'never' }], 'ERR_PLAN_INVALID', /'after-bake' or 'before-wave'/],
] as const) {
  test(`refused: ${JSON.stringify(value).slice(0, 70)}`, () => {
    assert.throws(() => checkGates(value), { name: 'AspiredError', code, message });
  });
}

test('a password in a URL is refused, and not repeated', () => {
  assert.throws(
    () => checkGates([{ kind: 'webhook', url: 'https://ops:secret@example.com/' }]),
    (error: Error) => error.message.includes('without user and password') && !error.message.includes('secret'),
  );
});
