// The system with one of its safeties taken out, from outside of it. Each of these throws when it no longer finds what it
// takes out, or has a test that does: a mutant that changes nothing would say that the checkers see nothing.
import { Documents } from '#lib/fleet/agent/documents.js';
import { decodeCell } from '#lib/fleet/codec.js';
import { COMMIT, GATE } from '#lib/fleet/store/redis/scripts/index.js';
import type { Script } from '#lib/fleet/store/redis/scripts/shared.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { StoredDocument } from '#lib/fleet/store/types.js';
import type { Mutant } from './messages.js';

/** Takes the safety out of this process, for good. */
export function mutate(mutant: Mutant): void {
  MUTATIONS[mutant]();
}

const MUTATIONS: Readonly<Record<Mutant, () => void>> = {
  cas: withoutCompareAndSet,
  witness: withoutWitness,
  generation: acceptOldGenerations,
  answers: overwriteAnswers,
};

function edit(script: Script, from: string, to: string): void {
  if (!script.lua.includes(from)) throw new Error(`The script ${script.name} does not say "${from}" any more.`);
  (script as { lua: string }).lua = script.lua.replace(from, to);
}

/** Commits compare neither revision nor generation any more: what a stale controller decided is written. */
function withoutCompareAndSet(): void {
  edit(COMMIT, 'if not same or active ~= header.id then', 'if false then');
}

/** The last answer of a webhook counts, and not the first one. */
function overwriteAnswers(): void {
  edit(GATE, "'HSETNX'", "'HSET'");
}

/** Nobody hears what hosts say of versions that were taken back. */
function withoutWitness(): void {
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
function acceptOldGenerations(): void {
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
