// What happens to the fleet of one seed, whatever the models do: hosts die, return, flap, lose the store; the store loses
// writes or all leases. One list in the order of time, which every model of the seed lives through.
import type { Dice } from './dice.js';

export const HOSTS = 1000;
export const ZONES = 4;
/** No fault begins later, and all of them end soon after. */
export const FAULTS_END_MS = 90_000;
export const LEASE_MS = 5000;

export type FaultKind =
  | 'kill'
  | 'revive'
  /** It serves on, and neither hears the store nor is heard. */
  | 'cut'
  | 'heal'
  /** No lease is renewed. */
  | 'leases-stop'
  | 'leases-go'
  /** What is written from now on is lost at the next 'restore'. */
  | 'snapshot'
  | 'restore';

export interface Fault {
  readonly at: number;
  readonly kind: FaultKind;
  readonly host: number;
}

/** The faults of a seed; every fifth seed has none. */
export function faultsOf(dice: Dice): readonly Fault[] {
  const faults: Fault[] = [];
  if (dice.chance(0.2)) return faults;
  const add = (at: number, kind: FaultKind, host = -1): void => {
    faults.push({ at, kind, host });
  };
  for (let i = dice.between(0, 60); i > 0; i--) {
    const at = dice.between(0, FAULTS_END_MS);
    const host = dice.between(0, HOSTS - 1);
    const kinds = dice.chance(0.7) ? (['kill', 'revive'] as const) : (['cut', 'heal'] as const);
    add(at, kinds[0], host);
    add(at + dice.between(200, 30_000), kinds[1], host);
  }
  for (let i = dice.between(0, 3); i > 0; i--) flap(dice, add);
  if (dice.chance(0.3)) {
    const at = dice.between(1000, FAULTS_END_MS);
    add(at, 'leases-stop');
    add(at + dice.between(LEASE_MS, 4 * LEASE_MS), 'leases-go');
  }
  if (dice.chance(0.3)) {
    const at = dice.between(1000, FAULTS_END_MS);
    add(at, 'snapshot');
    add(at + dice.between(100, 8000), 'restore');
  }
  return faults.sort((a, b) => a.at - b.at);
}

function flap(dice: Dice, add: (at: number, kind: FaultKind, host: number) => void): void {
  const host = dice.between(0, HOSTS - 1);
  let at = dice.between(0, FAULTS_END_MS / 2);
  for (let i = dice.between(3, 10); i > 0; i--) {
    add(at, 'kill', host);
    at += dice.between(500, 5000);
    add(at, 'revive', host);
    at += dice.between(500, 5000);
  }
}
