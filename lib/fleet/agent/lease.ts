// Whose lease it is. An id that another living agent has is a mistake of an operator; a lease of our own earlier boot is what a
// crash leaves behind, and runs out by itself.
import { AspiredError } from '../../errors.js';
import type { EarlierBoot } from './boot.js';

/** What to make of a lease that another boot holds. */
export type Held = 'ours-gone' | 'ours-maybe' | 'other';

export class LeaseWatch {
  private given = false;
  private since: { readonly bootId: string; readonly at: number } | undefined;

  constructor(
    private readonly earlier: EarlierBoot | undefined,
    private readonly leaseMs: number,
  ) {}

  /** @param now Of a clock that only goes forward, in ms. */
  heldBy(bootId: string, now: number): Held {
    if (this.since?.bootId !== bootId) this.since = { bootId, at: now };
    if (this.earlier?.bootId !== bootId || this.given) return 'other';
    if (this.earlier.fate === 'gone') return 'ours-gone';
    // Nobody renews the lease of a process that is gone.
    return this.earlier.fate === 'unknown' && now - this.since.at <= 1.5 * this.leaseMs ? 'ours-maybe' : 'other';
  }

  /** The lease of the earlier boot was given back: whoever holds it now is somebody else. */
  gaveBack(): void {
    this.given = true;
  }

  free(): void {
    this.since = undefined;
  }
}

export function hostConflict(fleet: string, host: string, bootId: string): AspiredError {
  const message =
    `Another agent (boot ${bootId}) holds the lease of host ${host} in the fleet ${fleet}. This one serves on what it has ` +
    'accepted, follows nothing, and tries again. Give each host an id of its own.';
  return new AspiredError('ERR_HOST_CONFLICT', message);
}
