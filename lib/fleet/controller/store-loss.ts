// What a controller does about a store that was away, went back in time, or was emptied.
import { AspiredError } from '../../errors.js';
import type { FleetStore, RolloutRecord } from '../store/types.js';
import { closeAsLost } from './lost-rollouts.js';
import { mendLostWrites } from './lost-writes.js';
import { StoreWatch } from './store-watch.js';

export interface StoreLossOptions {
  readonly store: FleetStore;
  readonly heartbeatIntervalMs: number;
  /** A clock that only goes on, in ms. */
  readonly clock: () => number;
  /** Hosts that are looked at for lost writes. */
  readonly hosts: () => readonly string[];
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
    const { store, hosts, onError } = this.options;
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
    if (!this.suspicious || this.grace()) return;
    const { done, unfinished } = await mendLostWrites(store, hosts());
    this.suspicious = unfinished;
    for (const message of done) onError(new AspiredError('ERR_ROLLOUT_CONFLICT', message));
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
