// Steps: how a tick says what it wants done.
import { verdictsOf } from './gates-step.js';
import type { Hold, RolloutPhase, RolloutState, RolloutStep } from './types.js';
import type { Tick, Work } from './work.js';

/** Who acts where no operator does. */
export const CONTROLLER = 'controller';

const SOONEST_MS = 100;
const LATEST_MS = 2000;

/** The state in another phase of the same or another wave: without what belongs to the phase that is left. */
export function inPhase(state: RolloutState, phase: RolloutPhase, wave = state.wave): RolloutState {
  const same = wave === state.wave;
  // To copy an object is cheap, to leave properties out is not.
  const isBare = state.frozenIn === undefined && state.hold === undefined;
  if (isBare && (same || (state.skipWave === undefined && state.verdicts === undefined)))
    return { ...state, phase, wave };
  const { frozenIn: _frozen, hold: _hold, skipWave, verdicts, ...rest } = state;
  return {
    ...rest,
    phase,
    wave,
    ...(same && skipWave ? { skipWave } : {}),
    ...(same && verdicts ? { verdicts } : {}),
  };
}

export interface StepParts {
  readonly event: string;
  readonly message: string;
  readonly actor?: string;
  readonly work?: Work;
  readonly stamps?: RolloutStep['stamps'];
  readonly hold?: Hold | undefined;
  readonly model?: RolloutStep['model'];
  readonly verbs?: RolloutStep['verbs'];
  readonly ask?: readonly number[];
}

/** A step that is to be committed: the phase's stamp, the record's figures and the audit line come with it. */
export function changed(tick: Tick, state: RolloutState, parts: StepParts): RolloutStep {
  const writes = parts.work?.writes ?? [];
  const entered = state.phase !== tick.state.phase || state.wave !== tick.state.wave;
  const { stamps = [] } = parts;
  const measured = Math.max(tick.seen.measuredBytes, state.measuredBytes ?? 0);
  const { hold } = parts;
  return {
    changed: true,
    state: withFigures(state, measured, verdictsOf(tick, state), hold),
    stamps: entered && !stamps.includes('phaseAt') ? [...stamps, 'phaseAt'] : stamps,
    writes,
    audit: {
      event: parts.event,
      message: parts.message,
      actor: parts.actor ?? CONTROLLER,
      hosts: writes.length,
    },
    ...(parts.verbs ? { verbs: parts.verbs } : {}),
    ...(parts.model ? { model: parts.model } : {}),
    ask: parts.ask ?? [],
    againInMs: 0,
  };
}

function withFigures(
  state: RolloutState,
  measured: number,
  verdicts: RolloutState['verdicts'],
  hold: Hold | undefined,
): RolloutState {
  const { hold: _old, verdicts: _verdicts, ...rest } = state;
  return {
    ...rest,
    ...(measured > 0 ? { measuredBytes: measured } : {}),
    ...(verdicts ? { verdicts } : {}),
    ...(hold ? { hold } : {}),
  };
}

/** Nothing to commit; look again when something may have changed: soon after the last change, less often later. */
export function unchanged(
  tick: Tick,
  state: RolloutState,
  hold: Hold | undefined,
  ask: readonly number[],
): RolloutStep {
  return {
    changed: false,
    state: hold ? { ...state, hold } : withoutHold(state),
    stamps: [],
    writes: [],
    ask,
    againInMs: lookAgainInMs(tick, hold),
  };
}

function withoutHold(state: RolloutState): RolloutState {
  if (state.hold === undefined) return state;
  const { hold: _hold, ...rest } = state;
  return rest;
}

function lookAgainInMs({ seen }: Tick, hold: Hold | undefined): number {
  const quiet = seen.now - Math.max(seen.stamps.phaseAt, seen.stamps.progressAt);
  const wait = Math.min(LATEST_MS, Math.max(SOONEST_MS, quiet / 4));
  return Math.ceil(hold?.until === undefined ? wait : Math.max(1, Math.min(wait, hold.until - seen.now)));
}
