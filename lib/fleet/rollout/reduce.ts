// The reducer: from a plan, a state and an observation to the next step. Pure: no clock, no I/O, no memory.
//
// In this order, always: ended? verbs, deadlines, the store and its witnesses, observations and gates, progress. What
// comes later never keeps what comes earlier from being looked at: a canary that never becomes ready cannot hang an abort
// or a deadline.
import { bakeHold, failedGate, gateHold, gatesToAsk, isOpen, verdictsChanged } from './gates-step.js';
import {
  budgetHold,
  hostsHold,
  isOutdated,
  minAliveHold,
  plainHold,
  quorumLost,
  quorumOf,
  storeHold,
} from './holds.js';
import { layoutOf } from './layout.js';
import { enterRollback, rollbackState, rollbackStep } from './rollback.js';
import { CONTROLLER, changed, inPhase, unchanged } from './step.js';
import { count, span, witnessText } from './text.js';
import type { Hold, Observation, RolloutPhase, RolloutPlan, RolloutState, RolloutStep } from './types.js';
import { answersAfterEnd, frozenState, verbStep } from './verbs.js';
import { collect, isLast, needMib, readyHosts, scopeOf, type Tally, type Tick, tallyOf, type Work } from './work.js';

/** Phases that wait for hosts: the progress deadline is for them. */
const WAITS_FOR_HOSTS: ReadonlySet<RolloutPhase> = new Set(['Prefetch', 'Expand', 'WaitReady', 'Flip', 'Contract']);
/** A wave that goes on needs its hosts alive. */
const NEEDS_ALIVE: ReadonlySet<RolloutPhase> = new Set(['Prefetch', 'Expand', 'WaitReady', 'Flip', 'Bake']);

/**
 * The state of a rollout that starts.
 *
 * @param start `from`: the stable version; undefined: the model is new.
 */
export function firstState(
  _plan: RolloutPlan,
  { from, actor, reason }: { readonly from?: number | undefined; readonly actor: string; readonly reason: string },
): RolloutState {
  return {
    phase: 'Pending',
    wave: 0,
    ...(from === undefined ? {} : { from }),
    paused: false,
    highWater: 0,
    actor,
    reason,
  };
}

/** The next step of a rollout. It takes microseconds for 1,000 hosts. */
export function reduce(plan: RolloutPlan, state: RolloutState, seen: Observation): RolloutStep {
  const tick: Tick = {
    plan,
    layout: layoutOf(plan),
    state,
    seen,
    hasOld: state.from !== undefined,
    needMib: needMib(plan, state, seen.measuredBytes),
    tallies: [],
  };
  if (state.phase === 'Ended') return ended(tick);
  if (seen.verbs.length > 0) return verbStep(tick);
  return deadlineStep(tick) ?? witnessStep(tick) ?? phaseStep(tick);
}

function ended(tick: Tick): RolloutStep {
  const verbs = answersAfterEnd(tick.seen.verbs, tick.state);
  const step = unchanged(tick, tick.state, undefined, []);
  return verbs ? { ...step, verbs } : step;
}

function deadlineStep(tick: Tick): RolloutStep | undefined {
  const { state } = tick;
  if (state.rollback) return undefined;
  const reason = overdue(tick) ?? stuck(tick);
  if (reason === undefined) return undefined;
  if (tick.plan.onDeadline === 'freeze') return freeze(tick, reason);
  return enterRollback(tick, rollbackState(state, { outcome: 'Aborted', reason, tombstone: true }));
}

function overdue({ plan, state, seen }: Tick): string | undefined {
  const since = state.deadlineFrom ?? seen.stamps.startedAt;
  if (seen.now - since < plan.deadlineMs) return undefined;
  if (state.phase === 'Frozen' && plan.onDeadline === 'freeze') return undefined;
  return `the deadline of ${span(plan.deadlineMs)} is over`;
}

// By the most hosts that were ready at once: those that come and go are no progress. A phase that begins is.
function stuck(tick: Tick): string | undefined {
  const { plan, state, seen } = tick;
  if (!WAITS_FOR_HOSTS.has(state.phase) || seen.storeHold !== undefined) return undefined;
  const since = Math.max(seen.stamps.progressAt, seen.stamps.phaseAt, state.deadlineFrom ?? 0);
  if (seen.now - since < plan.progressDeadlineMs || readyHosts(tick) > state.highWater) return undefined;
  if (state.phase === 'Prefetch' && !isOpen(tick, state)) return undefined;
  const hold = hostsHold(tick, state, tallyOf(tick, scopeOf(tick.layout, state)));
  // Whoever pauses keeps hosts from being told: only those that were told, and lag, are late then.
  if (state.paused && hold.hostCount === 0) return undefined;
  return `no host more became ready within ${span(plan.progressDeadlineMs)}: ${hold.message}`;
}

function witnessStep(tick: Tick): RolloutStep | undefined {
  const { state, seen, plan } = tick;
  if (!seen.witness || state.rollback?.everywhere) return undefined;
  const reason = witnessText(seen.witness, plan.version);
  const { outcome = 'RolledBack', stable } = state.rollback ?? {};
  const rollback = { outcome, reason, tombstone: true, everywhere: true, ...(stable === undefined ? {} : { stable }) };
  return enterRollback(tick, rollbackState(state, rollback), { event: 'witness' });
}

function phaseStep(tick: Tick): RolloutStep {
  const { state } = tick;
  if (state.phase === 'Rollback') return rollbackStep(tick);
  if (state.rollback) return enterRollback(tick, rollbackState(state, state.rollback), { actor: state.actor });
  if (state.phase === 'Frozen') return unchanged(tick, state, state.hold, []);
  const reason = failedGate(tick, state) ?? quorumLost(tick, tallyOf(tick, state.wave));
  if (reason !== undefined) return fail(tick, reason);
  const hold = standstill(tick);
  return hold ? wait(tick, state, hold) : forward(tick);
}

