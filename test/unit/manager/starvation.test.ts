// A large load gets its memory although smaller, younger ones never cease to come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Loader } from 'aspired';
import { eventually } from '../../support/deadline.js';
import { one } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const taking = (mib: number): Loader => ({ estimateResources: () => ({ ram: `${mib}MiB` }), load: () => 1 });

test('a large load does not wait for ever while smaller, younger ones take the place of one another', async (t) => {
  const m = new TestManager(t, { resources: { ram: '100MiB' } });
  let younger = 0;
  let running = true;
  // Each lives for some turns of the event loop, and has a successor before it goes: one of them is always resident.
  const live = async (name: string): Promise<void> => {
    if (!running) return;
    const { settled } = m.manager.setAspiredVersions(name, one(1, taking(40)));
    const { versions } = await settled;
    if (versions[0]?.managerState !== 'Available') return;
    younger++;
    const drop = setTimeout(() => {
      if (!running) return;
      m.manager.setAspiredVersions(name, []);
    }, 2);
    drop.unref();
    void live(`${name.split('-')[0]}-${younger}`);
  };
  await m.aspire('first', one(1, taking(40)));
  const large = m.manager.setAspiredVersions('large', one(1, taking(90)));
  void live('a');
  void live('b');
  await eventually(() => younger > 0, 'the first younger one');
  m.manager.setAspiredVersions('first', []);
  const { versions } = await m.settled(large);
  running = false;
  assert.equal(versions[0]?.managerState, 'Available');
  assert.ok(younger >= 8, `only ${younger} went past it: nothing was shown`);
});
