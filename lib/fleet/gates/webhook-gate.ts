// Asks an HTTP endpoint for a verdict. What is not a verdict is retried, and ends as insufficient data: never as a pass.
import { AspiredError, messageOf } from '../../errors.js';
import { describe, invalidOption } from '../../options.js';
import { checkNumber, checkWord, type GateKind, oneLine } from './kind.js';
import type { GateCall, GateResult, Verdict, WebhookGate } from './types.js';

/** Of the answer, in bytes. */
const MAX_ANSWER = 64 * 1024;
const MAX_PAUSE_MS = 30_000;
/** setTimeout() takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const VERDICTS: readonly unknown[] = ['pass', 'fail', 'insufficient-data'] satisfies Verdict[];

/** The usual pause before the second attempt. */
export const FIRST_PAUSE_MS = 500;

/** A gate that somebody else judges. */
export const webhookGate: GateKind<WebhookGate> = {
  keys: ['url', 'when', 'timeoutMs', 'attempts'],
  check: (options, where) => ({
    kind: 'webhook',
    url: checkUrl(`${where}.url`, options.url),
    when: checkWord(`${where}.when`, options.when, ['after-bake', 'before-wave']),
    timeoutMs: checkNumber(`${where}.timeoutMs`, options.timeoutMs, 10_000, {
      min: 1,
      max: MAX_TIMEOUT_MS,
      whole: true,
    }),
    attempts: checkNumber(`${where}.attempts`, options.attempts, 5, { min: 1, max: 100, whole: true }),
  }),
};

/**
 * Asks until there is a verdict, or no attempt left. See askWebhook().
 *
 * @param firstPauseMs Before the second attempt; doubles with each further one, up to 30 s.
 */
export async function askWithin(
  { url, timeoutMs = 10_000, attempts = 5 }: WebhookGate,
  { key, ...body }: GateCall,
  signal: AbortSignal,
  firstPauseMs: number,
): Promise<GateResult> {
  const request = { url, body: JSON.stringify(body), key };
  let attempt = 0;
  for (;;) {
    signal.throwIfAborted();
    attempt++;
    try {
      return await within(timeoutMs, signal, (ends) => post(request, ends));
    } catch (thrown) {
      signal.throwIfAborted();
      const isFinal = thrown instanceof Refusal || attempt >= attempts;
      if (isFinal) return unreachable(url, attempt, thrown);
    }
    const pause = Math.min(firstPauseMs * 2 ** (attempt - 1), MAX_PAUSE_MS);
    // Shortened by up to a half: the gates of many rollouts do not come back together.
    await sleep(pause * (1 - Math.random() / 2), signal);
  }
}

function unreachable(url: string, attempts: number, thrown: unknown): GateResult {
  const times = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  // Without its query, which may hold a secret.
  const { origin, pathname } = new URL(url);
  const text = `${origin}${pathname} gave no verdict in ${times}: ${oneLine(causeOf(thrown))}`;
  const { code, message } = new AspiredError('ERR_GATE_UNREACHABLE', text, { cause: thrown });
  return { verdict: 'insufficient-data', message: `${code}: ${message}.`, figures: { attempts } };
}

/** fetch() rejects with 'fetch failed', and has the reason as the cause. */
function causeOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? (thrown.cause as (Error & { code?: unknown }) | undefined) : undefined;
  if (!(cause instanceof Error)) return messageOf(thrown);
  return messageOf(cause) || String(cause.code);
}

/** An answer that another attempt will not change. */
class Refusal extends Error {}

interface Request {
  readonly url: string;
  readonly body: string;
  readonly key: string;
}

async function post({ url, body, key }: Request, signal: AbortSignal): Promise<GateResult> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', 'idempotency-key': key },
    body,
    // Who can redirect can send the verdict's question anywhere.
    redirect: 'manual',
    signal,
  });
  const { status } = response;
  if (status < 200 || status > 299) {
    await response.body?.cancel();
    if (status >= 300 && status < 400)
      throw new Refusal(`the answer was a redirect (${status}), which is not followed`);
    const text = `the answer was ${status}`;
    // Too early, too many, too slow: another time it may be different.
    if (status >= 500 || status === 408 || status === 425 || status === 429) throw new Error(text);
    throw new Refusal(text);
  }
  return toResult(await readText(response));
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_ANSWER) throw new Refusal(`the answer was longer than ${MAX_ANSWER} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
}

function toResult(text: string): GateResult {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`the answer was not JSON: ${oneLine(text, 80)}`);
  }
  const { verdict, message } = (answer ?? {}) as { readonly verdict?: unknown; readonly message?: unknown };
  if (!VERDICTS.includes(verdict)) throw new Error(`the verdict was ${describe(verdict)}`);
  const said = typeof message === 'string' ? oneLine(message) : '';
  return { verdict: verdict as Verdict, message: said === '' ? `The webhook answered ${verdict}.` : said };
}

/** Ends the work after so many milliseconds, and with the signal. */
async function within<T>(ms: number, signal: AbortSignal, work: (ends: AbortSignal) => Promise<T>): Promise<T> {
  const ends = new AbortController();
  const late = new Error(`no answer within ${ms} ms`);
  const timer = setTimeout(() => ends.abort(late), ms);
  const abort = (): void => ends.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await work(ends.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal.addEventListener('abort', abort, { once: true });
  });
}

function checkUrl(name: string, value: unknown): string {
  const fail = (expected: string) => invalidOption(name, expected, value, 'ERR_PLAN_INVALID');
  if (typeof value !== 'string' || !URL.canParse(value)) throw fail('an http or https URL');
  const { protocol, username, password } = new URL(value);
  if (protocol !== 'http:' && protocol !== 'https:') throw fail('an http or https URL');
  // The plan is stored and shown.
  if (username !== '' || password !== '')
    throw invalidOption(name, 'a URL without user and password', '…', 'ERR_PLAN_INVALID');
  return value;
}
