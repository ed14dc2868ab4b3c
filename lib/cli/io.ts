// Where a command reads from and writes to: the process, or a test.
import { type Line, paint } from './render/text.js';
import type { FleetTool } from './tool.js';

/** What a command needs of its surroundings. */
export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Fires on Ctrl-C and on SIGTERM. */
  readonly signal: AbortSignal;
  /** The name of the user who is logged in; the last choice for the actor. */
  readonly user: () => string | undefined;
  /** Opens the fleet. */
  readonly connect: (where: FleetAddress) => Promise<FleetTool>;
  /** Between two looks at a rollout, in ms. */
  readonly pollMs: number;
}

export interface FleetAddress {
  readonly redis: string;
  readonly fleet: string;
  /** Replicas that start and verbs need; undefined: none, and all that are connected are asked. */
  readonly minReplicas?: number;
}

/** A stream that may be a terminal. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** How a command was asked to print. */
export interface Printing {
  readonly json: boolean;
  readonly color: boolean;
}

/** Prints what commands have to say, in the one form that was asked for. */
export class Printer {
  readonly #io: CliIo;
  readonly #how: Printing;

  constructor(io: CliIo, how: Printing) {
    this.#io = io;
    this.#how = how;
  }

  get isJson(): boolean {
    return this.#how.json;
  }

  /** Whether it may draw, and draw again in place. */
  get isLive(): boolean {
    return !this.#how.json && this.#io.stdout.isTTY === true && this.#io.env.TERM !== 'dumb';
  }

  /** One value as one line of JSON. */
  json(value: unknown): void {
    this.#io.stdout.write(`${JSON.stringify(value)}\n`);
  }

  text(line: string): void {
    this.#io.stdout.write(`${line}\n`);
  }

  /** Lines in colour where that is wanted; on a terminal no longer than it is wide. */
  lines(lines: readonly Line[]): void {
    this.#io.stdout.write(
      this.painted(lines)
        .map((line) => `${line}\n`)
        .join(''),
    );
  }

  painted(lines: readonly Line[]): readonly string[] {
    const { isTTY, columns } = this.#io.stdout;
    const width = isTTY && columns !== undefined && columns > 0 ? { columns } : {};
    return lines.map((line) => paint(line, { color: this.#how.color, ...width }));
  }
}

/** Colour: on a terminal, unless --no-color, NO_COLOR (any value that is not empty) or TERM=dumb say otherwise. */
export function wantsColor(io: CliIo, color: boolean): boolean {
  return color && io.stdout.isTTY === true && !io.env.NO_COLOR && io.env.TERM !== 'dumb';
}
