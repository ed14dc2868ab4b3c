// The store's servers: one with an append-only file, and a replica of it.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { RedisServer } from '../../support/redis-server.js';
import type { Guard } from './guard.js';
import { within } from './waits.js';

const REWRITE_MS = 10_000;

/**
 * A process that is killed leaves what it wrote to the kernel, however often that is asked to write it to a disk. Asked by
 * default once a second, Redis answers now and then before it has written anything, while a slow disk is being waited for.
 */
const OPTIONS = { aof: true, args: ['--appendfsync', 'no'] };

export class RedisPair {
  readonly #ends: (() => Promise<void>)[];

  private constructor(
    readonly main: RedisServer,
    readonly replica: RedisServer,
    ends: (() => Promise<void>)[],
  ) {
    this.#ends = ends;
  }

  static async start(guard: Guard): Promise<RedisPair> {
    const ends: (() => Promise<void>)[] = [];
    const owner = { after: (end: () => Promise<void>) => void ends.push(end) };
    const main = await RedisServer.start(owner, OPTIONS);
    guard.folder(main.folder);
    const replica = await RedisServer.start(owner, { replicaOf: main });
    guard.folder(replica.folder);
    return new RedisPair(main, replica, ends);
  }

  /** The data as it is now, for restoreSnapshot(). */
  async snapshot(): Promise<void> {
    await this.main.command('SAVE');
  }

  /** Killed, and started again with the snapshot: what was written since then is lost. `killed` is called in between. */
  async restoreSnapshot(killed: () => void): Promise<void> {
    await this.main.kill();
    killed();
    rmSync(join(this.main.folder, 'appendonlydir'), { recursive: true, force: true });
    await this.main.restart({ aof: false });
    await this.main.command('CONFIG', 'SET', 'appendonly', 'yes');
    // Until it is written once as a whole, the file is not what a restart would need.
    const isWritten = async (): Promise<boolean> => {
      const { aof_rewrite_in_progress, aof_rewrite_scheduled } = await this.main.info('persistence');
      return aof_rewrite_in_progress === '0' && aof_rewrite_scheduled === '0';
    };
    if (!(await within(REWRITE_MS, isWritten))) throw new Error('The append-only file was not written.');
  }

  /** Killed, and started again with its append-only file. */
  async restart(): Promise<void> {
    await this.main.restart(OPTIONS);
  }

  async stop(): Promise<void> {
    for (const server of [this.main, this.replica]) server.resume();
    await Promise.all(this.#ends.map((end) => end()));
  }
}
