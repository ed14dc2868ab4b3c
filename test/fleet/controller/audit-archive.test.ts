// The audit trail on disk, without a queue.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveAudit } from '#lib/fleet/controller/audit-archive.js';
import { MODEL } from './fleet.js';
import { WrittenFleet } from './written-fleet.js';

test('lines are written whole, also where a write takes only a part', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'aspired-archive-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const fleet = await WrittenFleet.of(1);
  await fleet.tell({ versions: [1], primary: 1 }, 1);
  await fleet.tell({ versions: [2], primary: 2 }, 2);
  const probe = await open(join(directory, 'probe'), 'w');
  const handles = Object.getPrototypeOf(probe) as { write: (text: string) => Promise<unknown> };
  await probe.close();
  // As write(2) may, by what it answers, when the disk is nearly full.
  const { write } = handles;
  t.mock.method(handles, 'write', function (this: unknown, text: string) {
    return write.call(this, text.slice(0, 10));
  });
  assert.ok((await archiveAudit(fleet.store, directory)) > 1);
  const lines = readFileSync(join(directory, `${MODEL}.ndjson`), 'utf8')
    .trim()
    .split('\n');
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { id: string }).id),
    (await fleet.store.audit(MODEL, '', 100)).map(({ id }) => id),
  );
});
