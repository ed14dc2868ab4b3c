// A block of lines at the bottom of a terminal that is drawn again in place.
import type { Output } from './io.js';

const ESCAPE = '\u001b[';

/** Draws lines over the ones that it drew before. What was printed above them stays. */
export class Screen {
  readonly #out: Output;
  #drawn: readonly string[] = [];

  constructor(out: Output) {
    this.#out = out;
  }

  /** Replaces the block. Lines that do not fit on the screen are counted instead: the cursor could not go back to them. */
  draw(lines: readonly string[]): void {
    const rows = this.#out.rows ?? 0;
    const room = rows > 2 ? rows - 1 : Number.POSITIVE_INFINITY;
    const shown =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more lines`];
    if (shown.length === this.#drawn.length && shown.every((line, i) => line === this.#drawn[i])) return;
    const up = this.#drawn.length > 0 ? `${ESCAPE}${this.#drawn.length}A\r` : '';
    // Line by line, each cleared to its end: a screen that is cleared first flickers.
    const text = shown.map((line) => `${line}${ESCAPE}K\n`).join('');
    this.#out.write(`${up}${text}${ESCAPE}J`);
    this.#drawn = shown;
  }

  /** The block stays as it is, and the next one is drawn below it. */
  keep(): void {
    this.#drawn = [];
  }
}
