// What Redis and its client say, in our codes.
import type { AspiredErrorCode } from '../../../error-codes.js';
import { AspiredError, messageOf } from '../../../errors.js';

// A script's failure begins with the code of the command that failed; older servers put it in the middle, with a dash.
const CODES: readonly (readonly [RegExp, AspiredErrorCode])[] = [
  [/^(?:WRONGPASS|NOAUTH|NOPERM)\b|-NOPERM |^ERR invalid password|^ERR AUTH /, 'ERR_STORE_DENIED'],
  // Of a command inside of a script, in Redis 7.0.
  [/^ERR The user executing the script can't /, 'ERR_STORE_DENIED'],
  [/^(?:READONLY|OOM|MISCONF|NOREPLICAS)\b|-(?:READONLY|OOM|MISCONF|NOREPLICAS) /, 'ERR_STORE_READ_ONLY'],
  [/^(?:LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|UNBLOCKED)\b/, 'ERR_STORE_UNAVAILABLE'],
  [/^ERR unknown (?:command|subcommand)\b|^NOPROTO\b/, 'ERR_STORE_UNSUPPORTED'],
  // Any other answer of the server is a mistake of ours.
  [/^(?:ERR|WRONGTYPE|CROSSSLOT|NOSCRIPT|MOVED|ASK|EXECABORT)\b/, 'ERR_INTERNAL'],
];

const HINTS: Partial<Record<AspiredErrorCode, string>> = {
  ERR_STORE_DENIED: 'Redis refuses this user',
  ERR_STORE_READ_ONLY: 'Redis takes no writes',
  ERR_STORE_UNAVAILABLE: 'Redis does not answer',
  ERR_STORE_UNSUPPORTED: 'This Redis is too old, the fleet needs 7.0 or newer',
  ERR_INTERNAL: 'Redis did not understand',
};

/** The error of a call that failed with what the client threw. */
export function storeError(what: string, thrown: unknown): AspiredError {
  if (thrown instanceof AspiredError) return thrown;
  const said = messageOf(thrown);
  // Everything without a code of Redis comes from the connection: it broke, or is not there.
  const code = CODES.find(([pattern]) => pattern.test(said))?.[1] ?? 'ERR_STORE_UNAVAILABLE';
  return new AspiredError(code, `${HINTS[code]} (${what}): ${said}`, { cause: thrown });
}

export function unavailable(what: string, why: string, cause?: unknown): AspiredError {
  const options = cause === undefined ? {} : { cause };
  return new AspiredError('ERR_STORE_UNAVAILABLE', `Redis does not answer (${what}): ${why}`, options);
}

/** The first version that has sharded doorbells. */
const OLDEST = 7;

/** The error of a server whose INFO says an older version than is needed; undefined: it will do, or does not say. */
export function tooOld(info: string): AspiredError | undefined {
  const version = /redis_version:(\S+)/.exec(info)?.[1];
  if (version === undefined || Number.parseInt(version, 10) >= OLDEST) return undefined;
  return new AspiredError('ERR_STORE_UNSUPPORTED', `The fleet needs Redis ${OLDEST}.0 or newer; this is ${version}.`);
}
