// The hosts of the fleet as one model lives through them: who is up, who hears the store, at each moment of the timeline.
import { type Fault, HOSTS } from './timeline.js';

export class SimFleet {
  readonly up = new Uint8Array(HOSTS).fill(1);
  readonly cut = new Uint8Array(HOSTS);
  readonly boot = new Uint32Array(HOSTS);
  leasesStop = false;
  private next = 0;

  /** What is about the store is handed on, and whose host something has happened to. */
  constructor(
    private readonly faults: readonly Fault[],
    private readonly onStore: (kind: 'snapshot' | 'restore') => void,
    private readonly onHost: (host: number) => void,
  ) {}

  /** Until `now`. */
  advance(now: number): void {
    for (; this.next < this.faults.length; this.next++) {
      const { at, kind, host } = this.faults[this.next] as Fault;
      if (at > now) return;
      if (kind === 'kill') this.up[host] = 0;
      else if (kind === 'revive') this.revive(host);
      else if (kind === 'cut') this.cut[host] = 1;
      else if (kind === 'heal') this.cut[host] = 0;
      else if (kind === 'leases-stop') this.leasesStop = true;
      else if (kind === 'leases-go') this.leasesStop = false;
      else this.onStore(kind);
      if (host >= 0) this.onHost(host);
    }
  }

  private revive(host: number): void {
    if (this.up[host] === 1) return;
    this.up[host] = 1;
    this.boot[host] = (this.boot[host] as number) + 1;
  }
}
