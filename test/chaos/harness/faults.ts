// Carries out the faults of a schedule, each noted with its time.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, FaultKind, Schedule } from '../seeded/schedule.js';
import { CONTROLLER_FAULTS } from './faults-controllers.js';
import { HOST_FAULTS } from './faults-hosts.js';
import { STORE_FAULTS } from './faults-store.js';
import type { Operator } from './operator.js';
import type { Turn } from './waits.js';
import type { World } from './world.js';

/** What a fault is done to. */
export interface Scene {
  readonly world: World;
  readonly operator: Operator;
  /** Faults of the servers, one at a time. */
  readonly server: Turn;
  /** Faults of a host, one at a time. */
  readonly hosts: ReadonlyMap<string, Turn>;
}

/** Resolves when the fault is over, and what it took away is there again. The answer says what was done. */
export type Inject = (scene: Scene, fault: Fault, say: (detail: string) => void) => Promise<void>;

const INJECT: Readonly<Record<FaultKind, Inject>> = { ...CONTROLLER_FAULTS, ...HOST_FAULTS, ...STORE_FAULTS };

/** Resolves when all faults are over. */
export async function injectAll(scene: Scene, schedule: Schedule): Promise<void> {
  const begin = performance.now();
  await Promise.all(
    schedule.faults.map(async (fault, n) => {
      await sleep(Math.max(0, begin + fault.atMs - performance.now()));
      await inject(scene, fault, n);
    }),
  );
}

async function inject(scene: Scene, fault: Fault, n: number): Promise<void> {
  const { recorder } = scene.world;
  const { kind } = fault;
  try {
    await INJECT[kind](scene, fault, (detail) => recorder.note({ e: 'fault', kind, detail, n }));
  } catch (error) {
    throw new Error(`Fault ${kind} at ${fault.atMs} ms could not be carried out.`, { cause: error });
  } finally {
    recorder.note({ e: 'fault-over', kind, n });
  }
}
