// What of a desired document a host may act on. Pure: the same document and the same past give the same answer.
//
// A cell is judged on its own, so that one that cannot be read harms no other. Only a higher generation changes anything:
// a document that comes from a backup, a replica that lags or a mistake has old ones, or none, and is told, not followed.
import { AspiredError, type AspiredErrorCode, messageOf } from '../../errors.js';
import { decodeCell, encodeCell } from '../codec.js';
import { checkFleetName } from '../names.js';
import type { StoredDocument } from '../store/types.js';
import type { DesiredCell } from '../types.js';
import type { AcceptedCell, AcceptedDocument } from './accepted-file.js';

/** The answer. */
export interface Intake {
  /** Cells to be accepted, by model; only those that say something new. */
  readonly changes: ReadonlyMap<string, AcceptedCell>;
  /** By code: why the rest was not. */
  readonly refusals: ReadonlyMap<AspiredErrorCode, AspiredError>;
}

/** Versions of one model that a host remembers as bad: as many as the store remembers good ones. */
const MOST_TAKEN_BACK = 10;
/** Names in one message. */
const MOST_NAMES = 5;

class Refusals {
  private readonly byCode = new Map<AspiredErrorCode, { model: string; why: string }[]>();

  add(code: AspiredErrorCode, model: string, why: string): void {
    const list = this.byCode.get(code);
    if (list) list.push({ model, why });
    else this.byCode.set(code, [{ model, why }]);
  }

  /** One error per code, whatever the number of models: a report stays small. */
  errors(): Map<AspiredErrorCode, AspiredError> {
    return new Map(
      [...this.byCode].map(([code, list]) => {
        const named = list.slice(0, MOST_NAMES).map(({ model, why }) => `${model}: ${why}`);
        const more = list.length > MOST_NAMES ? ` And ${list.length - MOST_NAMES} more models.` : '';
        return [
          code,
          new AspiredError(code, `What was accepted last is served on. ${named.join(' ')}${more}`),
        ] as const;
      }),
    );
  }
}

/** Judges a document; undefined: there is none in the store. */
export function judgeDocument(stored: StoredDocument | undefined, accepted: AcceptedDocument): Intake {
  const changes = new Map<string, AcceptedCell>();
  const refusals = new Refusals();
  for (const [model, text] of stored?.cells ?? []) {
    const before = accepted.cells.get(model);
    if (before?.text === text) continue;
    const change = judgeCell(model, text, before, refusals);
    if (change) changes.set(model, change);
  }
  for (const [model, { cell }] of accepted.cells) {
    // A removal is carried out, and nobody needs to remember it but us.
    if (stored?.cells.has(model) || cell.versions.length === 0) continue;
    const what = stored === undefined ? 'There is no desired document for this host.' : 'Its cell is gone.';
    refusals.add('ERR_DOCUMENT_MISSING', model, what);
  }
  return { changes, refusals: refusals.errors() };
}

/** What was accepted and the document says, too; a cell that is missing, older or not to be read says nothing. */
export function saidCells(stored: StoredDocument, accepted: AcceptedDocument['cells']): AcceptedDocument['cells'] {
  return new Map([...accepted].filter(([model, { cell, text }]) => isSaid(stored.cells.get(model), cell, text)));
}

function isSaid(said: string | undefined, cell: DesiredCell, text: string): boolean {
  if (said === undefined || said === text) return said === text;
  try {
    return encodeCell(decodeCell(said)) === encodeCell(cell);
  } catch {
    return false;
  }
}

/** What a host can testify that the store may have lost: see AcceptedCell. */
function takenBack(before: AcceptedCell | undefined, cell: DesiredCell): Pick<AcceptedCell, 'takenBack'> {
  const now = cell.rolledBack ?? [];
  const earlier = (before?.takenBack ?? []).filter(
    (version) => !now.includes(version) && !cell.versions.includes(version),
  );
  const all = [...earlier, ...now];
  return all.length === 0 ? {} : { takenBack: all.slice(-MOST_TAKEN_BACK) };
}

function judgeCell(
  model: string,
  text: string,
  before: AcceptedCell | undefined,
  refusals: Refusals,
): AcceptedCell | undefined {
  try {
    checkFleetName('a model', model);
    const cell = decodeCell(text);
    if (!before || cell.generation > before.cell.generation) return { cell, text, ...takenBack(before, cell) };
    const had = before.cell.generation;
    if (cell.generation < had) {
      refusals.add('ERR_DOCUMENT_STALE', model, `Generation ${cell.generation} is older than ${had}, which is served.`);
    } else if (encodeCell(cell) !== encodeCell(before.cell)) {
      refusals.add('ERR_DOCUMENT_STALE', model, `Generation ${had} says something else than when it was accepted.`);
    }
  } catch (error) {
    const code = error instanceof AspiredError ? error.code : 'ERR_DOCUMENT_UNDECODABLE';
    refusals.add(code, JSON.stringify(model), messageOf(error));
  }
  return undefined;
}
