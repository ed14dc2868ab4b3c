// Faults of controllers, jobs and verbs.
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { FLEET } from '../fleet.js';
import type { Child } from './child.js';
import type { Inject, Scene } from './faults.js';
import { within } from './waits.js';

/** How long a controller may take to come to the commit at which it is to end. */
const PROBE_MS = 3_000;
/** How long is waited for a rollout, or a phase of one. */
const PHASE_MS = 3_000;
const QUEUES = ['ticks', 'gates'] as const;

/** One that runs, and that nothing is being done to. */
function anyController({ world }: Scene, busy: ReadonlySet<Child<'controller'>>): Child<'controller'> | undefined {
  return [...world.controllers.values()].find((child) => !child.hasEnded && !busy.has(child));
}

const BUSY = new WeakMap<object, Set<Child<'controller'>>>();

async function withController(scene: Scene, work: (child: Child<'controller'>) => Promise<void>): Promise<void> {
  const busy = BUSY.get(scene) ?? new Set();
  BUSY.set(scene, busy);
  const child = anyController(scene, busy) ?? (await scene.world.startController());
  busy.add(child);
  try {
    await work(child);
  } finally {
    busy.delete(child);
  }
}

const killedInAStep: Inject = (scene, { point, commits }, say) =>
  withController(scene, async (child) => {
    say(`${child.name} ends ${point} its commit number ${commits}`);
    child.mayEnd();
    child.tell({ kill: point, commits });
    if (!(await within(PROBE_MS, () => child.hasEnded))) await child.kill();
    await scene.world.startController();
  });

const zombie: Inject = (scene, { forMs }, say) =>
  withController(scene, async (child) => {
    say(`${child.name} stops before its next commit, for ${forMs} ms`);
    child.tell({ stop: true });
    await sleep(forMs);
    child.go();
  });

const rogues: Inject = async ({ world }, { forMs }, say) => {
  say(`two controllers without queue, for ${forMs} ms`);
  const both = await Promise.all([world.startController(true), world.startController(true)]);
  await sleep(forMs);
  await Promise.all(both.map((child) => child.kill()));
};

async function withQueues(scene: Scene, work: (queue: Queue) => Promise<void>): Promise<void> {
  const connection = { url: scene.world.redis.main.url, maxRetriesPerRequest: null };
  for (const name of QUEUES) {
    const queue = new Queue(name, { prefix: `{${FLEET}}`, connection });
    queue.on('error', () => {});
    try {
      await work(queue);
    } finally {
      await queue.close();
    }
  }
}

const twice: Inject = (scene, { forMs }, say) =>
  scene.server.take(async () => {
    const { world, operator } = scene;
    say(`jobs twice, half of the commits again, connections cut, for ${forMs} ms`);
    const controllers = [...world.controllers.values()];
    for (const child of controllers) child.tell({ resend: 0.5 });
    const active = operator.rollouts.filter(({ ended }) => !ended);
    await withQueues(scene, async (queue) => {
      if (queue.name !== 'ticks') return;
      const jobs = active.flatMap(({ id }) =>
        Array.from({ length: 3 }, () => ({ name: 'tick', data: { rollout: id } })),
      );
      await queue.addBulk(jobs.map((job) => ({ ...job, opts: { removeOnComplete: true, removeOnFail: true } })));
    });
    // What is on its way is sent again by the client library, which does not say so.
    for (const type of ['normal', 'pubsub'])
      await world.redis.main.command('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
    await sleep(forMs);
    for (const child of controllers) child.tell({ resend: 0 });
  });

const jobsLost: Inject = (scene, _fault, say) =>
  scene.server.take(async () => {
    say('queues obliterated');
    await withQueues(scene, (queue) => queue.obliterate({ force: true }));
  });

const verbs: Inject = async ({ operator }, { phase, variant }, say) => {
  const rollout = (await operator.inPhase(phase, PHASE_MS)) ?? (await operator.inPhase(undefined, PHASE_MS));
  if (!rollout) {
    say('no rollout to abort');
    return;
  }
  const { id } = rollout;
  say(`${id}: ${variant ? 'promote-full, then ' : ''}abort in ${rollout.phase}, twice`);
  if (variant) await operator.verb(id, 'promote-full', 2);
  await operator.verb(id, 'abort', 2);
  await operator.verb(id, 'abort');
};

export const CONTROLLER_FAULTS = {
  F1: killedInAStep,
  F2: zombie,
  F3: rogues,
  F16: twice,
  F17: jobsLost,
  F19: verbs,
} satisfies Partial<Record<string, Inject>>;
