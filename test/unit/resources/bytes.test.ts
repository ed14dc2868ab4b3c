// Amounts of memory: what is understood, what is refused, how they are written.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, parseBytes } from '#lib/resources/bytes.js';
import { coded } from '../../support/manager.js';

test('bytes are a number, or a text with a unit; a fraction of a byte is rounded up', () => {
  const right: [unknown, number][] = [
    [0, 0],
    [1, 1],
    [1.5, 2],
    [2 ** 40, 2 ** 40],
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['1kB', 1000],
    ['1KiB', 1024],
    ['512MiB', 512 * 2 ** 20],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['70GB', 70e9],
    [' 2 TiB ', 2 * 2 ** 40],
    ['1PiB', 2 ** 50],
    ['0.1KiB', 103],
    ['3gib', 3 * 2 ** 30],
  ];
  for (const [value, bytes] of right) assert.equal(parseBytes('ram', value), bytes, String(value));
});

const wrong: unknown[] = [
  ...[
    '',
    ' ',
    'GiB',
    '12G',
    '12Gi',
    '12i',
    '12iB',
    '1e3',
    '0x10',
    '-1GiB',
    '1,5GiB',
    '1.GiB',
    '.5GiB',
    '1 GiB 2',
    '5XB',
  ],
  ...[-1, -0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53, '9007199254740993B', '9PiB'],
  ...[null, undefined, true, 5n, [], ['1GiB'], {}, new Date(0), () => 1, Symbol('x')],
];
for (const value of wrong) {
  test(`${typeof value} ${typeof value === 'symbol' ? 'Symbol' : String(value)} is no amount of memory`, () => {
    assert.throws(
      () => parseBytes('resources.ram', value),
      (error: Error) => {
        const form =
          /^Expected bytes, or a text like '512MiB', '1\.5GiB' or '70GB' for option resources\.ram, but received .+\.$/;
        assert.match(error.message, form);
        return coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT')(error);
      },
    );
  });
}

test('no amount is -0', () => {
  assert.ok(Object.is(parseBytes('ram', -0), 0));
});

test('for people: binary units, two places', () => {
  const words: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1536 * 2 ** 20, '1.50 GiB'],
    [-(2 ** 20), '-1.00 MiB'],
    [2 ** 50, '1.00 PiB'],
    [Number.POSITIVE_INFINITY, 'no limit'],
  ];
  for (const [bytes, text] of words) assert.equal(formatBytes(bytes), text);
});
