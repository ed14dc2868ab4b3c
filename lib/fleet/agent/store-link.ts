// The one connection to the store: the caller's, or our own, which is opened when it is first needed and tried again by the
// next heartbeat.
import { AspiredError } from '../../errors.js';
import type { HostStore } from '../store/types.js';
import type { AgentStoreOption } from './options.js';
import { answered } from './pause.js';

export class StoreLink {
  private opening: Promise<HostStore> | undefined;
  private store: HostStore | undefined;
  private closed = false;

  constructor(
    private readonly option: AgentStoreOption,
    private readonly fleet: string,
    private readonly timeoutMs: number,
  ) {}

  /** The store, opened. Rejects with why it cannot be; a later call tries again. */
  async open(): Promise<HostStore> {
    if (this.closed) throw new AspiredError('ERR_FLEET_CLOSED', 'The agent is closed.');
    if (this.store) return this.store;
    // One attempt at a time, also when it takes longer than we wait for it.
    this.opening ??= this.connect();
    return answered('connecting', this.timeoutMs, this.opening);
  }

  private async connect(): Promise<HostStore> {
    try {
      const store = await this.make();
      if (this.closed) await store.close().catch(() => {});
      this.store = store;
      return store;
    } finally {
      this.opening = undefined;
    }
  }

  private async make(): Promise<HostStore> {
    if (!('redis' in this.option)) return this.option;
    const { RedisStore } = await import('../store/redis-store.js');
    return RedisStore.connect({ url: this.option.redis, fleet: this.fleet, role: 'agent' });
  }

  /** The store when it is open. */
  get current(): HostStore | undefined {
    return this.closed ? undefined : this.store;
  }

  /** Closes what was opened here; a store of the caller stays open. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    if (!('redis' in this.option)) return;
    await this.store?.close().catch(() => {});
  }
}
