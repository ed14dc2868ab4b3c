import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Command, HostCount, Message } from './messages.js';

const READY_MS = 90_000;
const ANSWER_MS = 5000;
const STOP_MS = 5000;

/** A process of the demonstration, seen from outside. */
export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (count: HostCount) => void>();
  /** Errors that it told and went on from. */
  readonly errors: string[] = [];
  readonly ready: Promise<void>;
  readonly gone: Promise<void>;
  #output = '';
  #asked = 0;
  #isMeantToEnd = false;

  constructor(name: string, program: string, task: object, folder: string) {
    this.name = name;
    const path = fileURLToPath(new URL(program, import.meta.url));
    // 20 of them share the machine: each keeps its heap small.
    this.#process = fork(path, [JSON.stringify(task)], {
      execArgv: ['--max-old-space-size=128'],
      // The library of ONNX Runtime leaves files of its own there.
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-4000);
    };
    this.#process.stdout?.on('data', keep);
    this.#process.stderr?.on('data', keep);
    this.gone = once(this.#process, 'exit').then(() => {});
    this.ready = this.#becomeReady();
    // Whoever waits for it hears of it; nobody may.
    this.ready.catch(() => {});
    this.#process.on('message', (message: Message) => this.#hear(message));
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  /** Undefined while it runs, or when it was told to end; else how it ended, with its last words. */
  get crash(): string | undefined {
    const { exitCode, signalCode } = this.#process;
    if (this.#isMeantToEnd || (exitCode === null && signalCode === null)) return undefined;
    return `${this.name} ended by itself (${signalCode ?? exitCode})\n${this.#output}`;
  }

  /** What the host counted until now. */
  count(): Promise<HostCount> {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name} does not answer`)), ANSWER_MS);
      this.#waiting.set(id, (count) => {
        clearTimeout(timer);
        resolve(count);
      });
      this.#send({ do: 'count', id });
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#isMeantToEnd = true;
    this.#process.kill('SIGKILL');
    await this.gone;
  }

  /** Lets it end in order, and ends it when that takes too long. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#isMeantToEnd = true;
    this.#send({ do: 'stop' });
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS);
    await this.gone;
    clearTimeout(timer);
  }

  /** At once, without waiting: the last thing before the demonstration ends. */
  killNow(): void {
    this.#isMeantToEnd = true;
    this.#process.kill('SIGKILL');
  }

  #send(command: Command): void {
    if (this.#process.connected) this.#process.send(command, () => {});
  }

  #hear(message: Message): void {
    if (message.said === 'error') this.errors.push(message.message);
    if (message.said !== 'count') return;
    this.#waiting.get(message.id)?.(message.count);
    this.#waiting.delete(message.id);
  }

  async #becomeReady(): Promise<void> {
    const signal = AbortSignal.timeout(READY_MS);
    const isReady = new Promise<void>((resolve) => {
      this.#process.on('message', ({ said }: Message) => {
        if (said === 'ready') resolve();
      });
    });
    const isLate = once(signal, 'abort').then(() => {
      throw new Error(`${this.name} is not ready after ${READY_MS / 1000} s\n${this.#output}`);
    });
    const isGone = this.gone.then(() => {
      throw new Error(`${this.name} ended before it was ready\n${this.#output}`);
    });
    await Promise.race([isReady, isLate, isGone]);
  }
}

/** All processes of the demonstration: none outlives it. */
export class Processes {
  readonly #folder: string;
  readonly #children = new Set<Child>();
  readonly #lastWords = (): void => {
    for (const child of this.#children) child.killNow();
  };

  /** @param folder For their temporary files. */
  constructor(folder: string) {
    this.#folder = folder;
    process.on('exit', this.#lastWords);
  }

  start(name: string, program: string, task: object): Child {
    const child = new Child(name, program, task, this.#folder);
    this.#children.add(child);
    void child.gone.then(() => this.#children.delete(child));
    return child;
  }

  /** Ends those that are left, all at once. */
  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()));
    process.off('exit', this.#lastWords);
  }
}
