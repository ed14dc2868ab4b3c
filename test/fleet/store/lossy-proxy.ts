// A TCP proxy in front of Redis that breaks things on purpose: loses answers, cuts connections, changes what is said.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Owner } from '../../support/redis-server.js';

export class LossyProxy {
  readonly #server: Server;
  readonly #target: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Says of a request whether its answer is lost: the server gets it, and the connection breaks instead of an answer. */
  loses: (request: string) => boolean = () => false;
  /** Changes an answer. */
  edits: (answer: string) => string = (answer) => answer;
  /** Requests pass, and nothing comes back. */
  silent = false;
  connections = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#serve(client));
  }

  static async start(owner: Owner, target: number): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    owner.after(async () => {
      proxy.#server.close();
      proxy.cut();
    });
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends all connections. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  #serve(client: Socket): void {
    this.connections++;
    const upstream = connect(this.#target, '127.0.0.1');
    const pair = [client, upstream] as const;
    this.#pairs.add(pair);
    let isLost = false;
    client.on('data', (request) => {
      isLost ||= this.loses(String(request));
      upstream.write(request);
    });
    upstream.on('data', (answer) => {
      if (isLost) return end();
      if (!this.silent) client.write(this.edits(answer.toString('latin1')), 'latin1');
    });
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of pair) socket.on('close', end).on('error', end);
  }
}
