// What a run of random operations has seen. A violation found inside a loader is written down here, because a loader that
// throws would only be a loader that failed.

/** Something that is opened by hand. */
export interface Gate {
  readonly label: string;
  /** True: only openLate() opens it. */
  isLate(): boolean;
  open(): void;
}

export class Journal {
  readonly problems: string[] = [];
  /** Everything happens on one thread. */
  isSerial = false;
  readonly gates: Gate[] = [];
  /** Called whenever foreign code runs, so that readers look at every moment they can. */
  look: () => void = () => {};
  /** Attempts that are under way and were not aborted. */
  loading = 0;
  /** The most that may be. */
  maxLoading = Number.POSITIVE_INFINITY;

  fault(message: string): void {
    this.problems.push(message);
  }

  /** Throws what was found. */
  check(after: string): void {
    if (this.problems.length > 0) throw new Error(`${after}:\n  ${this.problems.join('\n  ')}`);
  }

  loadBegins(who: string): void {
    if (++this.loading > this.maxLoading) {
      this.fault(`${who}: ${this.loading} loads at once, at most ${this.maxLoading} are allowed`);
    }
  }

  loadEnds(): void {
    this.loading--;
  }

  /** A promise that settles when the run opens its gate. */
  gate<T>(label: string, settle: () => T, isLate = (): boolean => false): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.gates.push({
        label,
        isLate,
        open: () => {
          try {
            resolve(settle());
          } catch (error) {
            reject(error);
          }
        },
      });
    });
  }

  openGate(index: number): void {
    const gates = this.gates.filter((gate) => !gate.isLate());
    const gate = gates[index % Math.max(1, gates.length)];
    if (!gate) return;
    this.gates.splice(this.gates.indexOf(gate), 1);
    gate.open();
  }

  openAll(): void {
    const late = this.gates.filter((gate) => gate.isLate());
    for (const gate of this.gates.splice(0, this.gates.length, ...late)) if (!late.includes(gate)) gate.open();
  }

  /** Opens also what should come after its attempt was given up. */
  openLate(): void {
    for (const gate of this.gates.splice(0)) gate.open();
  }
}
