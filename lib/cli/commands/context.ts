import type { Command } from 'commander';
import { type CliIo, Printer } from '../io.js';
import { addressOf, type GlobalOptions, printingOf } from '../options.js';
import type { FleetTool } from '../tool.js';

/** What an action of a command works with. */
export interface Context {
  readonly io: CliIo;
  readonly printer: Printer;
  readonly globals: GlobalOptions;
}

/** How a command ends: its exit code. */
export type Ended = number;

/** Where actions leave their exit code. */
export interface Result {
  code: Ended;
}

/** Makes actions of commands: they get the context first, then what commander parsed. */
export class Actions {
  readonly #io: CliIo;
  readonly #result: Result;

  constructor(io: CliIo, result: Result) {
    this.#io = io;
    this.#result = result;
  }

  /** An action without the store. */
  local<A extends readonly unknown[], O>(
    work: (context: Context, options: O & GlobalOptions, ...args: A) => Promise<Ended>,
  ): (...args: unknown[]) => Promise<void> {
    return async (...parsed) => {
      // commander appends the options and the command to the arguments.
      const command = parsed.at(-1) as Command;
      const globals = command.optsWithGlobals<O & GlobalOptions>();
      const printer = new Printer(this.#io, printingOf(globals, this.#io));
      const args = parsed.slice(0, -2) as unknown as A;
      this.#result.code = await work({ io: this.#io, printer, globals }, globals, ...args);
    };
  }

  /** An action on the fleet, which is opened for it and closed behind it. */
  fleet<A extends readonly unknown[], O>(
    work: (context: Context & { readonly tool: FleetTool }, options: O & GlobalOptions, ...args: A) => Promise<Ended>,
  ): (...args: unknown[]) => Promise<void> {
    return this.local<A, O>(async (context, options, ...args) => {
      const tool = await this.#io.connect(addressOf(options, this.#io));
      try {
        return await work({ ...context, tool }, options, ...args);
      } finally {
        await tool[Symbol.asyncDispose]();
      }
    });
  }
}
