// What hosts say of themselves: it hardly changes, and is read with each report. Decoded once.
import { decodeHostInfo } from '../../report-codec.js';
import type { HostInfo } from '../../types.js';

/** Old ones are not worth finding: at so many, all go. */
const MOST = 50_000;

export class HostInfos {
  readonly #byText = new Map<string, HostInfo>();
  readonly #byBoot = new Map<string, HostInfo>();

  /** @throws AspiredError ERR_DOCUMENT_UNDECODABLE */
  of(text: string): HostInfo {
    let info = this.#byText.get(text);
    if (!info) {
      info = decodeHostInfo(text);
      if (this.#byText.size >= MOST) this.#byText.clear();
      this.#byText.set(text, info);
    }
    return info;
  }

  /** What was read last of this boot of the host. */
  known(host: string, bootId: string): HostInfo | undefined {
    return this.#byBoot.get(`${host} ${bootId}`);
  }

  learn(host: string, bootId: string, info: HostInfo): void {
    if (this.#byBoot.size >= MOST) this.#byBoot.clear();
    this.#byBoot.set(`${host} ${bootId}`, info);
  }
}
