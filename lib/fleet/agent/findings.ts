// What is wrong with this host now: told once when it appears, and in every report until it is gone.
import { type AspiredError, type AspiredErrorCode, messageOf } from '../../errors.js';

/** Where a finding comes from: each subject replaces its own. */
export type Subject =
  | 'state'
  | 'start'
  | 'read'
  | 'persist'
  | 'document'
  | 'apply'
  | 'clock'
  | 'doorbell'
  | 'hint'
  | 'lease'
  | 'store';

/** Characters of a message in a report. */
const MOST_CHARACTERS = 500;

export class Findings {
  private readonly bySubject = new Map<Subject, ReadonlyMap<string, AspiredError>>();

  /** @param changed Called after each change. */
  constructor(
    private readonly onError: (error: AspiredError) => void,
    private readonly changed: () => void = () => {},
  ) {}

  /** All that is wrong with the subject now. */
  replace(subject: Subject, errors: ReadonlyMap<string, AspiredError>): void {
    const before = this.bySubject.get(subject) ?? new Map<string, AspiredError>();
    // The words of a store change with every attempt; a document that says something else is another matter.
    const known = (key: string, { message }: AspiredError): boolean =>
      subject === 'document' ? before.get(key)?.message === message : before.has(key);
    const fresh = [...errors].filter(([key, error]) => !known(key, error));
    if (errors.size > 0) this.bySubject.set(subject, errors);
    else this.bySubject.delete(subject);
    if (fresh.length > 0 || errors.size !== before.size) this.changed();
    for (const [, error] of fresh) this.tell(error);
  }

  set(subject: Subject, error: AspiredError): void {
    this.replace(subject, new Map([[error.code, error]]));
  }

  clear(subject: Subject): void {
    this.replace(subject, new Map());
  }

  /** What a report says. */
  list(): { readonly code: AspiredErrorCode; readonly message: string }[] {
    return [...this.bySubject.values()].flatMap((errors) =>
      [...errors.values()].map(({ code, message }) => ({ code, message: message.slice(0, MOST_CHARACTERS) })),
    );
  }

  private tell(error: AspiredError): void {
    try {
      this.onError(error);
    } catch (thrown) {
      process.emitWarning(`onError threw: ${messageOf(thrown)}`, { type: 'AspiredFleetWarning' });
    }
  }
}
