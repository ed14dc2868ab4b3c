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
/** The lock of a job, and the time until somebody looks for locks that are gone. */
const STALLED_MS = 9_000;
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

const jobsLost: Inject = (scene, { variant }, say) =>
  scene.server.take(async () => {
    const rollout = variant ? await scene.operator.inPhase(undefined, PHASE_MS) : undefined;
    if (rollout) return stalledTwice(scene, rollout.id, say);
    say('queues obliterated');
    await withQueues(scene, (queue) => queue.obliterate({ force: true }));
  });

/** Whoever has the job of a rollout ends in the middle of it, and so does the next one. */
async function stalledTwice(scene: Scene, rollout: string, say: (detail: string) => void): Promise<void> {
  const { world } = scene;
  say(`controllers end before the next commit of ${rollout}, and so do the next ones: its job is stalled twice`);
  for (const ms of [PROBE_MS, STALLED_MS]) {
    const children = [...world.controllers.values()];
    for (const child of children) {
      child.mayEnd();
      child.tell({ kill: 'before', commits: 1, rollout });
    }
    await within(ms, () => children.some((child) => child.hasEnded));
    // The others would take up what is stalled, and go on.
    await Promise.all(children.map((child) => child.kill()));
    await Promise.all([world.startController(), world.startController()]);
  }
  let times = 0;
  await within(STALLED_MS, async () => {
    times = await mostStalls(scene);
    return times >= 2;
  });
  world.recorder.note({ e: 'probe', point: `stalled ${times} times`, rollout });
}

/** How often the job was stalled that was so most often, by the events of the queue. */
async function mostStalls({ world }: Scene): Promise<number> {
  const events = await world.redis.main.command('XRANGE', `{${FLEET}}:ticks:events`, '-', '+');
  const times = new Map<string, number>();
  for (const [, fields] of events as [string, string[]][]) {
    const job = fields[fields.indexOf('jobId') + 1] ?? '';
    if (fields.includes('stalled')) times.set(job, (times.get(job) ?? 0) + 1);
  }
  return Math.max(0, ...times.values());
}

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
