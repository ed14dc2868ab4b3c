// What a controller does about a store that was away, went back in time, or was emptied.
import { AspiredError } from '../../errors.js';
import type { FleetStore, RolloutRecord } from '../store/types.js';
import { closeAsLost } from './lost-rollouts.js';
import { isAnyAhead, mendLostWrites } from './lost-writes.js';
import { StoreWatch } from './store-watch.js';

export interface StoreLossOptions {
  readonly store: FleetStore;
  readonly heartbeatIntervalMs: number;
  /** A clock that only goes on, in ms. */
  readonly clock: () => number;
  /** Hosts that are looked at for lost writes. */
  readonly hosts: () => readonly string[];
  /** Another one with each report of a host; undefined: it has no lease. */
  readonly markOf: (host: string) => string | undefined;
  /** Rollouts that this controller remembers as active. */
  readonly remembered: () => readonly RolloutRecord[];
  /** What is cached is not to be trusted; `all`: it is another fleet's. */
  readonly onDistrust: (all: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** See the top of the file. */
export class StoreLoss {
  private readonly watch: StoreWatch;
  /** Reports have not been compared with the store since something happened to it. */
  private suspicious = true;
  /** Active when the store lost them, and not closed yet. */
  private lost: readonly RolloutRecord[] = [];
  /** Hosts that have not reported since the last look, with their marks at that time. */
  private unheard = new Map<string, string | undefined>();

  constructor(private readonly options: StoreLossOptions) {
    this.watch = new StoreWatch(options.heartbeatIntervalMs);
  }

  get presence(): StoreWatch['presence'] {
    return this.watch.presence;
  }

  /** While hosts have not had the time to be heard after the store was away. */
  readonly grace = (): 'observation-grace' | undefined =>
    this.watch.graceLeft(this.options.clock()) > 0 ? 'observation-grace' : undefined;

  /** Observation grace, from now. */
  beginGrace(): void {
    this.watch.beginGrace(this.options.clock());
  }

  /** The store answered something. */
  answered(): void {
    if (this.watch.answered(this.options.clock())) this.suspect(false);
  }

  /** Asks whether it is the fleet that it was. False: the store does not have it, and nothing may be written. */
  async check(): Promise<boolean> {
    const { store, clock, remembered, onError } = this.options;
    switch (this.watch.sawMeta(await store.meta())) {
      case 'lost': {
        this.rememberLost();
        const ids = remembered().map(({ id }) => id);
        const active = ids.length === 0 ? '' : ` Active rollouts: ${ids.join(', ')}.`;
        onError(
          new AspiredError(
            'ERR_STORE_EMPTY',
            `The store has lost the fleet ${store.fleet}: hosts serve on, nothing is written until it is restored.${active}`,
          ),
        );
        break;
      }
      case 'replaced':
        this.rememberLost();
        this.watch.beginGrace(clock());
        this.suspect(true);
        break;
      default:
    }
    return this.watch.presence === 'present';
  }

  /** Asks the server whether its history is another one than it was: a replica that took over may lack writes. */
  async checkHistory(): Promise<void> {
    const { replicationId } = await this.options.store.health();
    if (!this.watch.sawReplicationId(replicationId)) return;
    this.watch.beginGrace(this.options.clock());
    this.suspect(false);
  }

  /** What is to be mended, once hosts had the time to say what they know. */
  async mend(): Promise<void> {
    const { store, hosts, markOf, onError } = this.options;
    if (this.presence !== 'present') return;
    const later: RolloutRecord[] = [];
    for (const record of this.lost) {
      const closed = await closeAsLost(store, record);
      if (closed === 'later') later.push(record);
      if (closed === 'closed') {
        const message = `Rollout ${record.id} was lost by the store while it was active: it is closed as StoreLost.`;
        onError(new AspiredError('ERR_STORE_EMPTY', message));
      }
    }
    this.lost = later;
    if (this.grace()) return;
    await this.hearLate();
    if (!this.suspicious) return;
    const asked = hosts();
    const marks = new Map(asked.map((host) => [host, markOf(host)]));
    // What is suspected from here on is for the next look.
    this.suspicious = false;
    try {
      const { done, unfinished } = await mendLostWrites(store, asked);
      if (unfinished) this.suspicious = true;
      this.unheard = marks;
      for (const message of done) onError(new AspiredError('ERR_ROLLOUT_CONFLICT', message));
    } catch (error) {
      this.suspicious = true;
      throw error;
    }
  }

  /** A host that was away at the last look, or slow to report, may be the only one that knows of what was lost. */
  private async hearLate(): Promise<void> {
    const { store, markOf } = this.options;
    const heard = [...this.unheard].flatMap(([host, before]) => {
      const mark = markOf(host);
      return mark === undefined || mark === before ? [] : [host];
    });
    if (heard.length === 0) return;
    if (await isAnyAhead(store, heard)) this.suspicious = true;
    for (const host of heard) this.unheard.delete(host);
  }

  private rememberLost(): void {
    const waiting = new Set(this.lost.map(({ id }) => id));
    this.lost = [...this.lost, ...this.options.remembered().filter(({ id }) => !waiting.has(id))];
  }

  private suspect(all: boolean): void {
    this.suspicious = true;
    this.options.onDistrust(all);
  }
}
