// One process of the fleet: started, told, stopped, killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deadline } from '../../support/deadline.js';
import type { AgentArguments, AgentMessage, ControllerArguments, ControllerMessage } from '../processes/messages.js';
import type { Guard } from './guard.js';

const PROGRAMS = { agent: '../processes/agent-process.js', controller: '../processes/controller-process.js' } as const;
/** A process that is starved by others comes up late, and is not lost. */
const START_MS = 45_000;
const KEPT_TEXT = 4_000;

type ArgumentsOf = { readonly agent: AgentArguments; readonly controller: ControllerArguments };
type MessageOf = { readonly agent: AgentMessage; readonly controller: ControllerMessage };

export class Child<K extends keyof ArgumentsOf = keyof ArgumentsOf> {
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  /** The end of what it wrote to standard error. */
  complaint = '';
  readonly #process: ChildProcess;
  readonly #ready: Promise<void>;
  #hasEnded = false;
  #wasKilled = false;

  constructor(
    kind: K,
    readonly name: string,
    args: ArgumentsOf[K],
    guard: Guard,
  ) {
    const file = fileURLToPath(new URL(PROGRAMS[kind], import.meta.url));
    const child = spawn(process.execPath, ['--enable-source-maps', file, JSON.stringify(args)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process = child;
    if (child.pid !== undefined) guard.process(child.pid);
    child.stdin.on('error', () => {}); // it was killed
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.complaint = (this.complaint + chunk).slice(-KEPT_TEXT);
    });
    this.ended = new Promise((resolve) => {
      child.once('close', () => {
        this.#hasEnded = true;
        if (child.pid !== undefined) guard.gone(child.pid);
        resolve();
      });
    });
    this.#ready = new Promise((resolve) => child.stdout.once('data', () => resolve()));
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** It ended, and nobody meant it to. */
  get failed(): boolean {
    return this.#hasEnded && !this.#wasKilled;
  }

  /** Waits until it says that it is ready, or has ended. */
  async ready(): Promise<void> {
    await deadline(Promise.race([this.#ready, this.ended]), `${this.name} to be ready`, START_MS);
  }

  tell(message: MessageOf[K]): void {
    if (!this.#hasEnded) this.#process.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** SIGKILL, without a word. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#wasKilled = true;
    this.#process.kill('SIGKILL');
    await deadline(this.ended, `the end of ${this.name}`);
  }

  /** SIGCONT. */
  go(): void {
    this.#process.kill('SIGCONT');
  }

  /** It is expected to end by itself. */
  mayEnd(): void {
    this.#wasKilled = true;
  }
}
