// The manager under random operations, on its own threads. A seed gives the same operations, not the same interleaving.
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { leftovers } from './support/internals.js';
import { type Operation, operations, runs, type Setting, setting } from './support/operations.js';
import { World } from './support/world.js';

const DEADLINE_MS = 10_000;

/** Looks in microtasks, and once per turn of the event loop, until stopped. */
function startReader(world: World): () => void {
  let running = true;
  void (async () => {
    while (running) {
      for (let i = 0; i < 4; i++) {
        await null;
        world.look();
      }
      await turn();
      world.look();
    }
  })();
  return () => {
    running = false;
  };
}

async function until(world: World, what: string, done: () => string | undefined): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  let unrest = done();
  while (unrest !== undefined && performance.now() < deadline) {
    world.journal.openAll();
    await turn();
    unrest = done();
  }
  if (unrest !== undefined) world.journal.fault(`no rest after ${DEADLINE_MS} ms: ${unrest}`);
  world.journal.check(what);
}

const unsettled = (world: World): string | undefined =>
  world.awaited.every(({ result }) => result) ? undefined : 'a list has not settled';

async function endInOrder(world: World): Promise<void> {
  world.releaseAll();
  await until(world, 'after the last list', () => world.unrest());
  await until(world, 'when things had come to rest', () => unsettled(world));
  world.checkTransitions(false);
  world.journal.check('when all lists had settled');
  for (const name of ['a', 'b', 'c']) world.aspire(name, []);
  await until(world, 'after empty lists', () => {
    const left = [...leftovers(world.manager), `${world.manager.stats().managedVersions} versions`];
    return left.length === 1 && left[0] === '0 versions' ? undefined : left.join(', ');
  });
}

async function close(world: World): Promise<void> {
  let abandoned: readonly unknown[] | undefined;
  void world.close().then((result) => {
    abandoned = result.abandoned;
  });
  await until(world, 'close()', () => {
    world.releaseAll();
    return abandoned ? undefined : 'it did not end';
  });
  if (abandoned?.length) world.journal.fault(`abandoned ${JSON.stringify(abandoned)}`);
  await world.events.finished;
  await until(world, 'after close()', () => unsettled(world));
  // What a loader that had been given up brought late is unloaded in microtasks.
  for (let i = 0; i < 3; i++) {
    world.journal.openLate();
    await turn();
  }
  world.checkTransitions(true);
  world.checkClosed();
  world.journal.check('when everything was over');
}

async function play(choice: Setting, list: readonly Operation[]): Promise<void> {
  const world = new World(choice, { manageStateIntervalMs: 10, retryIntervalMs: 2, cancelGraceMs: 3 });
  const stopReader = startReader(world);
  try {
    for (const [index, operation] of list.entries()) {
      if (operation.do === 'round') for (let i = 0; i < operation.times; i++) await turn();
      else world.perform(operation);
      world.look();
      world.journal.check(`operation ${index}, ${operation.do}`);
    }
    if (!choice.closeEarly) await endInOrder(world);
    await close(world);
  } finally {
    stopReader();
    world.journal.openLate();
    world.releaseAll();
    void world.close();
  }
}

test('threads: availability, leases, visibility, events and loader obligations hold under random operations', async () => {
  // To shrink what depends on the interleaving would lead astray.
  await fc.assert(fc.asyncProperty(setting, operations, play), { ...runs(800), endOnFailure: true });
});
