// Verbs: what an operator wants, and the answer. Each one has one in every phase:
//
//               Pending  Prefetch..Bake  Contract  Frozen   Rollback  Ended
//   pause       applied  applied         applied   no-op    refused   no-op      no-op while paused already
//   resume      no-op    no-op           no-op     applied  refused   refused    applied while paused
//   promote     applied  applied         no-op*    applied  refused   refused    no-op when nothing is left to skip
//   promote-full applied applied         applied*  applied  refused   refused    no-op when nothing is left to skip
//   freeze      applied  applied         applied   no-op    refused   no-op
//   retry       refused  refused*        refused   applied  refused   refused    applied while a gate lacks data
//   abort       applied  applied         applied   applied  no-op     no-op
//   undo        applied  applied         applied   applied  no-op     refused
//
// Rollback also is a rollout that is nothing but a rollback (undo.ts) and has not begun. promote in Contract is a no-op
// because the wave has passed; while paused it resumes. promote-full in Contract is applied when waves are left.
// abort and undo go back, and differ in the name of the end: abort says that the rollout was no good, undo that the
// version is not wanted. Both tombstone the version: to try it again is to start a rollout with force.
import { skipsGates } from './gates-step.js';
import { enterRollback, rollbackState } from './rollback.js';
import { changed, inPhase } from './step.js';
import type { Hold, PendingVerb, RolloutPhase, RolloutStamp, RolloutState, RolloutStep, VerbAnswer } from './types.js';
import { isLast, type Tick } from './work.js';

type Outcome = VerbAnswer['outcome'];

/** What a verb makes of the state. */
interface Effect {
  readonly outcome: Outcome;
  readonly message: string;
  readonly state?: RolloutState;
}

const applied = (state: RolloutState, message: string): Effect => ({ outcome: 'applied', message, state });
const noOp = (message: string): Effect => ({ outcome: 'no-op', message });
const refused = (message: string): Effect => ({ outcome: 'refused', message });

/** The step that answers all verbs that wait; what they lead to begins in the same commit, or in the next tick. */
export function verbStep(tick: Tick): RolloutStep {
  let { state } = tick;
  const answers: VerbAnswer[] = [];
  for (const pending of tick.seen.verbs) {
    const effect = effectOf(tick, state, pending);
    state = effect.state ?? state;
    answers.push({ id: pending.id, verb: pending.verb, outcome: effect.outcome, message: effect.message });
  }
  const last = tick.seen.verbs.at(-1) as PendingVerb;
  const parts = {
    event: last.verb,
    actor: last.actor,
    message: answers.map(({ verb, outcome, message }) => `${verb}: ${outcome}, ${message}`).join('; '),
    verbs: { upTo: last.id, answers },
  };
  if (state.phase === 'Rollback' && tick.state.phase !== 'Rollback') return enterRollback(tick, state, parts);
  const hold = holdAfter(state, last);
  // A bake begins anew when an operator takes it up again: nobody watched in between.
  const stamps: RolloutStamp[] = state.deadlineFrom === tick.state.deadlineFrom ? [] : ['phaseAt'];
  return changed(tick, state, { ...parts, hold, stamps });
}

/** The answers of an ended rollout: nothing can be committed to it any more. */
export function answersAfterEnd(verbs: readonly PendingVerb[], state: RolloutState): RolloutStep['verbs'] {
  const last = verbs.at(-1);
  if (!last) return undefined;
  const answers = verbs.map(({ id, verb }): VerbAnswer => ({ id, verb, ...answerAfterEnd(verb, state) }));
  return { upTo: last.id, answers };
}

/** What stops it has nothing to stop; what would make it go on is refused. */
export function answerAfterEnd(verb: PendingVerb['verb'], { outcome }: RolloutState): Omit<VerbAnswer, 'id' | 'verb'> {
  const ended = `It has ended (${outcome})`;
  switch (verb) {
    case 'pause':
    case 'freeze':
    case 'abort':
      return { outcome: 'no-op', message: ended };
    case 'undo':
      return { outcome: 'refused', message: `${ended}; undo of the model starts a rollout back to the version before` };
    default:
      return { outcome: 'refused', message: `${ended}; retry starts its plan anew` };
  }
}

function holdAfter(state: RolloutState, { actor, reason }: PendingVerb): Hold | undefined {
  if (state.phase === 'Frozen') return state.hold;
  if (state.paused) return { code: 'paused', message: `Paused by ${actor}: ${reason}`, hosts: [], hostCount: 0 };
  return undefined;
}

const IN_ROLLBACK: Readonly<Record<PendingVerb['verb'], Effect>> = {
  pause: refused('A rollback is not paused'),
  resume: refused('A rollback goes on by itself'),
  promote: refused('It is being rolled back; start the version again, with force, when that is done'),
  'promote-full': refused('It is being rolled back; start the version again, with force, when that is done'),
  freeze: refused('A rollback is not frozen'),
  retry: refused('It is being rolled back; start the version again, with force, when that is done'),
  abort: noOp('It is being rolled back already'),
  undo: noOp('It is being rolled back already'),
};

