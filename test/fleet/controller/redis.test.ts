// The same over Redis: ticks and webhooks go through BullMQ.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveAudit } from '#lib/fleet/controller/audit-archive.js';
import { PlannedStarts } from '#lib/fleet/controller/planned-starts.js';
import { coded } from '../../support/manager.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { MODEL, until, WHO } from './fleet.js';
import { openQueue, startFleet, webhook } from './redis-fleet.js';

const skip = withoutRedis;

test('a fleet in Redis', { skip }, async (t) => {
  const server = await RedisServer.start(t, { aof: true });

  await t.test('a good version comes to all hosts, ticked through the queue by two controllers', async (t) => {
    const fleet = await startFleet(t, server);
    await Promise.all([fleet.control(), fleet.control()]);
    const { rollout } = await fleet.rollout();
    await fleet.ends(rollout, 'Promoted');
    await fleet.serves(2);
    const trail = await fleet.client.audit(MODEL);
    const revisions = trail.filter((entry) => entry.rollout === rollout).map(({ revision }) => revision);
    assert.deepEqual(
      revisions,
      revisions.map((_, index) => index),
    );
    assert.deepEqual(fleet.codes(), []);
  });

  await t.test('a bad version is rolled back', async (t) => {
    const fleet = await startFleet(t, server);
    fleet.behaviour.set(2, {
      load: () => {
        throw new Error('no such weights');
      },
    });
    await fleet.control();
    const { rollout } = await fleet.rollout({ gates: [{ kind: 'load' }] });
    await fleet.ends(rollout, 'RolledBack');
    await fleet.serves(1);
  });

  await t.test('jobs that vanish from Redis in the middle of a rollout are made anew', async (t) => {
    const fleet = await startFleet(t, server);
    await fleet.control();
    const { rollout } = await fleet.rollout({ bake: '300ms', waves: [{ hosts: 1 }, { hosts: 1 }, { percent: 100 }] });
    const ticks = await openQueue(t, server, fleet, 'ticks');
    let obliterated = 0;
    for (const end = performance.now() + 1_500; performance.now() < end; obliterated++) {
      await ticks.obliterate({ force: true });
    }
    assert.ok(obliterated > 3, String(obliterated));
    assert.notEqual((await fleet.get(rollout)).state.phase, 'Ended', 'it could not go on');
    await fleet.ends(rollout, 'Promoted');
    await fleet.serves(2);
  });

  await t.test(
    'a webhook is asked before the wave and after its bake, once each, and its no takes the version back',
    async (t) => {
      const fleet = await startFleet(t, server);
      const asked: Record<string, unknown>[] = [];
      const url = await webhook(t, (body) => {
        asked.push(body);
        return { verdict: body.wave === 1 ? 'fail' : 'pass', message: 'says the test' };
      });
      await Promise.all([fleet.control(), fleet.control()]);
      const gates = [
        { kind: 'webhook', url, when: 'before-wave' },
        { kind: 'webhook', url, when: 'after-bake' },
      ] as const;
      const { rollout } = await fleet.rollout({ gates });
      const { state } = await fleet.ends(rollout, 'RolledBack');
      assert.match(state.rollback?.reason ?? '', /says the test/);
      assert.deepEqual(
        asked.map(({ wave, phase }) => `${wave} ${phase}`),
        ['0 before-wave', '0 after-bake', '1 before-wave'],
      );
      await fleet.serves(1);
    },
  );

  await t.test('a webhook without an answer holds the rollout, and is asked again', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 2 });
    let up = false;
    const url = await webhook(t, () => ({ verdict: up ? 'pass' : 'perhaps' }));
    await fleet.control();
    const { rollout } = await fleet.rollout({
      gates: [{ kind: 'webhook', url, attempts: 1 }],
      waves: [{ percent: 100 }],
    });
    await until(async () => (await fleet.get(rollout)).state.hold?.code === 'gate-insufficient-data', 'the hold');
    up = true;
    await fleet.client.retry(rollout, WHO).catch(() => undefined);
    await fleet.ends(rollout, 'Promoted');
  });

  await t.test('notifications: one per commit, in their own queue', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 2 });
    const told: Record<string, unknown>[] = [];
    const url = await webhook(t, (body) => {
      told.push(body);
      return {};
    });
    await fleet.control({ notify: [url] });
    const { rollout } = await fleet.rollout();
    const { revision } = await fleet.ends(rollout, 'Promoted');
    await until(() => told.length >= revision, 'all notifications');
    const revisions = told.map((body) => body.revision as number).sort((a, b) => a - b);
    assert.deepEqual(
      revisions,
      Array.from({ length: revision }, (_, index) => index + 1),
    );
    const last = told.find((body) => body.revision === revision);
    assert.deepEqual([last?.fleet, last?.model, last?.phase, last?.outcome], [fleet.name, MODEL, 'Ended', 'Promoted']);
  });

  await t.test('a start that was planned happens at its time, and one that was taken back does not', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 2 });
    await fleet.control();
    const planned = await PlannedStarts.connect({ fleet: fleet.name, store: { redis: server.url } });
    t.after(() => planned.close());
    const plan = {
      model: MODEL,
      version: 2,
      bake: 0,
      gates: [],
      maxUnavailable: '100%',
      waves: [{ percent: 100 }],
    } as const;
    const now = await fleet.client.now();
    const later = await planned.plan({ ...plan, version: 3 }, WHO, now + 3_600_000);
    const soon = await planned.plan(plan, { ...WHO, operation: 'soon' }, new Date(now + 300));
    await planned.plan(plan, { ...WHO, operation: 'soon' }, now + 300);
    assert.deepEqual((await planned.list()).map(({ id }) => id).sort(), [later.id, soon.id].sort());
    assert.equal(await planned.cancel(later.id), true);
    assert.equal(await planned.cancel(later.id), false);
    await fleet.serves(2);
    const [record] = await fleet.client.history(MODEL);
    assert.ok((record?.stamps.startedAt ?? 0) >= now + 300, 'not before its time');
    assert.equal(record?.state.actor, WHO.actor);
    await until(async () => (await planned.list()).length === 0, 'nothing to be planned any more');
    await fleet.ends(record?.id ?? '', 'Promoted');
    // What is refused is told where it was tried.
    await planned.plan(plan, WHO, now);
    await until(() => fleet.codes().includes('ERR_PLAN_INVALID'), 'the refusal');
    assert.equal((await fleet.client.history(MODEL)).length, 1);
  });

  await t.test('a planned start that replicas do not confirm is tried again, and that is said', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 1 });
    await fleet.control({ minReplicas: 1, confirmTimeoutMs: 50 });
    const planned = await PlannedStarts.connect({ fleet: fleet.name, store: { redis: server.url } });
    t.after(() => planned.close());
    const { id } = await planned.plan({ model: MODEL, version: 2 }, WHO, Date.now());
    await until(() => fleet.codes().includes('ERR_STORE_UNCONFIRMED'), 'the complaint');
    assert.deepEqual(await fleet.client.history(MODEL), []);
    assert.deepEqual(
      (await planned.list()).map((start) => start.id),
      [id],
    );
  });

  await t.test('the audit is archived, goes on where it ended, and mends a line that was torn', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 2 });
    const directory = mkdtempSync(join(tmpdir(), 'aspired-archive-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    await fleet.control({ archiveDirectory: directory });
    const file = join(directory, `${MODEL}.ndjson`);
    const read = (): string[] => readFileSync(file, 'utf8').trim().split('\n');
    await until(() => {
      try {
        return read().length > 0;
      } catch {
        return false;
      }
    }, 'the first archive');
    await fleet.ends((await fleet.rollout()).rollout, 'Promoted');
    writeFileSync(file, '{"id":"torn', { flag: 'a' });
    const added = await archiveAudit(fleet.store, directory);
    assert.ok(added > 3, String(added));
    assert.equal(await archiveAudit(fleet.store, directory), 0, 'nothing twice');
    const lines = read().filter((line) => line !== '{"id":"torn');
    const ids = lines.map((line) => (JSON.parse(line) as { id: string }).id);
    assert.deepEqual(
      ids,
      (await fleet.client.audit(MODEL, undefined, 1_000)).map(({ id }) => id),
    );
  });

  await t.test('options that need Redis are refused without it, and bad addresses with it', async (t) => {
    const fleet = await startFleet(t, server, { hosts: 1 });
    await assert.rejects(fleet.control({ notify: ['ftp://x'] }), coded('ERR_INVALID_ARGUMENT'));
    await assert.rejects(fleet.control({ store: { redis: 'http://x' } }), coded('ERR_INVALID_ARGUMENT'));
    const unknown = { sweepInterval: 1 } as object;
    await assert.rejects(fleet.control(unknown), coded('ERR_UNKNOWN_OPTION'));
    await assert.rejects(fleet.control({ fleet: 'other' }), coded('ERR_STORE_EMPTY'));
  });
});
