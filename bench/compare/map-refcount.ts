// What one writes without this package: a Map, and a counter of references. It drains nothing, has no labels, no
// versions beside the current one, and tells nobody anything.

/** A servable and the references to it. */
export class Counted<T> {
  references = 0;

  constructor(readonly servable: T) {}
}

/** A reference. */
export class Reference<T> {
  #counted: Counted<T> | undefined;

  constructor(counted: Counted<T>) {
    this.#counted = counted;
  }

  get servable(): T {
    if (this.#counted === undefined) throw new Error('The reference was released');
    return this.#counted.servable;
  }

  release(): void {
    if (this.#counted === undefined) return;
    this.#counted.references--;
    this.#counted = undefined;
  }
}

/** Name to servable. */
export class CountingMap<T> {
  private readonly entries = new Map<string, Counted<T>>();

  set(name: string, servable: T): void {
    this.entries.set(name, new Counted(servable));
  }

  acquire(name: string): Reference<T> {
    const counted = this.entries.get(name);
    if (counted === undefined) throw new Error(`${name} was not found`);
    counted.references++;
    return new Reference(counted);
  }
}
