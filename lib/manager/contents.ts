// Which content of each version was accepted last. A list with another digest of a version tells that it changed in place.
import { AspiredError } from '../errors.js';
import type { ContentChange, ServableId } from '../types.js';
import type { ListItem } from './aspired-list.js';

/**
 * How an item of a list stands to what was accepted of its version. `'new'`: nothing is known of the version. `'same'`:
 * it has the digest that was accepted, or there is no digest to compare. `'changed'`: it has another one.
 */
export type ContentAnswer = 'same' | 'new' | 'changed';

interface Content {
  /** Undefined: the version was aspired without a digest so far. */
  accepted: string | undefined;
  /** The change that was refused last, while it stands. */
  refusal: { readonly digest: string; readonly error: AspiredError } | undefined;
}

/**
 * Remembers, per servable and version, the digest that was accepted last.
 *
 * For each `'changed'` of a list the caller decides by the state of the version:
 * - mode `'reload'`: the content is accepted already; drain and unload the version, and load it anew.
 * - mode `'refuse'`, and the version has failed or is marked bad: {@link accept}, and let it start anew.
 * - mode `'refuse'` otherwise: {@link refuse}; what is loaded stays.
 *
 * A version is remembered until {@link forget}, also while no list names it: one that is aspired again while it drains
 * is compared with what it drains from.
 */
export class Contents {
  readonly #servables = new Map<string, Map<number, Content>>();

  /**
   * One answer for each item, in the order of the list. Accepts what is new, and, in mode `'reload'`, what has changed;
   * takes back the refusal of a version that is as it was. An item in error has no content, whatever its digest. To be
   * called once for a list, when nothing can throw any more.
   */
  compare(
    name: string,
    list: readonly Pick<ListItem, 'id' | 'error' | 'digest'>[],
    mode: ContentChange,
  ): ContentAnswer[] {
    return list.map(({ id, error, digest }) => this.#compareItem(name, id.version, error ? undefined : digest, mode));
  }

  /** Whether any version of the servable is remembered. */
  knows(name: string): boolean {
    return this.#servables.has(name);
  }

  /** The version starts anew with this content. */
  accept(name: string, version: number, digest: string | undefined): void {
    let versions = this.#servables.get(name);
    if (versions === undefined) {
      versions = new Map();
      this.#servables.set(name, versions);
    }
    versions.set(version, { accepted: digest, refusal: undefined });
  }

  /**
   * What is loaded stays, against a content that has changed. Returns the ERR_CONTENT_CHANGED to report the first time;
   * undefined as long as the list has the same digest again. A digest that went away in between is told again.
   */
  refuse(id: ServableId, digest: string): AspiredError | undefined {
    const content = this.#servables.get(id.name)?.get(id.version);
    if (content === undefined || content.refusal?.digest === digest) return undefined;
    const message =
      `The content of ${id.name}/${id.version} changed in place; what was loaded of it stays. ` +
      "Aspire to a new version, or set onContentChange to 'reload'.";
    const error = new AspiredError('ERR_CONTENT_CHANGED', message, { servable: id });
    content.refusal = { digest, error };
    return error;
  }

  /** The change that stands refused, to be shown with the state of the version. */
  refusalOf(name: string, version: number): AspiredError | undefined {
    return this.#servables.get(name)?.get(version)?.refusal?.error;
  }

  /** The version is gone: the next content of it is a new one. */
  forget(name: string, version: number): void {
    const versions = this.#servables.get(name);
    if (versions?.delete(version) && versions.size === 0) this.#servables.delete(name);
  }

  #compareItem(name: string, version: number, digest: string | undefined, mode: ContentChange): ContentAnswer {
    const content = this.#servables.get(name)?.get(version);
    if (content === undefined) {
      this.accept(name, version, digest);
      return 'new';
    }
    if (digest === undefined) return 'same';
    content.accepted ??= digest;
    if (content.accepted === digest) {
      content.refusal = undefined;
      return 'same';
    }
    if (mode === 'reload') this.accept(name, version, digest);
    return 'changed';
  }
}
