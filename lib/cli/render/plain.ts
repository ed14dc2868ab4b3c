// A rollout as one line, for logs and pipes.
import type { RolloutView } from '../../fleet/index.js';
import { countStates, goesBack, HOST_STATES } from '../view.js';
import { isoTime } from './text.js';
import { phaseName } from './tree.js';

/** The line of this moment. */
export function rolloutLine(view: RolloutView): string {
  const { id, model, plan, state, revision } = view.record;
  const counts = countStates(view, plan.hosts.keys());
  const goal = goesBack(state) ? 'back' : 'serving';
  const others = HOST_STATES.filter((of) => of !== goal && counts[of] > 0).map((of) => `, ${counts[of]} ${of}`);
  const wave = state.phase === 'Ended' ? '' : ` wave ${state.wave + 1}/${plan.waves.length}`;
  const why = state.phase === 'Ended' ? state.rollback?.reason : (state.rollback?.reason ?? state.hold?.message);
  return [
    `${isoTime(view.now)} ${id} ${model} v${plan.version} ${phaseName(state)}${wave} rev ${revision}:`,
    ` ${counts[goal]}/${plan.hosts.length} ${goal}${others.join('')}`,
    why === undefined ? '' : `; ${why}`,
  ].join('');
}

/** Equal for two moments that one line is enough for: time passes, and figures in a message move. */
export function momentKey(view: RolloutView): string {
  const { plan, state } = view.record;
  const { phase, wave, paused, outcome, hold, verdicts } = state;
  const judged = Object.entries(verdicts ?? {}).map(([index, { verdict }]) => [index, verdict]);
  return JSON.stringify([phase, wave, paused, outcome, hold?.code, judged, countStates(view, plan.hosts.keys())]);
}
