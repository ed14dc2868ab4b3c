// Cells and reports as text: what goes in comes out, the text is small, and what is broken is said and harms nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredError } from 'aspired';
import fc from 'fast-check';
import { decodeCell, encodeCell } from '#lib/fleet/codec.js';
import {
  decodeHostInfo,
  decodeHostStatus,
  decodeModelReport,
  encodeHostInfo,
  encodeHostStatus,
  encodeModelReport,
} from '#lib/fleet/report-codec.js';
import type { DesiredCell, ModelReport, VersionReport } from '#lib/fleet/types.js';

const coded = (code: string) => (error: unknown) => error instanceof AspiredError && error.code === code;
const whole = fc.oneof(fc.nat(200), fc.nat(Number.MAX_SAFE_INTEGER), fc.constant(Number.MAX_SAFE_INTEGER));
const versions = fc.uniqueArray(whole, { maxLength: 5 }).map((list) => list.sort((a, b) => a - b));
const some = versions.filter((list) => list.length > 0);

const cells: fc.Arbitrary<DesiredCell> = fc.record(
  {
    generation: whole,
    versions,
    primary: whole,
    prefetch: whole,
    resourcePreserving: fc.constant(true),
    rolledBack: some,
    watch: fc.constant(true),
  },
  { noNullPrototype: true, requiredKeys: ['generation', 'versions'] },
);

/** Bytes in a listpack: a byte of encoding, two from 64 bytes on, and as many of length, for each string that is no number. */
function listpackBytes(...strings: readonly string[]): number {
  return strings.reduce((sum, text) => sum + Buffer.byteLength(text) + (text.length < 64 ? 2 : 4), 0);
}

test('every cell comes back as it went in', () => {
  fc.assert(
    fc.property(cells, (cell) => assert.deepEqual(decodeCell(encodeCell(cell)), cell)),
    { numRuns: 1000 },
  );
});

test('a primary among the versions comes back too', () => {
  const withPrimary = fc.tuple(cells, some, fc.nat()).map(([cell, list, pick]) => {
    return { ...cell, versions: list, primary: list[pick % list.length] as number };
  });
  fc.assert(fc.property(withPrimary, (cell) => assert.deepEqual(decodeCell(encodeCell(cell)), cell)));
});

test('a usual cell takes at most 30 bytes of a listpack, its model name with it', () => {
  const cell: DesiredCell = { generation: 57, versions: [42, 43], primary: 43 };
  assert.equal(encodeCell(cell), '1;57;42,43*');
  assert.ok(listpackBytes('ranker-7', encodeCell(cell)) <= 30);
  const busy = encodeCell({ ...cell, generation: 1234, watch: true });
  assert.equal(busy, '1;1234;42,43*;w');
  assert.ok(listpackBytes('ranker-7', busy) <= 30);
  assert.equal(listpackBytes('ranker-7', encodeCell({ ...cell, generation: 57, prefetch: 44 })), 27);
});

test('nothing said is nothing written: false, an empty list', () => {
  const cell = { generation: 1, versions: [2], resourcePreserving: false, rolledBack: [], watch: false };
  assert.equal(encodeCell(cell), '1;1;2');
  assert.deepEqual(decodeCell('1;1;2'), { generation: 1, versions: [2] });
  assert.equal(encodeCell({ generation: 9, versions: [], rolledBack: [3] }), '1;9;;r3');
  assert.deepEqual(decodeCell('1;9;'), { generation: 9, versions: [] }, 'removed, explicitly');
});

test('a newer writer may say more at the end; another schema is refused', () => {
  assert.deepEqual(decodeCell('1;7;42*;w;znew;q'), { generation: 7, versions: [42], primary: 42, watch: true });
  assert.deepEqual(decodeCell('1;7;42*;'), { generation: 7, versions: [42], primary: 42 });
  for (const text of ['2;7;42*', '0;7;42', '10;what;ever']) {
    assert.throws(() => decodeCell(text), coded('ERR_SCHEMA_UNSUPPORTED'), text);
  }
});