function fail(tick: Tick, reason: string): RolloutStep {
  if (tick.plan.onFailure === 'freeze') return freeze(tick, reason);
  return enterRollback(tick, rollbackState(tick.state, { outcome: 'RolledBack', reason, tombstone: true }));
}

function freeze(tick: Tick, reason: string): RolloutStep {
  const next = frozenState(tick.state, reason);
  return changed(tick, next, { event: 'frozen', message: (next.hold as Hold).message, hold: next.hold });
}

/** What stands above all progress; undefined: nothing. */
function standstill(tick: Tick): Hold | undefined {
  const { state } = tick;
  const store = storeHold(tick);
  if (store) return store;
  if (state.paused) return state.hold?.code === 'paused' ? state.hold : plainHold('paused', 'Paused by an operator');
  return undefined;
}

/** Nothing to do but to wait; figures that changed for good are written down. */
function wait(tick: Tick, state: RolloutState, hold: Hold | undefined): RolloutStep {
  const ask = gatesToAsk(tick, state);
  const ready = tick.seen.storeHold === undefined ? readyHosts(tick) : 0;
  if (ready > state.highWater) {
    return changed(
      tick,
      { ...state, highWater: ready },
      {
        event: 'progress',
        message: `${count(ready, 'host')} ready; ${hold?.message ?? state.phase}`,
        stamps: ['progressAt'],
        hold,
        ask,
      },
    );
  }
  const isKnown = hold?.code === tick.state.hold?.code && !isOutdated(tick);
  if (isKnown && !verdictsChanged(tick, state)) return unchanged(tick, state, hold, ask);
  return changed(tick, state, { event: 'hold', message: hold?.message ?? `Going on in ${state.phase}`, hold, ask });
}

// Phases that need nothing, or have what they need, are passed in one step; the first that writes or waits ends it.
function forward(tick: Tick): RolloutStep {
  let { state } = tick;
  for (;;) {
    const tally = tallyOf(tick, scopeOf(tick.layout, state));
    const low = NEEDS_ALIVE.has(state.phase) ? minAliveHold(tick, state, tally) : undefined;
    const work = low ? undefined : collect(tick, state, isOpen(tick, state));
    if (work && work.writes.length > 0) return advance(tick, state, work, budgetHold(tick, work));
    const hold = low ?? obstacle(tick, state, tally, work as Work);
    if (hold) return state === tick.state ? wait(tick, state, hold) : advance(tick, state, undefined, hold);
    const next = following(tick, state);
    if (next.phase === 'Ended') return end(tick, next);
    state = next;
  }
}

function advance(tick: Tick, state: RolloutState, work: Work | undefined, hold: Hold | undefined): RolloutStep {
  const ready = readyHosts(tick);
  const more = ready > state.highWater;
  const told = work ? `, told ${count(work.writes.length, 'host')}` : '';
  return changed(tick, more ? { ...state, highWater: ready } : state, {
    event: state.phase.toLowerCase(),
    message: `Wave ${state.wave + 1} of ${tick.layout.waveCount} (${tick.plan.waves[state.wave]}): ${state.phase}${told}`,
    stamps: more ? ['progressAt'] : [],
    hold,
    ask: gatesToAsk(tick, state),
    ...(work ? { work } : {}),
  });
}

/** What keeps the phase from being done, when nothing is left to write; undefined: nothing. */
function obstacle(tick: Tick, state: RolloutState, tally: Tally, work: Work): Hold | undefined {
  const quorum = quorumOf(tick, tally);
  const blocked = budgetHold(tick, work);
  const needs = (have: number): Hold | undefined => (have < quorum ? hostsHold(tick, state, tally) : undefined);
  switch (state.phase) {
    case 'Prefetch':
      return gateHold(tick, state, true) ?? (tick.plan.prefetch ? needs(tally.fetched) : undefined);
    case 'Expand':
      return blocked ?? (tally.untold > 0 ? hostsHold(tick, state, tally) : undefined);
    case 'WaitReady':
      return needs(tally.ready);
    case 'Flip':
      return needs(tally.flipped);
    case 'Bake':
      return bakeHold(tick, state, state !== tick.state) ?? gateHold(tick, state, false) ?? needs(tally.flipped);
    case 'Contract':
      return blocked ?? needs(tally.contracted);
    default:
      return undefined;
  }
}

function following(tick: Tick, state: RolloutState): RolloutState {
  const last = isLast(tick.layout, state);
  switch (state.phase) {
    case 'Pending':
      return inPhase(state, 'Prefetch');
    case 'Prefetch':
      return inPhase(state, 'Expand');
    case 'Expand':
      return inPhase(state, 'WaitReady');
    case 'WaitReady':
      return inPhase(state, 'Flip');
    case 'Flip':
      return inPhase(state, 'Bake');
    case 'Bake':
      return last || tick.plan.keepWarm === 'wave'
        ? inPhase(state, 'Contract')
        : inPhase(state, 'Prefetch', state.wave + 1);
    default:
      return last
        ? { ...inPhase(state, 'Ended'), outcome: state.skipAll ? 'FastPromoted' : 'Promoted' }
        : inPhase(state, 'Prefetch', state.wave + 1);
  }
}

function end(tick: Tick, state: RolloutState): RolloutStep {
  const { plan } = tick;
  return changed(tick, state, {
    event: 'ended',
    message: `${state.outcome}: version ${plan.version} is stable on ${count(plan.hosts.length, 'host')}`,
    actor: CONTROLLER,
    stamps: ['endedAt'],
    model: { stable: plan.version, unTombstone: plan.version, release: true },
  });
}
