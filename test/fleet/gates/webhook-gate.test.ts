// A webhook that answers, misbehaves, or does not answer: real HTTP over the loopback device.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { askWebhook } from '#lib/fleet/gates/index.js';
import type { GateCall, GateResult, WebhookGate } from '#lib/fleet/gates/types.js';
import { askWithin } from '#lib/fleet/gates/webhook-gate.js';
import { deadline } from '../../support/deadline.js';

const CALL: GateCall = { rollout: 'r1', model: 'ranker', version: 43, wave: 2, phase: 'after-bake', key: '2-1-0' };
const never = new AbortController().signal;

interface Seen {
  readonly method: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let server: Server;
let url = '';
let seen: Seen[] = [];
/** How each further request is answered; the last one goes on. */
let answers: ((response: ServerResponse) => void)[] = [];

before(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const answer = answers[Math.min(seen.length, answers.length - 1)];
    seen.push({ method: request.method, headers: request.headers, body });
    answer?.(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/gate?token=hidden`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen = [];
});

const says = (text: string | object, status = 200) => {
  const body = typeof text === 'string' ? text : JSON.stringify(text);
  return (response: ServerResponse): void => void response.writeHead(status).end(body);
};
const hangs = (): void => {};

/** Without the usual pauses. */
async function ask(script: typeof answers, gate: Partial<WebhookGate> = {}): Promise<GateResult> {
  answers = script;
  const asked = askWithin({ kind: 'webhook', url, attempts: 3, ...gate }, CALL, never, 1);
  return deadline(asked, 'an answer of the gate');
}

function isUnreachable({ verdict, message, figures }: GateResult, why: RegExp, attempts: number): void {
  assert.equal(verdict, 'insufficient-data');
  assert.match(message, /^ERR_GATE_UNREACHABLE: http:\/\/127\.0\.0\.1:\d+\/gate gave no verdict in \d attempts?: /);
  assert.match(message, why);
  assert.ok(!message.includes('hidden'), 'a query may hold a secret');
  assert.deepEqual(figures, { attempts });
  assert.equal(seen.length, attempts);
}

for (const verdict of ['pass', 'fail', 'insufficient-data'] as const) {
  test(`the verdict ${verdict} is taken, with its message on one line`, async () => {
    const result = await ask([says({ verdict, message: 'canary\n  looks\u0007 so', more: 1 })]);
    assert.deepEqual(result, { verdict, message: 'canary looks so' });
    assert.equal((await ask([says({ verdict })])).message, `The webhook answered ${verdict}.`);
  });
}

test('it is told what it is about, once per attempt with the same key', async () => {
  const answer = await ask([says('', 503), says({ verdict: 'pass' })]);
  assert.equal(answer.verdict, 'pass');
  assert.equal(seen.length, 2);
  for (const { method, headers, body } of seen) {
    assert.equal(method, 'POST');
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(headers['idempotency-key'], '2-1-0');
    assert.deepEqual(JSON.parse(body), { rollout: 'r1', model: 'ranker', version: 43, wave: 2, phase: 'after-bake' });
  }
});

for (const [what, answer, why] of [
  ['500', says('{"verdict":"pass"}', 500), /the answer was 500/],
  ['429', says('', 429), /the answer was 429/],
  ['no JSON', says('<html>ok</html>'), /not JSON: <html>ok<\/html>/],
  ['an empty answer', says(''), /not JSON/],
  ['NaN', says('{"verdict": NaN}'), /not JSON/],
  ['another word', says({ verdict: 'PASS' }), /the verdict was "PASS"/],
  ['true', says('true'), /the verdict was undefined/],
  ['null', says('null'), /the verdict was undefined/],
  ['an array', says('["pass"]'), /the verdict was undefined/],
  ['bytes that are no text', (response: ServerResponse) => void response.end(Buffer.from([0xff, 0xfe, 0x00])), /./],
  ['a connection that ends', (response: ServerResponse) => void response.destroy(), /closed|terminated|reset/],
  [
    'half an answer',
    (response: ServerResponse) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"verdict":"pass"');
      setImmediate(() => response.destroy());
    },
    /closed|terminated|reset/,
  ],
] as const) {
  test(`${what} is no verdict: asked again, and never a pass`, async () => {
    isUnreachable(await ask([answer]), why, 3);
  });
}

for (const [what, answer, why] of [
  ['404', says({ verdict: 'pass' }, 404), /the answer was 404/],
  [
    'a redirect',
    (response: ServerResponse) => void response.writeHead(307, { location: '/' }).end(),
    /redirect \(307\)/,
  ],
  ['too much', says(JSON.stringify({ verdict: 'pass', message: 'x'.repeat(70_000) })), /longer than 65536 bytes/],
] as const) {
  test(`${what} will be no verdict another time either: asked once`, async () => {
    isUnreachable(await ask([answer]), why, 1);
  });
}

test('one that hangs is given up after its time, at each attempt', async () => {
  isUnreachable(await ask([hangs], { timeoutMs: 30, attempts: 2 }), /no answer within 30 ms/, 2);
});

test('one that begins to answer and hangs is given up as well', async () => {
  const begins = (response: ServerResponse): void => {
    response.writeHead(200).write('{');
  };
  isUnreachable(await ask([begins], { timeoutMs: 50, attempts: 1 }), /no answer within 50 ms/, 1);
});

test('a port where nobody listens is named with the cause', async () => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  const { verdict, message } = await ask([hangs], { url: `http://127.0.0.1:${port}/gate`, attempts: 2 });
  assert.equal(verdict, 'insufficient-data');
  assert.match(message, /ERR_GATE_UNREACHABLE.*in 2 attempts: .*ECONNREFUSED/);
});

test('an answer leaves no timer behind', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  await ask([says({ verdict: 'pass' })]);
  const before = timers();
  for (let i = 0; i < 5; i++) await ask([says('', 500), says({ verdict: 'pass' })], { timeoutMs: 60_000 });
  assert.ok(timers() <= before, `${timers()} timers, ${before} before`);
});

test('the signal ends an attempt and a pause, and leaves nothing behind', async () => {
  answers = [hangs];
  const during = new AbortController();
  const first = askWebhook({ kind: 'webhook', url }, CALL, during.signal);
  const rejected = assert.rejects(deadline(first, 'the end'), /closing/);
  while (seen.length === 0) await new Promise(setImmediate);
  during.abort(new Error('closing'));
  await rejected;

  seen = [];
  const paused = new AbortController();
  answers = [
    (response) => {
      response.on('finish', () => setImmediate(() => paused.abort(new Error('closing'))));
      response.writeHead(500).end();
    },
  ];
  const second = askWithin({ kind: 'webhook', url }, CALL, paused.signal, 25_000);
  await assert.rejects(deadline(second, 'the end'), /closing/);
  assert.equal(seen.length, 1);

  seen = [];
  await assert.rejects(askWebhook({ kind: 'webhook', url }, CALL, AbortSignal.abort(new Error('closed'))), /closed/);
  assert.equal(seen.length, 0, 'not even begun');
});
