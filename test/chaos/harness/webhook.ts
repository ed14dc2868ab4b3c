// What is asked by the gates of rollouts: an HTTP server that is slow now and then, and fails now and then.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Recorder } from '../history/recorder.js';
import type { Random } from '../seeded/random.js';

export class Webhook {
  #calls = 0;

  private constructor(
    readonly url: string,
    private readonly server: Server,
  ) {}

  static async start(recorder: Recorder, random: Random): Promise<Webhook> {
    const server = createServer((request, response) => {
      request.resume();
      void (async () => {
        await sleep(random.between(5, 300));
        if (random.chance(0.2)) {
          response.writeHead(500).end();
          return;
        }
        const key = String(request.headers['idempotency-key']);
        const call = ++webhook.#calls;
        recorder.note({ e: 'call', key, verdict: 'pass' });
        // Another message with each call: two answers of which both count can be told apart.
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ verdict: 'pass', message: `call ${call}` }));
      })();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    const webhook = new Webhook(`http://127.0.0.1:${(server.address() as AddressInfo).port}/gate`, server);
    return webhook;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
