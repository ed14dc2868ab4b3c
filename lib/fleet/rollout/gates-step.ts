// Gates as the reducer sees them: which are to be asked, which failed, what is missing.
import type { Gate, GateResult } from '../gates/types.js';
import { span } from './text.js';
import type { Hold, RolloutPhase, RolloutState } from './types.js';
import type { Tick } from './work.js';

/** Phases in which hosts are told of the new version while the wave is not judged yet. */
const WATCHED: ReadonlySet<RolloutPhase> = new Set(['Expand', 'WaitReady', 'Flip', 'Bake']);

/** promote and promote-full: nothing is judged in this wave. */
export function skipsGates(state: RolloutState): boolean {
  return state.skipAll === true || state.skipWave === true;
}

function isBeforeWave(gate: Gate): boolean {
  return gate.kind === 'webhook' && gate.when === 'before-wave';
}

/**
 * The result of a gate for the wave of `state`: what was judged for another wave, or before a retry, is none. What a
 * webhook said is remembered; load and traffic are only as good as they are now.
 */
function resultOf(tick: Tick, state: RolloutState, index: number): GateResult | undefined {
  if (!isSameRound(tick, state)) return undefined;
  const stored = tick.plan.gates[index]?.kind === 'webhook' ? state.verdicts?.[index] : undefined;
  return tick.seen.gates.get(index) ?? stored;
}

function isSameRound(tick: Tick, state: RolloutState): boolean {
  return state.wave === tick.state.wave && (state.gateAttempt ?? 0) === (tick.state.gateAttempt ?? 0);
}

/** All last results of this wave, for the record; undefined: none. */
export function verdictsOf(tick: Tick, state: RolloutState): RolloutState['verdicts'] {
  const verdicts: Record<number, GateResult> = {};
  let any = false;
  tick.plan.gates.forEach((_gate, index) => {
    const result = resultOf(tick, state, index) ?? (isSameRound(tick, state) ? state.verdicts?.[index] : undefined);
    if (!result) return;
    verdicts[index] = result;
    any = true;
  });
  return any ? verdicts : undefined;
}

/** Whether a verdict is another one than the stored one: worth a commit, so that everybody sees it. */
export function verdictsChanged(tick: Tick, state: RolloutState): boolean {
  return tick.plan.gates.some((_gate, index) => {
    const result = resultOf(tick, state, index);
    return result !== undefined && result.verdict !== tick.state.verdicts?.[index]?.verdict;
  });
}

/** How a gate is called: its kind, with its address where there can be several. */
export function nameOf(gate: Gate): string {
  return gate.kind === 'webhook' ? `webhook ${gate.url}` : gate.kind;
}

/** The first gate that says no, as a reason to go back; undefined: none does. */
export function failedGate(tick: Tick, state: RolloutState): string | undefined {
  if (skipsGates(state)) return undefined;
  for (const [index, gate] of tick.plan.gates.entries()) {
    const result = resultOf(tick, state, index);
    if (result && verdictAtEnd(gate, result, bakeLeft(tick, state, false) <= 0 && state.phase === 'Bake') === 'fail') {
      return `gate ${nameOf(gate)}: ${result.message}`;
    }
  }
  return undefined;
}

/** Without enough data a gate goes by its policy, once the bake is over. */
function verdictAtEnd(gate: Gate, { verdict }: GateResult, bakeIsOver: boolean): GateResult['verdict'] {
  if (verdict !== 'insufficient-data' || !bakeIsOver || gate.kind !== 'traffic') return verdict;
  const policy = gate.onInsufficientData ?? 'hold';
  return policy === 'hold' ? verdict : policy;
}

/** Milliseconds of bake that are left; `entered`: the phase begins with this step, and has no stamp yet. */
export function bakeLeft({ plan, seen }: Tick, state: RolloutState, entered: boolean): number {
  if (skipsGates(state)) return 0;
  return entered ? plan.bakeMs : seen.stamps.phaseAt + plan.bakeMs - seen.now;
}

/** Whether the gates that stand before the wave are open. */
export function isOpen(tick: Tick, state: RolloutState): boolean {
  return missing(tick, state, true) === undefined;
}

/** The first gate that has not passed: before the wave, or after its bake. */
function missing(tick: Tick, state: RolloutState, before: boolean): { gate: Gate; result?: GateResult } | undefined {
  if (skipsGates(state)) return undefined;
  for (const [index, gate] of tick.plan.gates.entries()) {
    if (isBeforeWave(gate) !== before) continue;
    const result = resultOf(tick, state, index);
    if (!result || verdictAtEnd(gate, result, !before) !== 'pass') return result ? { gate, result } : { gate };
  }
  return undefined;
}

/** What a gate lets the wave wait for; undefined: nothing. */
export function gateHold(tick: Tick, state: RolloutState, before: boolean): Hold | undefined {
  const wait = missing(tick, state, before);
  if (!wait) return undefined;
  const { gate, result } = wait;
  const place = before ? 'Before the wave' : 'After the bake';
  return result
    ? {
        code: 'gate-insufficient-data',
        message: `${place}, gate ${nameOf(gate)} has not enough data: ${result.message}`,
        hosts: [],
        hostCount: 0,
      }
    : {
        code: 'gate-pending',
        message: `${place}, gate ${nameOf(gate)} has not answered yet`,
        hosts: [],
        hostCount: 0,
      };
}

/** The bake as a hold; undefined: it is over. */
export function bakeHold(tick: Tick, state: RolloutState, entered: boolean): Hold | undefined {
  const left = bakeLeft(tick, state, entered);
  if (left <= 0) return undefined;
  return {
    code: 'bake',
    message: `The wave is watched for another ${span(left)} of ${span(tick.plan.bakeMs)}`,
    hosts: [],
    hostCount: 0,
    until: tick.seen.now + left,
  };
}

/** Gates to be asked now, by index in the plan. */
export function gatesToAsk(tick: Tick, state: RolloutState): readonly number[] {
  if (skipsGates(state)) return [];
  const ask: number[] = [];
  for (const [index, gate] of tick.plan.gates.entries()) {
    if (wantsAnswer(tick, state, gate, index)) ask.push(index);
  }
  return ask;
}

// What judges by itself is judged at every look; a webhook until it has said yes or no.
function wantsAnswer(tick: Tick, state: RolloutState, gate: Gate, index: number): boolean {
  if (gate.kind === 'load') return WATCHED.has(state.phase);
  if (gate.kind === 'traffic') return state.phase === 'Bake';
  const result = resultOf(tick, state, index);
  if (result && result.verdict !== 'insufficient-data') return false;
  if (isBeforeWave(gate)) return state.phase === 'Prefetch';
  return state.phase === 'Bake' && bakeLeft(tick, state, state.phase !== tick.state.phase) <= 0;
}
