// Desired documents, as hosts read them.
//
// A doorbell says which cell was changed, and from which revision to which. To a host whose copy has just that revision it
// brings the document up to date: the pull that follows needs no round trip, half of what a change costs Redis. In every
// other case (a message was lost, the connection broke, several writers) the copy is dropped and the document is read.
import type { StoredDocument } from '../types.js';
import type { RedisConnection } from './connection.js';
import { REVISION } from './keys.js';

/** The copy of a host's document, while its doorbell hangs. */
interface Copy {
  bells: number;
  document: { readonly revision: number; readonly cells: Map<string, string> } | undefined;
  /** A doorbell has brought it up to date, and nobody has read it since. */
  isFresh: boolean;
}

export class RedisDocuments {
  readonly #connection: RedisConnection;
  readonly #copies = new Map<string, Copy>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async readDesired(host: string): Promise<StoredDocument | undefined> {
    const key = this.#connection.keys.desired(host);
    const copy = this.#copies.get(host);
    if (copy?.isFresh && copy.document) {
      this.#connection.checkUsable('readDesired');
      copy.isFresh = false;
      return { revision: copy.document.revision, cells: new Map(copy.document.cells) };
    }
    const fields = await this.#connection.call('readDesired', (redis) => redis.hgetall(key));
    const { [REVISION]: revision, ...cells } = fields;
    // A document without its revision is none: half of one must not look like a whole.
    const read =
      revision === undefined ? undefined : { revision: Number(revision), cells: new Map(Object.entries(cells)) };
    if (copy && this.#copies.get(host) === copy) keep(copy, read);
    return read && { revision: read.revision, cells: new Map(read.cells) };
  }

  async onDoorbell(host: string, ring: () => void): Promise<AsyncDisposable> {
    const channel = this.#connection.keys.desired(host);
    const copy = this.#copies.get(host) ?? { bells: 0, document: undefined, isFresh: false };
    this.#copies.set(host, copy);
    copy.bells++;
    let isHung = true;
    const takeOff = () => {
      if (isHung && --copy.bells === 0 && this.#copies.get(host) === copy) this.#copies.delete(host);
      isHung = false;
    };
    try {
      const bell = await this.#connection.subscribe(channel, (message) => {
        update(copy, message);
        ring();
      });
      return {
        [Symbol.asyncDispose]: async () => {
          takeOff();
          await bell[Symbol.asyncDispose]();
        },
      };
    } catch (error) {
      takeOff();
      throw error;
    }
  }
}

/** What was read; a doorbell that overtook it has left something newer. */
function keep(copy: Copy, read: Copy['document']): void {
  if (read && copy.document && copy.document.revision > read.revision) return;
  copy.document = read;
  copy.isFresh = false;
}

/** 'from to model cell', else nothing is known any more. */
function update(copy: Copy, message: string): void {
  const { document } = copy;
  const [, from = '', to, model = '', cell = ''] = /^(\d+) (\d+) (\S+) (.+)$/.exec(message) ?? [];
  // Of two bells of one host the second finds it done.
  if (document && to !== undefined && document.revision === Number(to)) return;
  copy.isFresh = document !== undefined && to !== undefined && document.revision === Number(from);
  document?.cells.set(model, cell);
  copy.document = copy.isFresh && document ? { revision: Number(to), cells: document.cells } : undefined;
}
