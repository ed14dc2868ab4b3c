// What is asked by the gates of rollouts: an HTTP server that is slow now and then, fails now and then, and says no now and
// then. It writes down each call by its key.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs, type Recorder } from '../history/recorder.js';
import type { Random } from '../seeded/random.js';

const FAILS = 0.2;
const SAYS_NO = 0.05;

export class Webhook {
  readonly url: string;
  #calls = 0;

  private constructor(
    private readonly server: Server,
    private readonly recorder: Recorder,
    private readonly random: Random,
  ) {
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/gate`;
    server.on('request', (request, response) => void this.#answer(request, response).catch(() => response.destroy()));
  }

  static async start(recorder: Recorder, random: Random): Promise<Webhook> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return new Webhook(server, recorder, random);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { random } = this;
    const sent = monotonicMs();
    const key = String(request.headers['idempotency-key']);
    const { rollout, wave, ...rest } = JSON.parse(await text(request)) as { rollout: string; wave: number };
    await sleep(random.between(5, 300));
    const verdict = random.chance(FAILS) ? undefined : random.chance(SAYS_NO) ? 'fail' : 'pass';
    // Another message with each call: two answers of which both count can be told apart.
    const answer = `call ${++this.#calls} for ${key}`;
    // Written down before anybody can hear of it.
    this.recorder.note({ e: 'call', key, rollout, wave, asks: JSON.stringify(rest), sent, verdict, answer });
    if (verdict === undefined) response.writeHead(500).end();
    else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ verdict, message: answer }));
    }
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

async function text(request: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of request.setEncoding('utf8') as AsyncIterable<string>) all += chunk;
  return all;
}
