// Appends to the history. Each line is one write(): what a process wrote is there, also when it is killed right after.
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ChaosEvent } from './events.js';

/** The monotonic clock of the machine, the same in all its processes, in ms. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}

type Unstamped<E> = E extends unknown ? Omit<E, 't' | 'by'> : never;

/** An event without when and by whom. */
export type Note = Unstamped<ChaosEvent>;

export class Recorder {
  readonly #file: number;

  constructor(
    folder: string,
    readonly by: string,
  ) {
    this.#file = openSync(join(folder, `${by}.jsonl`), 'a');
  }

  note(event: Note, t = monotonicMs()): void {
    writeSync(this.#file, `${JSON.stringify({ t, by: this.by, ...event })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Everything that was recorded in a folder, in order of time. A line that was cut off by a kill is left out. */
export function readEvents(folder: string): ChaosEvent[] {
  const events = readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').flatMap(parsed));
  return events.sort((a, b) => a.t - b.t);
}

function parsed(line: string): ChaosEvent[] {
  try {
    return line === '' ? [] : [JSON.parse(line) as ChaosEvent];
  } catch {
    return [];
  }
}