function effectOf(tick: Tick, state: RolloutState, pending: PendingVerb): Effect {
  const { verb, actor, reason } = pending;
  if (state.phase === 'Rollback' || state.rollback) return IN_ROLLBACK[verb];
  const by = `${actor}: ${reason}`;
  switch (verb) {
    case 'pause':
      return pause(state);
    case 'resume':
      return resume(tick, state);
    case 'promote':
      return promote(tick, state);
    case 'promote-full':
      return promoteFull(tick, state);
    case 'freeze':
      return freeze(state, by);
    case 'retry':
      return retry(tick, state);
    case 'abort':
      return back(state, 'Aborted', `aborted by ${by}`);
    case 'undo':
      return back(state, 'Undone', `undone by ${by}`);
  }
}

function pause(state: RolloutState): Effect {
  if (state.phase === 'Frozen') return noOp('It is frozen, and stands still already');
  if (state.paused) return noOp('It is paused already');
  return applied({ ...state, paused: true }, 'Paused: no step forward; gates and deadlines go on');
}

function resume(tick: Tick, state: RolloutState): Effect {
  if (state.phase === 'Frozen')
    return applied(thawed(tick, state), `Goes on in ${frozenIn(state)}, gates are asked anew`);
  if (!state.paused) return noOp('It is not paused');
  return applied({ ...state, paused: false }, `Goes on in ${state.phase}`);
}

function promote(tick: Tick, state: RolloutState): Effect {
  if (state.phase === 'Frozen') {
    return applied({ ...thawed(tick, state), skipWave: true }, `Wave ${state.wave + 1} goes on without bake and gates`);
  }
  if (state.phase === 'Contract' || skipsGates(state)) {
    if (!state.paused) return noOp(`Wave ${state.wave + 1} waits for no bake and no gate`);
    return applied({ ...state, paused: false }, `Goes on in ${state.phase}`);
  }
  return applied({ ...state, skipWave: true, paused: false }, `Wave ${state.wave + 1} goes on without bake and gates`);
}

function promoteFull(tick: Tick, state: RolloutState): Effect {
  const message = 'No wave waits for bake and gates any more; readiness and budgets hold on';
  if (state.phase === 'Frozen') return applied({ ...thawed(tick, state), skipAll: true }, message);
  const through = state.phase === 'Contract' && isLast(tick.layout, state);
  if (!through && !state.skipAll) return applied({ ...state, skipAll: true, paused: false }, message);
  if (state.paused) return applied({ ...state, paused: false }, `Goes on in ${state.phase}`);
  return noOp('No wave waits for bake and gates');
}

function freeze(state: RolloutState, by: string): Effect {
  if (state.phase === 'Frozen') return noOp('It is frozen already');
  return applied(frozenState(state, `frozen by ${by}`), 'Frozen: resume, promote or abort it');
}

function retry(tick: Tick, state: RolloutState): Effect {
  if (state.phase === 'Frozen')
    return applied(thawed(tick, state), `Goes on in ${frozenIn(state)}, gates are asked anew`);
  if (state.hold?.code === 'gate-insufficient-data') {
    const { hold: _hold, verdicts: _verdicts, ...rest } = state;
    return applied({ ...rest, gateAttempt: (state.gateAttempt ?? 0) + 1 }, 'Gates are asked anew');
  }
  return refused(
    'Nothing has failed that could be tried again; to begin anew, abort it and start the version with force',
  );
}

function back(state: RolloutState, outcome: 'Aborted' | 'Undone', reason: string): Effect {
  const message = state.from === undefined ? 'Going back to no version' : `Going back to version ${state.from}`;
  return applied(rollbackState(state, { outcome, reason, tombstone: true }), message);
}

function frozenIn(state: RolloutState): RolloutPhase {
  return state.frozenIn ?? 'Prefetch';
}

/** Frozen where it is: hosts keep what they have, an operator decides. */
export function frozenState(state: RolloutState, reason: string): RolloutState {
  const hold: Hold = { code: 'frozen', message: `Frozen in ${state.phase}: ${reason}`, hosts: [], hostCount: 0 };
  return { ...inPhase(state, 'Frozen'), frozenIn: state.phase, hold };
}

// The deadlines begin anew: an operator has taken over, and a rollout that froze at its deadline could not go on else.
function thawed(tick: Tick, state: RolloutState): RolloutState {
  const { verdicts: _verdicts, ...rest } = inPhase(state, frozenIn(state));
  return { ...rest, paused: false, gateAttempt: (state.gateAttempt ?? 0) + 1, deadlineFrom: tick.seen.now };
}
