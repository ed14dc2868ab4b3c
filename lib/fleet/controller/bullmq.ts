// The one place that imports bullmq: an optional peer, which programs without queues need not have.
import { createRequire } from 'node:module';
import { AspiredError, messageOf } from '../../errors.js';

export type BullMq = typeof import('bullmq');

/** Older ones stop consuming for ever after an outage of Redis of some 20 seconds. */
const OLDEST = [6, 3, 5] as const;

/** @throws AspiredError ERR_PEER_NOT_FOUND: not installed, or too old */
export async function loadBullMq(): Promise<BullMq> {
  const version = installedVersion();
  if (isOlder(version)) {
    throw missing(`bullmq ${version} is installed, and stops consuming after an outage of Redis`);
  }
  try {
    return await import('bullmq');
  } catch (error) {
    throw missing(`bullmq cannot be imported (${messageOf(error)})`, error);
  }
}

/** Whether a version like '6.3.0' is too old. */
export function isOlder(version: string): boolean {
  const parts = version.split(/[.+-]/).slice(0, 3).map(Number);
  for (const [index, least] of OLDEST.entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}

function installedVersion(): string {
  try {
    return String((createRequire(import.meta.url)('bullmq/package.json') as { version: unknown }).version);
  } catch (error) {
    throw missing('bullmq is not installed', error);
  }
}

function missing(what: string, cause?: unknown): AspiredError {
  const message = `A fleet in Redis needs bullmq ${OLDEST.join('.')} or newer, and ${what}: npm install bullmq ioredis`;
  return new AspiredError('ERR_PEER_NOT_FOUND', message, cause === undefined ? {} : { cause });
}
