// Places of one model, as bits. Of a thousand places few have something new at a tick: a walk costs what those few cost.

export class PlaceSet {
  private readonly words: Int32Array;

  constructor(readonly size: number) {
    this.words = new Int32Array((size + 31) >>> 5);
  }

  add(place: number): void {
    const word = place >>> 5;
    this.words[word] = (this.words[word] as number) | (1 << (place & 31));
  }

  delete(place: number): void {
    const word = place >>> 5;
    this.words[word] = (this.words[word] as number) & ~(1 << (place & 31));
  }

  addAll(): void {
    this.words.fill(-1);
    const rest = this.size & 31;
    if (rest !== 0) this.words[this.words.length - 1] = (1 << rest) - 1;
  }

  clear(): void {
    this.words.fill(0);
  }

  /** All of another set of the same size. */
  addFrom({ words }: PlaceSet): void {
    for (let word = 0; word < words.length; word++) {
      this.words[word] = (this.words[word] as number) | (words[word] as number);
    }
  }

  /** The first one from `from` on, or -1: for walks in the order of places, during which places may come and go. */
  next(from: number): number {
    const { words } = this;
    let word = from >>> 5;
    if (word >= words.length) return -1;
    let bits = (words[word] as number) & (-1 << (from & 31));
    while (bits === 0) {
      if (++word === words.length) return -1;
      bits = words[word] as number;
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }
}
