// Back: from any phase, by an operator, a gate, a deadline, or a host that bears witness.
//
// All hosts that were told of the new version get the cell of the rollback, the dead ones too: they find it when they
// return. Warm hosts flip back at once; those that must let go of the bad version first do so within maxUnavailable,
// as long as that leads anywhere: after progressDeadline the bad version goes, budget or not, and after two the rollout
// ends, whatever is left: the cells stay, and say the same.
import { budgetHold, holdFor, isBack, isTaken, plainHold, storeHold } from './holds.js';
import { changed, inPhase, type StepParts, unchanged } from './step.js';
import { count, span } from './text.js';
import { type Hold, type RolloutState, type RolloutStep, SEEN } from './types.js';
import { collect, isBlind, liftsBudget, type Tick, type Work } from './work.js';

type Rollback = NonNullable<RolloutState['rollback']>;

/** The state at the beginning of a rollback. */
export function rollbackState(state: RolloutState, rollback: Rollback): RolloutState {
  const { skipWave: _wave, skipAll: _all, ...rest } = inPhase(state, 'Rollback');
  return { ...rest, paused: false, rollback };
}

/** The step into a rollback: with the first hosts, and the tombstone, so that both outlive whoever made the step. */
export function enterRollback(tick: Tick, next: RolloutState, parts: Partial<StepParts> = {}): RolloutStep {
  const { reason, tombstone, stable } = next.rollback as Rollback;
  const work = collect(tick, next, false);
  return changed(tick, next, {
    event: 'rollback',
    message: `Going back${next.from === undefined ? '' : ` to version ${next.from}`}: ${reason}`,
    ...parts,
    work,
    hold: rollbackHold(tick, next, work),
    stamps: next.phase === tick.state.phase ? ['phaseAt'] : [],
    model: {
      ...(tombstone ? { tombstone: tick.plan.version } : {}),
      ...(stable === undefined ? {} : { stable }),
    },
  });
}

/** A tick of a rollback. */
export function rollbackStep(tick: Tick): RolloutStep {
  const { state } = tick;
  const work = collect(tick, state, false);
  const hold = rollbackHold(tick, state, work);
  if (work.writes.length > 0) {
    return changed(tick, state, {
      event: 'rollback',
      message: `Told ${count(work.writes.length, 'host')} to go back`,
      work,
      hold,
    });
  }
  if (!mayEnd(tick, hold)) {
    if (hold?.code === state.hold?.code) return unchanged(tick, state, hold, []);
    return changed(tick, state, { event: 'hold', message: hold?.message ?? 'Going on', hold });
  }
  return endRollback(tick);
}

function endRollback(tick: Tick): RolloutStep {
  const { state } = tick;
  const { outcome, reason } = state.rollback as Rollback;
  const left = holdFor(tick, undefined, 'rollback-hosts-away', '', (bits, told, current) => {
    return isTaken(told, bits) && !isBack(tick, bits, current);
  });
  const away = left.hostCount === 0 ? '' : `; ${count(left.hostCount, 'host')} will follow when they are back`;
  const ended: RolloutState = { ...inPhase(state, 'Ended'), outcome };
  return changed(tick, ended, {
    event: 'ended',
    message: `${outcome}: ${reason}${away}`,
    stamps: ['endedAt'],
    model: { release: true },
  });
}

// Hosts that are away do not keep it from ending; hosts that live and are not back do, until it has hung for too long.
function mayEnd({ plan, seen }: Tick, hold: Hold | undefined): boolean {
  if (hold === undefined) return true;
  if (isBlind(seen)) return false;
  return seen.now - seen.stamps.phaseAt >= 2 * plan.progressDeadlineMs;
}

function rollbackHold(tick: Tick, state: RolloutState, work: Work): Hold | undefined {
  const left = holdFor(tick, undefined, 'rolling-back', '', (bits, told, current) => {
    return (bits & (SEEN.ALIVE | SEEN.CORDONED)) === SEEN.ALIVE && isTaken(told, bits) && !isBack(tick, bits, current);
  });
  const entered = tick.state.phase !== 'Rollback';
  const since = entered ? 0 : tick.seen.now - tick.seen.stamps.phaseAt;
  if (left.hostCount > 0) {
    const lifted = liftsBudget(tick, state) ? ', without regard to maxUnavailable by now' : '';
    const are = left.hostCount === 1 ? 'is' : 'are';
    const message = `${count(left.hostCount, 'host')} ${are} not back yet, after ${span(since)}${lifted}`;
    return { ...left, message };
  }
  if (work.blocked.length > 0) return awayHold(tick, work);
  if (entered) return plainHold('rolling-back', 'The hosts are being told');
  return tick.seen.storeHold === 'unconfirmed' ? undefined : storeHold(tick);
}

function awayHold(tick: Tick, work: Work): Hold {
  const hold = budgetHold(tick, work) as Hold;
  const message = `${count(hold.hostCount, 'host')} are away and would be too many of their zone if they switched at once`;
  return { ...hold, code: 'rollback-hosts-away', message };
}
