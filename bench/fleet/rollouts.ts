import { setTimeout as sleep } from 'node:timers/promises';
import type { RolloutOutcome } from 'aspired/fleet';
import type { FleetStore } from '#lib/fleet/store/types.js';

/** Between two looks, in ms. */
const LOOK_MS = 50;

/** Waits for the end of a rollout; a look that the store does not answer is taken again. */
export async function ended(store: FleetStore, id: string, deadlineMs: number): Promise<RolloutOutcome> {
  const end = performance.now() + deadlineMs;
  let why: unknown = 'it never answered';
  while (performance.now() < end) {
    try {
      const record = await store.rolloutState(id);
      if (record?.state.outcome !== undefined) return record.state.outcome;
      why = record && `${record.state.phase}, wave ${record.state.wave}: ${record.state.hold?.message ?? 'no hold'}`;
    } catch (error) {
      why = error;
    }
    await sleep(LOOK_MS);
  }
  throw new Error(`The rollout did not end within ${deadlineMs} ms: ${why}`);
}
