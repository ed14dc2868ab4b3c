// Hosts that die, flap, come late, or are cordoned while a rollout is under way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fleet, Host, MODEL, until, VERSION_BYTES, WHO } from './fleet.js';

test('a host that is dead does not keep a rollout from its end, and catches up when it is back', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 5 });
  await fleet.control();
  await fleet.host(4).stop();
  const { rollout } = await fleet.rollout({ waves: [{ percent: 100 }], minAlive: 50 });
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2, fleet.hosts.slice(0, 4));
  assert.equal(fleet.host(4).serves(), 1, 'it serves what it had');
  await fleet.host(4).start();
  await fleet.serves(2);
});

test('a host that comes and goes does not keep a rollout from its end', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 5 });
  await fleet.control();
  let flaps = 0;
  let over = false;
  const flapping = (async () => {
    while (!over) {
      await fleet.host(4).stop();
      await fleet.host(4).start();
      flaps++;
    }
  })();
  const { rollout } = await fleet.rollout({ waves: [{ hosts: 2 }, { percent: 100 }], minAlive: 50 });
  try {
    await fleet.ends(rollout, 'Promoted');
    await until(() => flaps > 1, 'the host to flap');
  } finally {
    over = true;
    await flapping;
  }
  await fleet.serves(2);
});

test('a host whose room is taken after it was told to have both versions lets the old one go', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2, room: 2 });
  await fleet.control();
  const [slow, crowded] = [fleet.host(0), fleet.host(1)];
  await crowded.stop();
  let loaded: () => void = () => {};
  const loading = new Promise<object>((resolve) => {
    loaded = () => resolve({});
  });
  fleet.behaviour.set(2, { load: (host) => (host === slow.id ? loading : {}) });
  const { rollout } = await fleet.rollout({
    ...{ bytes: VERSION_BYTES, waves: [{ percent: 100 }], minAlive: 1, progressDeadline: '12s', prefetch: false },
  });
  await fleet.reaches(rollout, 'WaitReady');
  const { manager } = crowded;
  manager.setAspiredVersions('other', [
    { version: 1, loader: { estimateResources: () => ({ ram: VERSION_BYTES }), load: () => ({}) } },
  ]);
  await until(() => manager.listAvailableServableIds().some(({ name }) => name === 'other'), 'the other model');
  await crowded.start();
  await until(
    () => crowded.serves() === 2,
    async () => `version 2: ${await fleet.client.explain(rollout)}`,
    15_000,
  );
  loaded();
  await fleet.ends(rollout, 'Promoted');
});

test('a host that joins gets the stable version, also while another version is being rolled out', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 3 });
  await fleet.control();
  const early = new Host(fleet, 'late-1', 'z0');
  fleet.hosts.push(early);
  await early.start();
  await fleet.serves(1);
  const { rollout } = await fleet.rollout({ bake: '10m', waves: [{ hosts: 1 }, { percent: 100 }] });
  await fleet.reaches(rollout, 'Bake', 0);
  const late = new Host(fleet, 'late-2', 'z0');
  fleet.hosts.push(late);
  await late.start();
  await fleet.serves(1, [late]);
  await fleet.client.promoteFull(rollout, WHO);
  const { plan } = await fleet.ends(rollout, 'FastPromoted');
  assert.ok(plan.hosts.includes('late-1') && !plan.hosts.includes('late-2'));
  await fleet.serves(2);
});

test('a host that is cordoned is left alone, and is given what it missed when it is not any more', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 3 });
  await fleet.control();
  await fleet.client.cordon('h2', WHO);
  const { rollout } = await fleet.rollout();
  const { plan } = await fleet.ends(rollout, 'Promoted');
  assert.ok(!plan.hosts.includes('h2'));
  assert.equal(fleet.host(2).serves(), 1);
  await fleet.client.uncordon('h2', WHO);
  await fleet.serves(2);
});

test('the client shows hosts, what they are to have and what they have', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  await fleet.control();
  const { rollout } = await fleet.rollout();
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  await until(async () => {
    const views = await fleet.client.hosts();
    return views.every(({ lease, desired, report }) => {
      const versions = report?.models.get(MODEL)?.versions.map(({ version }) => version);
      return lease !== undefined && desired.get(MODEL)?.primary === 2 && versions?.join() === '2';
    });
  }, 'both hosts to report version 2');
  const view = await fleet.client.view(rollout);
  assert.equal(view.told.length, 2);
  assert.deepEqual(
    (await fleet.client.history(MODEL)).map(({ id }) => id),
    [rollout],
  );
  assert.deepEqual(await fleet.client.list(), []);
});
