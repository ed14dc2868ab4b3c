// Whether replicas have what was written.
import type { RedisConnection } from './connection.js';

/** How long the key lives that is written for it. */
const KEPT_MS = 3_600_000;

// A key that is there only gets another end: that grows nothing. PEXPIRE is what a full server (noeviction) still takes, and
// once a script has sent it, also the SET of the first time.
const TOUCH = "if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end";

/**
 * Waits until `replicas` replicas have everything that was written before this call, by whomever; answers how many have.
 *
 * WAIT goes by the last write of its own connection. From Redis 7.2 on a connection that has only read counts every replica,
 * also one that is hours behind: so this one writes first. In one pipeline, which ioredis never sends again in halves; and
 * as EVAL, because EVALSHA may come back with NOSCRIPT and be sent anew behind the WAIT.
 */
export async function confirm(connection: RedisConnection, replicas: number, timeoutMs: number): Promise<number> {
  const { keys, commandTimeoutMs } = connection;
  const ms = Math.max(1, Math.min(timeoutMs, commandTimeoutMs));
  const commands = [
    ['eval', TOUCH, '1', keys.confirm, String(KEPT_MS)],
    ['wait', String(replicas), String(ms)],
  ];
  const [, count] = await connection.pipeline('confirm', commands, ms + commandTimeoutMs);
  return Number(count);
}
