// Each mutant takes out what it says: one that changes nothing would be a negative control of nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Documents } from '#lib/fleet/agent/documents.js';
import { encodeCell } from '#lib/fleet/codec.js';
import { COMMIT, GATE } from '#lib/fleet/store/redis/scripts/index.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { DesiredCell } from '#lib/fleet/types.js';
import { parseOptions } from './options.js';
import { MUTANTS, type Mutant } from './processes/messages.js';
import { mutate } from './processes/mutants.js';

/** Without the safety in this process, and then with it again. */
async function under(mutant: Mutant, work: () => void | Promise<void>): Promise<void> {
  const { readReports } = RedisStore.prototype;
  const documents = Documents.prototype as unknown as { pull: unknown };
  const { pull } = documents;
  const scripts = [COMMIT, GATE].map((script) => ({ script: script as { lua: string }, lua: script.lua }));
  const report = { models: new Map([['m', { generation: 1, rolledBack: [20] }]]) };
  Object.assign(RedisStore.prototype, { readReports: async () => [report] });
  try {
    mutate(mutant);
    await work();
  } finally {
    Object.assign(RedisStore.prototype, { readReports });
    documents.pull = pull;
    for (const { script, lua } of scripts) script.lua = lua;
  }
}

const PROOFS: Readonly<Record<Mutant, () => void | Promise<void>>> = {
  cas: () => {
    assert.equal(COMMIT.lua.split("{'conflict'").length, 2, 'one place that refuses');
    assert.match(COMMIT.lua, /if false then return \{'conflict'/);
  },
  answers: () => assert.doesNotMatch(GATE.lua, /HSETNX/),
  witness: async () => {
    const { readReports } = RedisStore.prototype;
    const store = { readReports } as RedisStore;
    assert.deepEqual(await store.readReports(['h']), [{ models: new Map([['m', { generation: 1 }]]) }]);
  },
  generation: async () => assert.deepEqual(await acceptedAfter(1), [1]),
};

/** Generations that a host acts on, which has accepted the second one, and is told this one. */
async function acceptedAfter(generation: number): Promise<number[]> {
  const acted: number[] = [];
  const cellOf = (of: number, version: number) => ({ generation: of, versions: [version], primary: version });
  const now = cellOf(2, 20);
  let read = (): void => {};
  const wasRead = new Promise<void>((resolve) => (read = resolve));
  const documents = new Documents(
    {
      file: { write: async () => {}, close: () => {} },
      findings: { set: (_: string, error: Error) => assert.fail(error), clear: () => {}, replace: () => {} },
      read: async () => ({ revision: 9, cells: new Map([['m', encodeCell(cellOf(generation, 10))]]) }),
      wasRead: () => read(),
      act: (changes: ReadonlyMap<string, { readonly cell: DesiredCell }>) =>
        acted.push(...[...changes.values()].map(({ cell }) => cell.generation)),
      changed: () => {},
    } as unknown as ConstructorParameters<typeof Documents>[0],
    { revision: 1, cells: new Map([['m', { cell: now, text: encodeCell(now) }]]) },
  );
  documents.ring();
  await wasRead;
  await documents.close();
  return acted;
}

for (const mutant of MUTANTS) {
  test(`the mutant ${mutant} finds what it takes out`, async () => {
    assert.equal(parseOptions(['--mutant', mutant]).mutant, mutant);
    await under(mutant, PROOFS[mutant]);
  });
}

test('without a mutant a host does not act on an older generation', async () => {
  assert.deepEqual(await acceptedAfter(1), []);
  assert.deepEqual(await acceptedAfter(3), [3]);
});
