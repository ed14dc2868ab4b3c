/** Seeded pseudo-random numbers (sfc32), so that every model comes out the same on every machine. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = 0x9e3779b9 | 0;
    this.#c = 0x243f6a88 | 0;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** 32 random bits, as an unsigned integer. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.next() / 4294967296;
  }

  /** A uniform integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Fills `target` with uniform numbers in [-limit, limit). */
  fill(target: Float32Array, limit: number): void {
    const scale = (2 * limit) / 4294967296;
    for (let i = 0; i < target.length; i++) target[i] = this.next() * scale - limit;
  }

  /** Shuffles in place (Fisher-Yates). */
  shuffle(target: Uint8Array | Uint32Array): void {
    for (let i = target.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = target[i] as number;
      target[i] = target[j] as number;
      target[j] = kept;
    }
  }
}
