// What the person sees while the job runs: one line that is rewritten on a terminal, plain lines elsewhere.

/** Prints lines, and below them one live line where the output is a terminal. */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  #live = '';

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
  }

  /** Prints a line for good. */
  line(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
    this.#draw();
  }

  /** Replaces the live line. Nothing is printed when the output is not a terminal. */
  live(text: string): void {
    if (!this.#out.isTTY) return;
    this.#clear();
    this.#live = text.slice(0, Math.max(20, (this.#out.columns ?? 80) - 1));
    this.#draw();
  }

  /** Takes the live line away. */
  end(): void {
    this.#clear();
    this.#live = '';
  }

  #clear(): void {
    if (this.#live !== '') this.#out.write('\r\u001b[K');
  }

  #draw(): void {
    if (this.#live !== '') this.#out.write(this.#live);
  }
}

/** `640 ms`, `4.2 ms`, `85 µs`, `1.24 s`: a duration with the digits that matter. */
export function duration(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  if (milliseconds >= 10) return `${milliseconds.toFixed(0)} ms`;
  if (milliseconds >= 1) return `${milliseconds.toFixed(1)} ms`;
  return `${(milliseconds * 1000).toFixed(0)} µs`;
}
