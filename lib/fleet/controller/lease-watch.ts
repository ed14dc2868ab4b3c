// Whether hosts died, or the way to them did. A lease that ends says that a host has not been heard of; many that end
// within the same moments say more about the store or the network than about the hosts.

/** Share of the living hosts that may lose their lease within the window and be believed dead. */
const MASS_SHARE = 0.2;
/** Fewer are believed whatever the share: a fleet of three may lose one. */
const MASS_MINIMUM = 3;

/** Whether so many of so many say more about the store than about the hosts. */
export function isMass(count: number, of: number): boolean {
  return count >= MASS_MINIMUM && count > MASS_SHARE * of;
}

/** What the leases say of one host that takes part (cordoned hosts do not). */
export interface LeaseSeen {
  readonly host: string;
  readonly alive: boolean;
  /** It is not, and was before anybody looked: of the first sweep. */
  readonly wasAlive?: boolean;
}

/**
 * Tells a mass expiry from deaths. Hosts that went together are held until enough of them are back, or an operator
 * cordons or removes them: it is never concluded that they are dead. Whoever begins to look cannot know how those went that
 * are silent already, and takes it that they went together.
 */
export class LeaseWatch {
  private readonly alive = new Set<string>();
  /** When a lease that was there was missed first. */
  private readonly lost = new Map<string, number>();
  private heldHosts = new Set<string>();

  /** @param windowMs Leases end spread over a heartbeat interval when all are cut off at once: two of them. */
  constructor(private readonly windowMs: number) {}

  /** Hosts whose leases ended together and that are not back; empty: nothing is held. */
  get held(): ReadonlySet<string> {
    return this.heldHosts;
  }

  /** One sweep, at `now` of a clock that only goes on. */
  update(now: number, sweep: readonly LeaseSeen[]): void {
    const listed = new Set<string>();
    for (const { host, alive, wasAlive } of sweep) {
      listed.add(host);
      if (wasAlive) this.alive.add(host);
      this.note(now, host, alive);
    }
    for (const host of [...this.alive, ...this.lost.keys(), ...this.heldHosts]) {
      if (!listed.has(host)) this.forget(host);
    }
    this.judge(now);
  }

  /** What the lease of one host says; judge() follows when all have been looked at. */
  note(now: number, host: string, alive: boolean): void {
    if (alive) {
      this.alive.add(host);
      this.lost.delete(host);
      this.heldHosts.delete(host);
    } else if (this.alive.delete(host)) {
      this.lost.set(host, now);
    }
  }

  /** After the store lost its data, or this process slept: nothing that was seen before counts. */
  reset(): void {
    this.alive.clear();
    this.lost.clear();
    this.heldHosts = new Set();
  }

  /** What it makes of what was noted. */
  judge(now: number): void {
    for (const [host, at] of this.lost) {
      if (now - at > this.windowMs && !this.heldHosts.has(host)) this.lost.delete(host);
    }
    const isMany = (count: number): boolean => isMass(count, this.alive.size + this.lost.size);
    if (isMany(this.lost.size)) for (const host of this.lost.keys()) this.heldHosts.add(host);
    else if (this.heldHosts.size > 0 && !isMany(this.heldHosts.size)) {
      // Enough are back: the rest did die.
      for (const host of this.heldHosts) this.lost.delete(host);
      this.heldHosts = new Set();
    }
  }

  private forget(host: string): void {
    this.alive.delete(host);
    this.lost.delete(host);
    this.heldHosts.delete(host);
  }
}
