// Faults of hosts and of what they load.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../seeded/schedule.js';
import type { Inject, Scene } from './faults.js';

/** How long is waited for a phase of a rollout. */
const PHASE_MS = 3_000;
/** Up and down, ms. */
const FLAP_MS = 900;
const SLOWNESS = 60;

function onHost({ hosts }: Scene, { host }: Fault, work: () => Promise<void>): Promise<void> {
  const turn = hosts.get(host);
  if (!turn) throw new Error(`There is no host ${host}.`);
  return turn.take(work);
}

const killed: Inject = (scene, fault, say) =>
  onHost(scene, fault, async () => {
    const { world, operator } = scene;
    const { host, phase, forMs } = fault;
    await operator.inPhase(phase, PHASE_MS);
    say(`${host} is killed in ${phase}, for ${forMs} ms`);
    await world.killHost(host, `killed in ${phase}`);
    await sleep(forMs);
    await world.restartHost(host);
  });

const flapping: Inject = (scene, fault, say) =>
  onHost(scene, fault, async () => {
    const { host, forMs } = fault;
    say(`${host} goes up and down for ${forMs} ms`);
    for (const end = performance.now() + forMs; performance.now() < end; ) {
      await scene.world.killHost(host, 'flapping');
      await sleep(FLAP_MS);
      await scene.world.restartHost(host);
      await sleep(FLAP_MS);
    }
  });

const slow: Inject = (scene, fault, say) =>
  onHost(scene, fault, async () => {
    const { host, forMs } = fault;
    say(`${host} loads ${SLOWNESS} times slower for ${forMs} ms`);
    scene.world.slowDown(host, SLOWNESS);
    await sleep(forMs);
    scene.world.slowDown(host, 1);
  });

const poisoned: Inject = async ({ operator }, { conduct }, say) => {
  say(`the next version: ${conduct}`);
  operator.poison(conduct);
};

export const HOST_FAULTS = { F4: killed, F5: flapping, F6: slow, F7: poisoned } satisfies Partial<
  Record<string, Inject>
>;
