// The system with one of its safeties taken out, from outside of it. Each of these throws when it no longer finds what it
// takes out: a mutant that changes nothing would say that the checkers see nothing.
import { Documents } from '#lib/fleet/agent/documents.js';
import { decodeCell } from '#lib/fleet/codec.js';
import { COMMIT } from '#lib/fleet/store/redis/scripts/index.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { StoredDocument } from '#lib/fleet/store/types.js';

/** Commits do not compare the revision any more: what a stale controller decided is written. */
export function withoutCompareAndSet(): void {
  const script = COMMIT as { lua: string };
  const condition = 'if rev ~= header.expect or active ~= header.id then';
  if (!script.lua.includes(condition)) throw new Error('The script of commit() compares in another way now.');
  script.lua = script.lua.replace(condition, 'if false then');
}

/** Nobody hears what hosts say of versions that were taken back. */
export function withoutWitness(): void {
  const read = RedisStore.prototype.readReports;
  RedisStore.prototype.readReports = async function (...args) {
    const reports = await read.apply(this, args);
    return reports.map((report) => {
      if (!report) return undefined;
      const models = [...report.models].map(([model, { rolledBack: _, ...rest }]) => [model, rest] as const);
      return { ...report, models: new Map(models) };
    });
  };
}

interface DocumentsInside {
  options: { read: () => Promise<StoredDocument | undefined> };
  accepted: Documents['accepted'];
  pull: () => Promise<void>;
}

/** Agents take what is older than what they have. */
export function acceptOldGenerations(): void {
  const inside = Documents.prototype as unknown as DocumentsInside;
  const { pull } = inside;
  if (typeof pull !== 'function') throw new Error('Documents reads in another way now.');
  inside.pull = function (this: DocumentsInside) {
    const { read } = this.options;
    this.options = {
      ...this.options,
      read: async () => {
        const stored = await read();
        const cells = new Map(this.accepted.cells);
        for (const [model, { cell }] of cells) {
          const text = stored?.cells.get(model);
          const isOlder = text !== undefined && decodeCell(text).generation < cell.generation;
          if (isOlder) cells.set(model, { cell: { ...cell, generation: 0 }, text: '' });
        }
        // Between here and the judgement there is no other code.
        this.accepted = { ...this.accepted, cells };
        return stored;
      },
    };
    return pull.call(this).finally(() => {
      this.options = { ...this.options, read };
    });
  };
}
