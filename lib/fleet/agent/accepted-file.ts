// What this host has accepted, on its disk: what it serves after a restart, whether or not the store answers.
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError, messageOf } from '../../errors.js';
import { decodeCell } from '../codec.js';
import { type DesiredCell, FLEET_SCHEMA } from '../types.js';
import { DurableFile, moveAside, readText } from './durable-file.js';

/** A cell, with the text that it was written as: a newer controller may have said more than we can read. */
export interface AcceptedCell {
  readonly cell: DesiredCell;
  readonly text: string;
  /**
   * Versions that this cell, or one before it, took back as bad, and that no later one asked for; the latest last. The cell
   * alone would forget: the next rollout of the model writes another one, and with lost writes nobody else may know.
   */
  readonly takenBack?: readonly number[];
}

/** What a host has accepted so far. */
export interface AcceptedDocument {
  /** Of the last document that had nothing to refuse. */
  readonly revision: number;
  /** Of removed models, too: their generation tells a replay. */
  readonly cells: ReadonlyMap<string, AcceptedCell>;
}

/** How often a file is read that cannot be, and the pause between. */
const READINGS = 6;
const READ_AGAIN_MS = 200;

export const NOTHING_ACCEPTED: AcceptedDocument = { revision: 0, cells: new Map() };

/** What was on the disk, and what was wrong with it. */
export interface AcceptedReading {
  readonly document: AcceptedDocument;
  readonly problem?: AspiredError;
}

interface Body {
  readonly fleet: string;
  readonly host: string;
  readonly revision: number;
  readonly cells: Readonly<Record<string, string>>;
  /** By model, where there are any. */
  readonly takenBack?: Readonly<Record<string, readonly number[]>>;
}

/** The file of one host. */
export class AcceptedFile {
  readonly path: string;
  readonly #file: DurableFile;

  constructor(
    folder: string,
    private readonly fleet: string,
    private readonly host: string,
  ) {
    this.path = join(folder, 'accepted.json');
    this.#file = new DurableFile(this.path);
  }

  /**
   * Never rejects: what cannot be used is moved aside, and told. What cannot be read is tried again for a second, and stays
   * where it is: a process without free descriptors says nothing of the file.
   */
  async read(): Promise<AcceptedReading> {
    let text: string | undefined;
    try {
      text = await this.readPatiently();
    } catch (cause) {
      const message = `${this.path} cannot be read: ${messageOf(cause)} This host begins with nothing until the store answers.`;
      return { document: NOTHING_ACCEPTED, problem: new AspiredError('ERR_DOCUMENT_UNDECODABLE', message, { cause }) };
    }
    try {
      return { document: text === undefined ? NOTHING_ACCEPTED : this.parse(text) };
    } catch (cause) {
      const code = cause instanceof AspiredError ? cause.code : 'ERR_DOCUMENT_UNDECODABLE';
      const message = `${this.path} cannot be used: ${messageOf(cause)} ${await this.putAside()}`;
      return { document: NOTHING_ACCEPTED, problem: new AspiredError(code, message, { cause }) };
    }
  }

  private async readPatiently(): Promise<string | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await readText(this.path);
      } catch (error) {
        if (attempt === READINGS) throw error;
        await sleep(READ_AGAIN_MS);
      }
    }
  }

  private async putAside(): Promise<string> {
    try {
      const aside = await moveAside(this.path, 'damaged');
      return `It was moved to ${aside}; this host begins with nothing until the store answers.`;
    } catch (error) {
      return `It could not be moved aside either: ${messageOf(error)}`;
    }
  }

  private parse(text: string): AcceptedDocument {
    const { schema, sha256, document } = parseJson(text);
    if (schema !== FLEET_SCHEMA) {
      const message = `It has schema ${String(schema)}, this package reads ${FLEET_SCHEMA}.`;
      throw new AspiredError('ERR_SCHEMA_UNSUPPORTED', message);
    }
    // A digit that the disk has changed is still JSON, and another version.
    if (sha256 !== digest(JSON.stringify(document))) throw new Error('Its checksum is wrong.');
    const { fleet, host, revision, cells, takenBack = {} } = document as Body;
    if (fleet !== this.fleet || host !== this.host) throw new Error(`It belongs to ${host} of the fleet ${fleet}.`);
    const decoded = Object.entries(cells).map(([model, text]) => {
      const bad = takenBack[model];
      return [model, { cell: decodeCell(text), text, ...(bad ? { takenBack: bad } : {}) }] as const;
    });
    return { revision, cells: new Map(decoded) };
  }

  /** One at a time. @throws AspiredError ERR_ACCEPTED_UNWRITABLE */
  async write({ revision, cells }: AcceptedDocument): Promise<void> {
    const texts = Object.fromEntries([...cells].map(([model, { text }]) => [model, text]));
    const bad = [...cells].flatMap(([model, { takenBack }]) => (takenBack ? [[model, takenBack] as const] : []));
    const takenBack = bad.length === 0 ? {} : { takenBack: Object.fromEntries(bad) };
    const document: Body = { fleet: this.fleet, host: this.host, revision, cells: texts, ...takenBack };
    const json = JSON.stringify(document);
    try {
      await this.#file.write(`{"schema":${FLEET_SCHEMA},"sha256":"${digest(json)}","document":${json}}\n`);
    } catch (cause) {
      const message = `What this host is to serve was not acted on, for it cannot be written down: ${messageOf(cause)}`;
      throw new AspiredError('ERR_ACCEPTED_UNWRITABLE', message, { cause });
    }
  }

  /** No write is under way, and none follows. */
  close(): void {
    this.#file.close();
  }
}

function parseJson(text: string): { schema?: unknown; sha256?: unknown; document?: unknown } {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('It holds no object.');
  return value;
}

function digest(text: string | undefined): string {
  return hash('sha256', text ?? '', 'hex');
}