test('a text that says no cell is undecodable, whatever is wrong with it', () => {
  const broken = ['', '1', '1;7', 'x;7;1', '1;-7;1', '1;7.5;1', '1;;1', '1;7;1 2', '1;7;2,1', '1;7;1,1', '1;7;1*,2*'];
  const numbers = [
    '1;7;9007199254740992',
    '1;07;1',
    '1;7;1;p',
    '1;7;1;=x',
    '1;7;1;r2,x',
    '1;7;,',
    '1;1e3;1',
    '{"a":1}',
  ];
  for (const text of [...broken, ...numbers]) {
    assert.throws(() => decodeCell(text), coded('ERR_DOCUMENT_UNDECODABLE'), JSON.stringify(text));
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        decodeCell(text);
      } catch (error) {
        assert.ok(coded('ERR_DOCUMENT_UNDECODABLE')(error) || coded('ERR_SCHEMA_UNSUPPORTED')(error), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test('what is no cell is not written', () => {
  const bad: DesiredCell[] = [
    { generation: -1, versions: [] },
    { generation: 1.5, versions: [] },
    { generation: 1, versions: [2, 1] },
    { generation: 1, versions: [1, 1] },
    { generation: 1, versions: [Number.NaN] },
    { generation: 1, versions: [1], primary: -2 },
    { generation: 1, versions: [1], prefetch: 2 ** 53 },
  ];
  for (const cell of bad) assert.throws(() => encodeCell(cell), coded('ERR_INVALID_ARGUMENT'), JSON.stringify(cell));
});

const micros = fc.nat(10 ** 9).map((us) => us / 1000);
const states = fc.constantFrom<VersionReport['managerState'][]>(
  ...(['Start', 'Loading', 'Available', 'Unloading', 'End', 'Prefetching', 'Prefetched'] as const),
);
const versionReports: fc.Arbitrary<VersionReport> = fc.record(
  {
    version: whole,
    managerState: states,
    error: fc.record(
      { code: fc.string(), message: fc.string(), attempts: fc.nat(), permanent: fc.boolean() },
      { noNullPrototype: true },
    ),
    ramBytes: whole,
    loadMs: micros,
    traffic: fc.record(
      {
        ...{ requests: fc.nat(), errors: fc.nat(), inFlight: fc.nat(), sumMs: micros, maxMs: micros },
        counts: fc.array(fc.nat(100), { maxLength: 264 }),
      },
      { noNullPrototype: true },
    ),
  },
  { noNullPrototype: true, requiredKeys: ['version', 'managerState'] },
);
const reports: fc.Arbitrary<ModelReport> = fc.record(
  {
    generation: whole,
    rolledBack: some,
    primary: whole,
    versions: fc.uniqueArray(versionReports, { maxLength: 4, selector: ({ version }) => version }),
  },
  { noNullPrototype: true, requiredKeys: ['generation', 'versions'] },
);

test('every report of a model comes back as it went in', () => {
  fc.assert(
    fc.property(reports, (report) => assert.deepEqual(decodeModelReport(encodeModelReport(report)), report)),
    { numRuns: 500 },
  );
});

test('a usual report is one short line', () => {
  const old: VersionReport = { version: 42, managerState: 'Available', ramBytes: 1048576, loadMs: 812 };
  const report: ModelReport = {
    generation: 57,
    primary: 42,
    versions: [old, { version: 43, managerState: 'Loading' }],
  };
  assert.equal(encodeModelReport(report), '1;57;42A:1048576:812*,43L');
  assert.deepEqual(decodeModelReport('1;57;42A:1048576:812*,43L;zlater'), report, 'and a newer agent may say more');
});

test('a report that cannot be read is said to be so', () => {
  const broken = ['', '1;57', '1;57;42', '1;57;42X', '1;57;42A:1-1', '1;57;42A;j{', '1;57;42A;jnull', '1;x;42A'];
  const extras = ['1;57;42A;j{"42":{"e":7}}', '1;57;42A;j{"42":{"t":[1,2]}}', '1;57;42A;j{"42":{"t":[1,2,3,4,5,"6"]}}'];
  for (const text of [...broken, ...extras]) {
    assert.throws(() => decodeModelReport(text), coded('ERR_DOCUMENT_UNDECODABLE'), JSON.stringify(text));
  }
  assert.throws(() => decodeModelReport('3;57;42A'), coded('ERR_SCHEMA_UNSUPPORTED'));
  for (const text of ['1;{', '1;[]', '1;{"bootId":7}', '1;null']) {
    assert.throws(() => decodeHostStatus(text), coded('ERR_DOCUMENT_UNDECODABLE'), text);
  }
  for (const text of ['', 'null', '{"id":"h"}', '{"id":"h","zone":"z","labels":{}}']) {
    assert.throws(() => decodeHostInfo(text), coded('ERR_DOCUMENT_UNDECODABLE'), text);
  }
});

test('hosts come back as they went in, also one of another schema: that is a finding, not a failure', () => {
  const info = { id: 'h', zone: 'z', labels: { a: 'b' }, capacityBytes: 7, agentVersion: '9.0.0', schema: 99 };
  assert.deepEqual(decodeHostInfo(encodeHostInfo(info)), info);
  const status = { bootId: 'b', sequence: 3, revision: 5, usedBytes: 8, clock: 1.5 };
  assert.deepEqual(decodeHostStatus(encodeHostStatus(status)), status);
  const findings = [{ code: 'ERR_DOCUMENT_STALE', message: 'a;b' }];
  assert.deepEqual(decodeHostStatus(encodeHostStatus({ ...status, findings })), { ...status, findings });
});
