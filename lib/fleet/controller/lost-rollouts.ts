// Rollouts that were active when the store lost them: they are written down as ended, so that nobody asks in vain.
import type { FleetStore, RolloutRecord } from '../store/types.js';

/**
 * Closes a rollout that the restored store does not have. Done by every controller that remembers it; the first one
 * counts. 'known': it is in the store already. 'later': another rollout of the model is active, and a record can be made
 * only when none is.
 */
export async function closeAsLost(
  store: FleetStore,
  { id, model, plan, state }: RolloutRecord,
): Promise<'closed' | 'known' | 'later'> {
  if (await store.rollout(id)) return 'known';
  if ((await store.model(model))?.active !== undefined) return 'later';
  const { hold: _, ...rest } = state;
  const started = await store.startRollout({
    id,
    plan,
    state: { ...rest, phase: 'Ended', outcome: 'StoreLost' },
    force: true,
    actor: 'controller',
    reason: 'the store lost it while it was active',
    operation: `${id}-lost`,
  });
  if (started.outcome !== 'started') return started.outcome === 'duplicate' ? 'known' : 'later';
  await release(store, started.record);
  return 'closed';
}

/** Lets the next rollout of the model start: of a record that says Ended, and is the active one. */
export async function release(
  store: FleetStore,
  { id, model, revision, state }: Omit<RolloutRecord, 'plan'>,
): Promise<void> {
  await store.commit({
    rollout: id,
    model,
    expectRevision: revision,
    operation: `${id}-release`,
    state,
    stamps: ['endedAt'],
    writes: [],
    hosts: [],
    audit: { event: 'end', message: `ended as ${state.outcome}`, actor: 'controller', hosts: 0 },
    modelChange: { release: true },
  });
}
