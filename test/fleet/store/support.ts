// What the tests of the stores share: hosts, plans, commits, and waits that end.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError } from 'aspired';
import type { RolloutPlan, RolloutState } from '#lib/fleet/rollout/types.js';
import type { Commit, FleetStore, Heartbeat, RolloutStart } from '#lib/fleet/store/types.js';
import type { HostInfo, Intent } from '#lib/fleet/types.js';
import { PATIENCE_MS } from '../../support/deadline.js';

export const coded = (code: string) => (error: unknown) => {
  assert.ok(error instanceof AspiredError, `no AspiredError: ${String(error)}`);
  assert.equal(error.code, code, error.message);
  return true;
};

let operations = 0;

/** Who and why; another operation each time unless given. */
export function intent(operation = `op-${process.pid}-${++operations}`): Intent {
  return { actor: 'ops@example.com', reason: 'the test wants it', operation };
}

export function hostInfo(id: string, more: Partial<HostInfo> = {}): HostInfo {
  return { id, zone: 'eu-1a', labels: {}, capacityBytes: 1 << 30, agentVersion: '0.1.0', schema: 1, ...more };
}

export function plan(model: string, version: number, hosts: readonly string[]): RolloutPlan {
  return {
    ...{ model, version, maxUnavailable: 1, readyQuorum: 100, minAlive: 80, bakeMs: 0, gates: [] },
    ...{ deadlineMs: 60_000, progressDeadlineMs: 60_000, onDeadline: 'abort', onFailure: 'rollback' },
    ...{ bytes: 0, surgeBytes: 0, prefetch: false, keepWarm: 'wave', hosts },
    ...{ zoneOf: hosts.map(() => 0), zones: ['eu-1a'], waveOf: hosts.map(() => 0), waves: ['all'] },
  };
}

export function state(phase: RolloutState['phase'] = 'Pending', more: Partial<RolloutState> = {}): RolloutState {
  return { phase, wave: 0, paused: false, highWater: 0, actor: 'ops@example.com', reason: 'new version', ...more };
}

export function start(
  id: string,
  model: string,
  hosts: readonly string[],
  more: Partial<RolloutStart> = {},
): RolloutStart {
  return { id, plan: plan(model, 43, hosts), state: state(), force: false, ...intent(), ...more };
}

export function commit(rollout: string, model: string, expectRevision: number, more: Partial<Commit> = {}): Commit {
  return {
    ...{ rollout, model, expectRevision, operation: intent().operation, state: state('Expand'), stamps: [] },
    ...{ writes: [], hosts: [], audit: { event: 'expand', message: 'wave 1', actor: 'controller', hosts: 0 } },
    ...more,
  };
}

export function beat(host: string, bootId: string, sequence: number, more: Partial<Heartbeat> = {}): Heartbeat {
  return { host, bootId, sequence, leaseMs: 10_000, ...more };
}

/** A beat with everything: what an agent says first. */
export function fullBeat(host: string, bootId: string, sequence: number): Heartbeat {
  return beat(host, bootId, sequence, {
    info: hostInfo(host),
    status: { bootId, sequence, revision: 0, usedBytes: 5, clock: 1234 },
    models: new Map([
      ['m', { generation: 3, primary: 1, versions: [{ version: 1, managerState: 'Available' as const }] }],
    ]),
  });
}

/** A fleet with hosts, made and entered. */
export async function withHosts(store: FleetStore, ...ids: string[]): Promise<void> {
  await store.create();
  await store.enterHosts(ids.map((id) => hostInfo(id)));
}

/** Asks until the answer will do. */
export async function until<T>(what: string, ask: () => T | Promise<T>, ms = PATIENCE_MS): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`Still waiting for ${what} after ${ms} ms`);
    await sleep(5);
  }
}
