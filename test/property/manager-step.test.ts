// The manager under random operations, without a thread of its own: the same seed gives the same run.
import test from 'node:test';
import fc from 'fast-check';
import { leftovers } from './support/internals.js';
import { type Operation, operations, runs, type Setting, setting } from './support/operations.js';
import { World } from './support/world.js';

const MAX_ROUNDS = 400;

/** Lets every promise that can settle do so, without a turn of the event loop. */
const microtasks = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

async function round(world: World): Promise<void> {
  world.manager.step();
  world.look();
  await microtasks();
  world.look();
}

async function untilRest(world: World, done: () => string | undefined): Promise<void> {
  let unrest: string | undefined;
  for (let i = 0; i < MAX_ROUNDS; i++) {
    world.journal.openAll();
    await microtasks();
    await round(world);
    unrest = done();
    if (unrest === undefined) return;
  }
  world.journal.fault(`no rest after ${MAX_ROUNDS} rounds: ${unrest}`);
}

async function endInOrder(world: World): Promise<void> {
  world.releaseAll();
  await untilRest(world, () => world.unrest());
  world.journal.check('after the last list');
  await untilRest(world, () => (world.awaited.every(({ result }) => result) ? undefined : 'a list has not settled'));
  world.checkTransitions(false);
  world.journal.check('when all lists had come to rest');
  for (const name of ['a', 'b', 'c']) world.aspire(name, []);
  await untilRest(world, () => {
    const left = [...leftovers(world.manager), `${world.manager.stats().managedVersions} versions`];
    return left.length === 1 && left[0] === '0 versions' ? undefined : left.join(', ');
  });
  world.journal.check('after empty lists');
}

type Abandoned = readonly unknown[];

/** close(), with all gates open; undefined when it does not end. */
async function close(world: World): Promise<Abandoned | undefined> {
  let abandoned: Abandoned | undefined;
  void world.close().then((result) => {
    abandoned = result.abandoned;
  });
  for (let i = 0; i < MAX_ROUNDS && !abandoned; i++) {
    world.journal.openAll();
    world.releaseAll();
    // close() turns the crank by itself.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return abandoned;
}

async function endByClose(world: World): Promise<void> {
  const abandoned = await close(world);
  if (!abandoned) world.journal.fault('close() did not end');
  else if (abandoned.length > 0) world.journal.fault(`abandoned ${JSON.stringify(abandoned)}`);
  world.journal.check('after close()');
  await world.events.finished;
  world.journal.openAll();
  await microtasks();
  await microtasks();
  world.checkTransitions(true);
  world.checkClosed();
  world.journal.check('when everything was over');
}

async function play(choice: Setting, list: readonly Operation[]): Promise<void> {
  const world = new World(choice, { manageStateIntervalMs: 0, retryIntervalMs: 0, cancelGraceMs: 60_000 });
  try {
    for (const [index, operation] of list.entries()) {
      if (operation.do === 'round') for (let i = 0; i < operation.times; i++) await round(world);
      else world.perform(operation);
      world.look();
      await microtasks();
      world.look();
      world.journal.check(`operation ${index}, ${operation.do}`);
    }
    if (!choice.closeEarly) await endInOrder(world);
    await endByClose(world);
  } finally {
    await close(world);
  }
}

test('step(): availability, leases, visibility, events and loader obligations hold under random operations', async () => {
  await fc.assert(fc.asyncProperty(setting, operations, play), runs(1000));
});
