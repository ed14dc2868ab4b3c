// What of a document is accepted, over any sequence of documents: good, old, broken, partial or none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AcceptedDocument, NOTHING_ACCEPTED } from '#lib/fleet/agent/accepted-file.js';
import { judgeDocument } from '#lib/fleet/agent/intake.js';
import { decodeCell, encodeCell } from '#lib/fleet/codec.js';
import type { StoredDocument } from '#lib/fleet/store/types.js';

const models = ['a', 'b', 'c', 'no name'];
const versions = fc
  .uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 3 })
  .map((list) => list.sort((x, y) => x - y));
const goodCell = fc.record({ generation: fc.integer({ min: 0, max: 6 }), versions }).map(encodeCell);
const badCell = fc.oneof(fc.constantFrom('', '1;', '2;7;3', '1;9;3,3', '1;-1;3', '{}', '1;1.5;2'), fc.string());
const document = fc.option(
  fc
    .dictionary(
      fc.constantFrom(...models),
      fc.oneof({ weight: 3, arbitrary: goodCell }, { weight: 1, arbitrary: badCell }),
    )
    .map((cells): StoredDocument => ({ revision: 1, cells: new Map(Object.entries(cells)) })),
  { nil: undefined },
);

function isGood(text: string): boolean {
  try {
    decodeCell(text);
    return true;
  } catch {
    return false;
  }
}

test('generations only rise, a model goes only by a newer cell that says so, and every other cell is told', () => {
  const runs = 500 * Number(process.env.ASPIRED_PROPERTY_RUNS ?? 1);
  fc.assert(
    fc.property(fc.array(document, { minLength: 1, maxLength: 12 }), (documents) => {
      let accepted: AcceptedDocument = NOTHING_ACCEPTED;
      for (const stored of documents) {
        const { changes, refusals } = judgeDocument(stored, accepted);
        for (const [model, { cell, text }] of changes) {
          assert.equal(stored?.cells.get(model), text, 'what is accepted is what is written');
          const before = accepted.cells.get(model)?.cell.generation;
          assert.ok(
            before === undefined || cell.generation > before,
            `${model} went from ${before} to ${cell.generation}`,
          );
        }
        let refused = 0;
        for (const [model, text] of stored?.cells ?? []) {
          const before = accepted.cells.get(model);
          if (model === 'no name' || !isGood(text)) refused++;
          else if (before && decodeCell(text).generation < before.cell.generation) refused++;
          else if (before?.cell.generation === decodeCell(text).generation && before.text !== text) refused++;
          else assert.ok(changes.has(model) || before?.text === text, `${model} was passed over`);
        }
        for (const [model, { cell }] of accepted.cells)
          if (!stored?.cells.has(model) && cell.versions.length > 0) refused++;
        assert.equal(refusals.size > 0, refused > 0, 'told when there is something to tell');
        accepted = { revision: 1, cells: new Map([...accepted.cells, ...changes]) };
      }
    }),
    { numRuns: runs },
  );
});
