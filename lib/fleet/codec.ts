// Desired cells as text: small, because there is one per host and model, and readable, because people look with redis-cli.
//
//   1;57;42,43*;w        schema 1, generation 57, versions 42 and 43, a plain name resolves to 43, watched
//
// Fields are separated by semicolons. The first three are always there; the others begin with a letter, in any order:
//   =N primary that is none of the versions   pN prefetch   c the old one goes first   rN,N rolled back   w watched
// A letter that is not known is passed over, so that a newer controller can say more to an older agent. What an older agent
// must not pass over needs another schema number.
import { AspiredError } from '../errors.js';
import { describe } from '../options.js';
import { type DesiredCell, FLEET_SCHEMA } from './types.js';

/** The text of a cell: 21 bytes for two versions of two digits and a generation of four, with watch 23. */
export function encodeCell(cell: DesiredCell): string {
  return `${FLEET_SCHEMA};${encodeNumber('generation', cell.generation)}${encodeCellBody(cell)}`;
}

/** What follows the generation: the Redis store puts the generation in front of it, in a script. */
export function encodeCellBody(cell: Omit<DesiredCell, 'generation'>): string {
  const { versions, primary, prefetch, rolledBack } = cell;
  let text = `;${encodeVersions('versions', versions, primary)}`;
  if (primary !== undefined && !versions.includes(primary)) text += `;=${encodeNumber('primary', primary)}`;
  if (prefetch !== undefined) text += `;p${encodeNumber('prefetch', prefetch)}`;
  if (cell.resourcePreserving) text += ';c';
  if (rolledBack && rolledBack.length > 0) text += `;r${encodeVersions('rolledBack', rolledBack)}`;
  if (cell.watch) text += ';w';
  return text;
}

/**
 * The cell that a text says.
 *
 * @throws AspiredError ERR_DOCUMENT_UNDECODABLE, ERR_SCHEMA_UNSUPPORTED
 */
export function decodeCell(text: string): DesiredCell {
  const fields = new Fields('A desired cell', text);
  const generation = fields.number(fields.next());
  const { versions, primary: marked } = fields.versions(fields.next());
  let primary = marked;
  let rest: Partial<DesiredCell> = {};
  for (let field = fields.more(); field !== undefined; field = fields.more()) {
    const value = field.slice(1);
    if (field[0] === '=') primary = fields.number(value);
    else if (field[0] === 'p') rest = { ...rest, prefetch: fields.number(value) };
    else if (field === 'c') rest = { ...rest, resourcePreserving: true };
    else if (field[0] === 'r') rest = { ...rest, rolledBack: fields.versions(value).versions };
    else if (field === 'w') rest = { ...rest, watch: true };
  }
  return primary === undefined ? { generation, versions, ...rest } : { generation, versions, primary, ...rest };
}

/** Versions as '42,43*': ascending, the primary with a star. */
function encodeVersions(name: string, versions: readonly number[], primary?: number): string {
  let text = '';
  let last = -1;
  for (const version of versions) {
    if (version <= last) throw invalid(name, 'versions in ascending order', versions.join(','));
    last = version;
    text += `${text === '' ? '' : ','}${encodeNumber(name, version)}${version === primary ? '*' : ''}`;
  }
  return text;
}

/** A whole number from 0 on, as text. */
export function encodeNumber(name: string, value: number): string {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(name, 'a safe integer >= 0', value);
  // -0 is 0.
  return String(value + 0);
}

function invalid(name: string, expected: string, value: unknown): AspiredError {
  return new AspiredError('ERR_INVALID_ARGUMENT', `Expected ${expected} for ${name}, but received ${describe(value)}.`);
}

const WHOLE = /^(?:0|[1-9]\d{0,15})$/;

/** Reads the fields of such a text one by one. Every failure says what was read. */
export class Fields {
  readonly #what: string;
  readonly #text: string;
  #at = 0;

  /** Reads the schema: the first field. */
  constructor(what: string, text: string) {
    this.#what = what;
    this.#text = text;
    const schema = this.number(this.next());
    if (schema === FLEET_SCHEMA) return;
    const message = `${what} has schema ${schema}, this package reads ${FLEET_SCHEMA}: ${quote(text)}.`;
    throw new AspiredError('ERR_SCHEMA_UNSUPPORTED', message);
  }

  /** The next field, which must be there. */
  next(): string {
    const field = this.more();
    if (field === undefined) throw this.undecodable('it ends too early');
    return field;
  }

  /** The next field; undefined at the end. */
  more(): string | undefined {
    if (this.#at > this.#text.length) return undefined;
    const end = this.#text.indexOf(';', this.#at);
    const field = this.#text.slice(this.#at, end < 0 ? undefined : end);
    this.#at = end < 0 ? this.#text.length + 1 : end + 1;
    return field;
  }

  /** All that is left, semicolons and all, from the field that was read last. */
  restFrom(field: string): string {
    const begin = this.#at - 1 - field.length;
    this.#at = this.#text.length + 1;
    return this.#text.slice(begin);
  }

  number(text: string): number {
    const value = WHOLE.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw this.undecodable(`${quote(text)} is no whole number`);
    return value;
  }

  versions(text: string): { readonly versions: readonly number[]; readonly primary?: number } {
    const versions: number[] = [];
    let primary: number | undefined;
    if (text === '') return { versions };
    for (const item of text.split(',')) {
      const isPrimary = item.endsWith('*');
      const version = this.number(isPrimary ? item.slice(0, -1) : item);
      if (isPrimary && primary !== undefined) throw this.undecodable('it has two primaries');
      if (isPrimary) primary = version;
      if (version <= (versions.at(-1) ?? -1)) throw this.undecodable('its versions do not ascend');
      versions.push(version);
    }
    return primary === undefined ? { versions } : { versions, primary };
  }

  undecodable(why: string, cause?: unknown): AspiredError {
    const message = `${this.#what} cannot be decoded, ${why}: ${quote(this.#text)}.`;
    return new AspiredError('ERR_DOCUMENT_UNDECODABLE', message, cause === undefined ? {} : { cause });
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
