// Gates: what must hold before a wave counts as good. A further kind is a row of KINDS, and a member of Gate in types.ts.
import { checkKeys, invalidOption, nearest } from '../../options.js';
import type { GateKind } from './kind.js';
import { loadGate } from './load-gate.js';
import { trafficGate } from './traffic-gate.js';
import type { Gate, GateCall, GateInput, GateResult, LoadGate, TrafficGate, WebhookGate } from './types.js';
import { askWithin, FIRST_PAUSE_MS, webhookGate } from './webhook-gate.js';

const KINDS: { readonly [K in Gate['kind']]: GateKind<Extract<Gate, { kind: K }>> } = {
  load: loadGate,
  traffic: trafficGate,
  webhook: webhookGate,
};
const NAMES = Object.keys(KINDS);

/** What a plan has when it names no gates. */
const DEFAULT_GATES: readonly Gate[] = [{ kind: 'load' }, { kind: 'traffic' }];
const MAX_GATES = 32;

/**
 * The gates of a plan with their defaults filled in; undefined stands for load and traffic.
 *
 * @throws AspiredError ERR_PLAN_INVALID, ERR_UNKNOWN_OPTION
 */
export function checkGates(value: unknown, where = 'gates'): Gate[] {
  const gates = value === undefined ? DEFAULT_GATES : value;
  if (!Array.isArray(gates) || gates.length > MAX_GATES) {
    throw invalidOption(where, `an array of at most ${MAX_GATES} gates`, value, 'ERR_PLAN_INVALID');
  }
  return gates.map((gate, i) => checkGate(gate, `${where}[${i}]`));
}

function checkGate(value: unknown, where: string): Gate {
  if (typeof value !== 'object' || value === null) throw invalidOption(where, 'a gate', value, 'ERR_PLAN_INVALID');
  const { kind } = value as { readonly kind?: unknown };
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind)) {
    const near = typeof kind === 'string' ? nearest(kind, NAMES) : undefined;
    const known = NAMES.map((name) => `'${name}'`).join(', ');
    throw invalidOption(
      `${where}.kind`,
      near ? `'${near}', or another of ${known},` : `one of ${known}`,
      kind,
      'ERR_PLAN_INVALID',
    );
  }
  // Each row takes the gates of its own name.
  const row = KINDS[kind as Gate['kind']] as GateKind<Gate>;
  checkKeys(where, value, ['kind', ...row.keys]);
  return row.check(value as unknown as Gate, where);
}

/**
 * The verdict of a gate that judges what hosts reported. Pure, and valid however often it is asked: a version at the limits
 * fails with a chance of 1 % at most over a whole wave.
 */
export function judge(gate: LoadGate | TrafficGate, input: GateInput): GateResult {
  const { judge: judgeBy } = KINDS[gate.kind] as GateKind<Gate>;
  if (!judgeBy) throw invalidOption('kind', 'a gate that judges what hosts reported', gate.kind);
  return judgeBy(gate, input);
}

/**
 * The verdict of a webhook. Whatever it answers that is no verdict, and when it does not answer, the result is
 * 'insufficient-data', and its message begins with ERR_GATE_UNREACHABLE.
 *
 * @param signal Ends it at once: rejects with its reason. Nothing else makes it reject.
 */
export function askWebhook(gate: WebhookGate, call: GateCall, signal: AbortSignal): Promise<GateResult> {
  return askWithin(gate, call, signal, FIRST_PAUSE_MS);
}
