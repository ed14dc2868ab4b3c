// The host processes of a trial, as the trial sees them.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  type AnswerMessage,
  type Expect,
  type HostKind,
  type HostsStart,
  type RequestName,
  type Requests,
  ZONES,
} from './protocol.js';

const PROGRAM = fileURLToPath(new URL('./hosts-program.js', import.meta.url));
/** Hosts that one process holds. */
const PER_PROCESS = 2_500;
/** Two cores: one process of hosts fewer would leave one idle, more would only take turns. */
const PROCESSES = 2;

class HostProcess {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, { resolve: (give: never) => void; reject: (error: Error) => void }>();
  private next = 0;
  private stderr = '';

  constructor() {
    this.child = fork(PROGRAM, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-2000);
    });
    this.child.on('message', (message) => {
      const { id, give, error } = message as AnswerMessage;
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) waiting?.resolve(give as never);
      else waiting?.reject(new Error(error));
    });
    this.child.on('exit', (code, signal) => {
      for (const { reject } of this.waiting.values()) {
        reject(new Error(`A process of hosts ended with ${signal ?? code}. ${this.stderr}`));
      }
      this.waiting.clear();
    });
  }

  ask<N extends RequestName>(name: N, take: Requests[N]['take']): Promise<Requests[N]['give']> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.child.send({ id, name, take });
    });
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    await this.ask('close', null).catch(() => {});
    this.child.disconnect();
    await ended;
  }
}

/** All hosts of a fleet, in as many processes as it takes. */
export class Hosts {
  private constructor(private readonly processes: readonly HostProcess[]) {}

  /**
   * Starts them, and waits until all have joined.
   *
   * @param how What is a host: an agent by default.
   */
  static async start(options: Omit<HostsStart, 'from'>, how: HostKind = 'start'): Promise<Hosts> {
    const { count, real } = options;
    const size = Math.max(PROCESSES, Math.ceil(count / PER_PROCESS));
    const processes = Array.from({ length: size }, () => new HostProcess());
    const hosts = new Hosts(processes);
    try {
      await Promise.all(
        processes.map((one, i) => {
          const from = Math.floor((count * i) / size);
          const share = Math.floor((count * (i + 1)) / size) - from;
          // A real manager is a thread or two: all of them in one process, or in none.
          return one.ask(how, { ...options, from, count: share, real: i === 0 ? real : 0 });
        }),
      );
      return hosts;
    } catch (error) {
      await hosts.close();
      throw error;
    }
  }

  /** Milliseconds from the epoch until each host had accepted the version; resolves when all have. */
  async expect(expected: Expect): Promise<number[]> {
    return (await Promise.all(this.processes.map((one) => one.ask('expect', expected)))).flat();
  }

  /** Processor time of all host processes so far, in microseconds. */
  async cpuMicroseconds(): Promise<number> {
    const each = await Promise.all(this.processes.map((one) => one.ask('cpu', null)));
    return each.reduce((sum, microseconds) => sum + microseconds, 0);
  }

  /** Sends requests to the hosts with a real manager from now on. */
  async traffic(model: string): Promise<void> {
    await this.processes[0]?.ask('traffic', { model });
  }

  /** What came of the requests so far. */
  async counted(): Promise<Requests['counted']['give']> {
    return (await this.processes[0]?.ask('counted', null)) ?? { requests: 0, failures: 0, examples: [] };
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((one) => one.close()));
  }
}

/** The zone of a host. */
export function zoneOf(index: number): string {
  return `zone-${index % ZONES}`;
}
