import { askWebhook } from '../gates/index.js';
import type { FleetStore } from '../store/types.js';
import { type GateErrand, gateKey } from './gate-desk.js';

/**
 * Asks a webhook, and writes down what it said: the first answer for an errand counts, however often it is run. Rejects
 * with what the store says, or with the reason of the signal.
 */
export async function runGate(store: FleetStore, errand: GateErrand, signal: AbortSignal): Promise<void> {
  const { rollout, wave, gate: index } = errand;
  const key = gateKey(errand, errand.round);
  if ((await store.gateResults(rollout)).has(key)) return;
  const plan = (await store.rollout(rollout))?.plan;
  const gate = plan?.gates[index];
  if (!plan || gate?.kind !== 'webhook') return;
  const { model, version } = plan;
  const phase = gate.when ?? 'after-bake';
  const call = { rollout, model, version, wave, phase, key: `${rollout}-${key}` };
  await store.putGateResult(rollout, key, await askWebhook(gate, call, signal));
}
