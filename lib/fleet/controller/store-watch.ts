// What happened to the store while nobody looked: away for a while, restarted from older data, emptied.
import type { FleetMeta } from '../store/types.js';

/** Where the store stands. `unknown`: not asked yet. */
export type StorePresence = 'unknown' | 'present' | 'empty';

/**
 * Keeps the time since the store answered last, and its identity. All times are of one clock that only goes on, in
 * milliseconds: a process that was stopped for a while finds out here that its picture is old.
 */
export class StoreWatch {
  private lastAnswerAt: number | undefined;
  private graceEndsAt = 0;
  private identity: string | undefined;
  private replication: string | undefined;
  presence: StorePresence = 'unknown';

  /** @param heartbeatMs Interval of the agents: a store that was away for longer than one may show leases as ended. */
  constructor(private readonly heartbeatMs: number) {}

  /**
   * The store answered. True: it had been away, or this process had, for longer than a heartbeat interval: for two
   * intervals from now nothing is concluded from what hosts seem to do, and what was cached is not to be trusted.
   */
  answered(now: number): boolean {
    const away = this.lastAnswerAt === undefined ? 0 : now - this.lastAnswerAt;
    this.lastAnswerAt = now;
    if (away <= this.heartbeatMs) return false;
    this.beginGrace(now);
    return true;
  }

  /** Observation grace, from now. */
  beginGrace(now: number): void {
    this.graceEndsAt = now + 2 * this.heartbeatMs;
  }

  /** Milliseconds of observation grace that are left. */
  graceLeft(now: number): number {
    return Math.max(0, this.graceEndsAt - now);
  }

  /** How long the store has not answered, in ms. */
  silentFor(now: number): number {
    return this.lastAnswerAt === undefined ? 0 : now - this.lastAnswerAt;
  }

  /** What meta() said. 'replaced': the data is another fleet's, or was rebuilt: everything known of it is void. */
  sawMeta(meta: FleetMeta | undefined): 'same' | 'first' | 'lost' | 'replaced' {
    if (meta === undefined) {
      const before = this.presence;
      this.presence = 'empty';
      return before === 'present' ? 'lost' : 'same';
    }
    const before = this.identity;
    this.identity = meta.incarnation;
    this.presence = 'present';
    if (before === undefined) return 'first';
    return before === meta.incarnation ? 'same' : 'replaced';
  }

  /** What health() said of the server's history. True: it is another server's, writes may have been lost. */
  sawReplicationId(id: string | undefined): boolean {
    const before = this.replication;
    if (id !== undefined) this.replication = id;
    return before !== undefined && id !== undefined && before !== id;
  }
}
