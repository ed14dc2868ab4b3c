// A large load gets its memory although smaller, younger ones never cease to come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Loader } from 'aspired';
import { eventually } from '../../support/deadline.js';
import { one } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const taking = (mib: number): Loader => ({ estimateResources: () => ({ ram: `${mib}MiB` }), load: () => 1 });

// Then it is the turn of who was overtaken.
const OVERTAKEN = 8;

test('a large load does not wait for ever while smaller, younger ones take the place of one another', async (t) => {
  const m = new TestManager(t, { resources: { ram: '100MiB' } });
  let wentPast = 0;
  let running = true;
  const stateOf = (name: string) => m.manager.getServableStates(name)[0];
  const isUp = (name: string): boolean => stateOf(name)?.state === 'Ready';
  const waits = (name: string, why: RegExp): boolean => why.test(stateOf(name)?.waiting ?? '');
  // Each is on its way out, and held, until its successor is there or is held up: the large one never finds the room empty
  // but when its turn has come.
  const relay = async (): Promise<void> => {
    for (let last = 'first', i = 1; running; i++) {
      const handle = m.manager.getServableHandle(last);
      const drop = m.manager.setAspiredVersions(last, []);
      await eventually(() => stateOf(last)?.state === 'Quiescing', `the drain of ${last}`);
      const next = `younger-${i}`;
      m.manager.setAspiredVersions(next, one(1, taking(40)));
      await eventually(() => isUp(next) || (wentPast >= OVERTAKEN && waits(next, /turn/)), next);
      if (isUp(next)) wentPast++;
      else running = false;
      handle.release();
      await m.settled(drop);
      last = next;
    }
  };
  await m.aspire('first', one(1, taking(40)));
  const large = m.manager.setAspiredVersions('large', one(1, taking(90)));
  await eventually(() => waits('large', /needs/), 'the large one to wait');
  await relay();
  const { versions } = await m.settled(large);
  assert.equal(versions[0]?.managerState, 'Available');
  assert.ok(wentPast >= OVERTAKEN, `only ${wentPast} went past it: nothing was shown`);
});
