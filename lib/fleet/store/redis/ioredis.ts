// The one place that loads ioredis: an optional peer, so that nobody pays for it who has no fleet.
import { AspiredError } from '../../../errors.js';

/**
 * Its class of connections.
 *
 * @throws AspiredError ERR_PEER_NOT_FOUND
 */
export async function loadIoredis(): Promise<typeof import('ioredis').Redis> {
  let Redis: typeof import('ioredis').Redis;
  try {
    ({ Redis } = await import('ioredis'));
  } catch (error) {
    throw notFound('it is not installed', error);
  }
  // The first one that subscribes and commands on one connection: protocol 3 is its default.
  const probe = new Redis({ lazyConnect: true });
  const { protocol } = probe.options;
  probe.disconnect();
  if (protocol !== 3) throw notFound('the installed one is older');
  return Redis;
}

function notFound(why: string, cause?: unknown): AspiredError {
  const message = `The Redis store of a fleet needs ioredis 6 or newer, and ${why}. Type: npm install ioredis@^6`;
  return new AspiredError('ERR_PEER_NOT_FOUND', message, cause === undefined ? {} : { cause });
}
