// Reads the desired document, writes down what is accepted of it, and only then has it acted on.
import { AspiredError, messageOf } from '../../errors.js';
import type { StoredDocument } from '../store/types.js';
import type { AcceptedDocument, AcceptedFile } from './accepted-file.js';
import type { Findings } from './findings.js';
import { judgeDocument } from './intake.js';

export interface DocumentsOptions {
  readonly file: AcceptedFile;
  readonly findings: Findings;
  /** Reads the document of this host, within a deadline. */
  readonly read: () => Promise<StoredDocument | undefined>;
  /** A document was read, and what is new in it is accepted: comes before that is acted on. */
  readonly wasRead: (stored: StoredDocument, accepted: AcceptedDocument['cells']) => void;
  /** Acts on cells that were accepted. */
  readonly act: (changes: AcceptedDocument['cells']) => void;
  /** Something was accepted, or refused. */
  readonly changed: (models: Iterable<string>) => void;
}

export class Documents {
  /** What is acted on. */
  accepted: AcceptedDocument;
  /** Revision that was read last; null: no document; undefined: none was read, or it has to be read again. */
  private lastRead: number | null | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private closed = false;

  constructor(
    private readonly options: DocumentsOptions,
    accepted: AcceptedDocument,
  ) {
    this.accepted = accepted;
  }

  /** A heartbeat has told the revision: reads the document when it is another one. */
  told(revision: number | undefined): void {
    if ((revision ?? null) !== this.lastRead) this.ring();
  }

  /** Reads the document now. At most one reading is under way, and one waits. */
  ring(): void {
    if (this.closed) return;
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = this.run();
  }

  private async run(): Promise<void> {
    try {
      do {
        this.again = false;
        await this.pull();
      } while (this.again && !this.closed);
    } catch (error) {
      // What we did not foresee must not end the host; the next heartbeat reads again.
      this.lastRead = undefined;
      const message = `Reading the desired document failed: ${messageOf(error)}`;
      const told = error instanceof AspiredError ? error : new AspiredError('ERR_INTERNAL', message, { cause: error });
      if (!this.closed) this.options.findings.set('read', told);
    } finally {
      this.running = undefined;
    }
  }

  private async pull(): Promise<void> {
    const { findings, file, read, wasRead, act, changed } = this.options;
    const stored = await read();
    if (this.closed) return;
    findings.clear('read');
    const { changes, refusals } = judgeDocument(stored, this.accepted);
    findings.replace('document', refusals);
    const revision = refusals.size === 0 && stored ? stored.revision : this.accepted.revision;
    this.lastRead = stored?.revision ?? null;
    if (changes.size === 0) {
      const isNew = revision !== this.accepted.revision;
      this.accepted = { ...this.accepted, revision };
      if (stored) wasRead(stored, this.accepted.cells);
      if (isNew) changed([]);
      return;
    }
    const next = { revision, cells: new Map([...this.accepted.cells, ...changes]) };
    try {
      await file.write(next);
      findings.clear('persist');
      findings.clear('state'); // there is a good one again
    } catch (error) {
      // Serving something that a restart would not know is worse than serving the old for longer.
      this.lastRead = undefined;
      findings.set('persist', error as AspiredError);
      return;
    }
    // The next boot will act on it.
    if (this.closed) return;
    this.accepted = next;
    if (stored) wasRead(stored, next.cells);
    act(changes);
    changed(changes.keys());
  }

  /** Resolves when nothing is being written any more. */
  async close(): Promise<void> {
    this.closed = true;
    await this.running;
    this.options.file.close();
  }
}
