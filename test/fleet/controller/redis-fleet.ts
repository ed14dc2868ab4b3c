// A fleet whose store is a redis-server of the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { RedisServer } from '../../support/redis-server.js';
import { Fleet, type FleetOptions, until } from './fleet.js';

let fleets = 0;

/** A fleet with a name of its own in the server. */
export function startFleet(t: TestContext, { url }: RedisServer, options: FleetOptions = {}): Promise<Fleet> {
  const name = `f${fleets++}`;
  const open = (): Promise<RedisStore> => RedisStore.connect({ url, fleet: name });
  return Fleet.start(t, { name, store: { redis: url }, open, ...options });
}

/** A queue of the fleet, for the test to look at and to spoil. */
export async function openQueue(t: TestContext, server: RedisServer, fleet: Fleet, name: string): Promise<Queue> {
  const queue = new Queue(name, { prefix: `{${fleet.name}}`, connection: { host: '127.0.0.1', port: server.port } });
  queue.on('error', () => {});
  t.after(() => queue.close());
  await queue.waitUntilReady();
  return queue;
}

/** A webhook on loopback; its address. */
export async function webhook(
  t: TestContext,
  answer: (body: Record<string, unknown>) => Record<string, unknown>,
): Promise<string> {
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(answer(JSON.parse(text))));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}

/** A controller in a process of its own. */
export class ControllerProcess {
  ticks = 0;
  private readonly child: ChildProcess;
  private ready = false;

  private constructor(url: string, fleet: string, id: string) {
    const program = new URL('./fixtures/controller.js', import.meta.url).pathname;
    this.child = spawn(process.execPath, [program, url, fleet, id], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line === 'ready') this.ready = true;
      if (line.startsWith('ticks ')) this.ticks = Number(line.slice(6));
    });
  }

  static async start(t: TestContext, { url }: RedisServer, fleet: Fleet, id: string): Promise<ControllerProcess> {
    const made = new ControllerProcess(url, fleet.name, id);
    t.after(() => made.kill());
    await until(() => made.ready, 'the controller to start');
    return made;
  }

  stop(): void {
    this.child.kill('SIGSTOP');
  }

  goOn(): void {
    this.child.kill('SIGCONT');
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}
