// One sentence for an operator: where a rollout is, why it does not go on, on account of which hosts, and since when.
import type { RolloutRecord } from '../store/types.js';
import { count } from './text.js';
import type { Hold } from './types.js';

/** What a rollout does now, and why it does not go on; times are the store's, UTC. */
export function explain(record: RolloutRecord): string {
  const { plan, state, stamps } = record;
  const what = `${plan.model} ${state.from === undefined ? '' : `${state.from} → `}${plan.version}`;
  if (state.phase === 'Ended') {
    const why = state.rollback ? `: ${state.rollback.reason}` : '';
    return `${what} ended ${at(stamps.endedAt ?? stamps.phaseAt)}, ${state.outcome}${why}.`;
  }
  const since = at(stamps.phaseAt);
  const where =
    state.phase === 'Rollback' || state.phase === 'Pending' || state.phase === 'Frozen'
      ? `is ${IS[state.phase]}`
      : `is in ${state.phase} of wave ${state.wave + 1} of ${plan.waves.length} (${plan.waves[state.wave]})`;
  const why = state.rollback ? `, because ${state.rollback.reason}` : '';
  const hold = state.hold ? `: ${sentence(state.hold)}` : ', and goes on';
  return `${what} ${where} since ${since}${why}${hold}.`;
}

const IS = { Rollback: 'going back', Pending: 'about to start', Frozen: 'frozen' } as const;

function sentence({ message, hosts, hostCount, until }: Hold): string {
  const more = hostCount - hosts.length;
  const names = hosts.length === 0 ? '' : ` (${hosts.join(', ')}${more > 0 ? ` and ${count(more, 'host')} more` : ''})`;
  return `${message}${names}${until === undefined ? '' : `, until ${at(until)}`}`;
}

function at(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}
