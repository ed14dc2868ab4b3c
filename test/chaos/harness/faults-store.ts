// Faults of the servers and of what lies in them.
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError } from 'aspired';
import type { FleetExport } from '#lib/fleet/store/types.js';
import { FLEET, HOSTS } from '../fleet.js';
import { monotonicMs } from '../history/recorder.js';
import type { Fault } from '../seeded/schedule.js';
import type { Inject, Scene } from './faults.js';
import { within } from './waits.js';
import type { World } from './world.js';

/** How long is waited for a rollout that something is to happen to. */
const ROLLOUT_MS = 4_000;
/** How long hosts may take to hear of an abort. */
const HEARD_MS = 3_000;
const RESTORE_MS = 20_000;

const stopped: Inject = ({ server, world }, { forMs, variant }, say) =>
  server.take(async () => {
    const target = variant ? world.redis.replica : world.redis.main;
    say(`${variant ? 'the replica' : 'Redis'} stops for ${forMs} ms`);
    target.pause();
    await sleep(forMs);
    target.resume();
  });

const killed: Inject = ({ server, world }, { forMs }, say) =>
  server.take(async () => {
    say(`killed, for ${forMs} ms`);
    // Appended once a second by the kernel's leave: what is in its hands outlives the process.
    await world.redis.main.kill();
    await sleep(forMs);
    await world.redis.restart();
  });

/** Waits until a host reports that the version was taken back. */
async function heard({ store }: World, model: string, version: number): Promise<string[]> {
  const ids = HOSTS.map(({ id }) => id);
  let hosts: string[] = [];
  await within(HEARD_MS, async () => {
    const reports = await store.readReports(ids, [model]);
    hosts = ids.filter((_, index) => reports[index]?.models.get(model)?.rolledBack?.includes(version));
    return hosts.length > 0;
  });
  return hosts;
}

const olderSnapshot: Inject = (scene, { forMs }, say) =>
  scene.server.take(async () => {
    const { world, operator } = scene;
    // In Bake some hosts have the version, and the snapshot would go on with it.
    const rollout = (await operator.inPhase('Bake', ROLLOUT_MS)) ?? (await operator.inPhase(undefined, ROLLOUT_MS));
    const since = monotonicMs();
    await world.redis.snapshot();
    let what = 'no rollout was active';
    if (rollout) {
      await operator.verb(rollout.id, 'abort');
      const hosts = await heard(world, rollout.model, rollout.version);
      what = `${rollout.id} was in ${rollout.phase}, and aborted since, as ${hosts.length} hosts have heard`;
    }
    await sleep(forMs);
    say(`back to the snapshot of ${Math.round(monotonicMs() - since)} ms ago; ${what}`);
    await world.redis.restoreSnapshot(() => world.recorder.note({ e: 'lost-writes', since, at: Date.now() }));
  });

const emptied: Inject = (scene, fault, say) =>
  scene.server.take(async () => {
    const { world, operator } = scene;
    const { forMs, variant, exported } = fault;
    const save = exported ? await exportOf(scene, fault) : undefined;
    say(`FLUSHALL, restored from ${save?.what ?? 'the hosts'}${variant ? '; no rollout after it' : ''}`);
    // The next rollout would hide what the restoring left undone.
    if (variant) operator.stop();
    await world.redis.main.command('FLUSHALL');
    world.recorder.note({ e: 'lost-writes', exported: save?.at, at: Date.now() });
    await sleep(forMs);
    const intent = { actor: 'chaos', reason: 'the store was emptied', operation: 'restore' };
    const restored = await within(RESTORE_MS, async () => {
      try {
        if (save) await world.client.restore(JSON.parse(save.text) as FleetExport, intent);
        else await world.client.restoreFromHosts(intent, { hosts: HOSTS.length, quiet: 3_000 });
      } catch (error) {
        // The answer of the attempt before was lost, and it was carried out.
        if (!(error instanceof AspiredError && error.code === 'ERR_ROLLOUT_CONFLICT')) throw error;
      }
      return true;
    });
    if (!restored) throw new Error(`The store could not be restored from ${save?.what ?? 'the hosts'}.`);
  });

interface Save {
  readonly at: number;
  /** As it lies in a file. */
  readonly text: string;
  readonly what: string;
}

/** An export, and what happens to the fleet after it: a rollout goes on, or is aborted. */
async function exportOf({ world, operator }: Scene, { phase, forMs, aborted }: Fault): Promise<Save> {
  const rollout = (await operator.inPhase(phase, ROLLOUT_MS)) ?? (await operator.inPhase(undefined, ROLLOUT_MS));
  const at = monotonicMs();
  const text = JSON.stringify(await world.client.exportAll());
  let then = rollout ? `${rollout.id} was in ${rollout.phase}` : 'no rollout was active';
  if (rollout && aborted) {
    await operator.verb(rollout.id, 'abort');
    const hosts = await heard(world, rollout.model, rollout.version);
    then += `, and aborted since, as ${hosts.length} hosts have heard`;
  } else await sleep(forMs);
  return { at, text, what: `an export of ${Math.round(monotonicMs() - at)} ms ago; ${then}` };
}

type Document = Readonly<Record<string, string>>;

async function readDocuments({ world }: Scene, hosts: readonly string[]): Promise<ReadonlyMap<string, Document>> {
  const documents = new Map<string, Document>();
  for (const host of hosts) {
    const flat = (await world.redis.main.command('HGETALL', documentKey(host))) as string[] | Document;
    documents.set(host, Array.isArray(flat) ? pairs(flat) : flat);
  }
  return documents;
}

const documentKey = (host: string): string => `{${FLEET}}:d:${host}`;

function pairs(flat: readonly string[]): Document {
  return Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]));
}

const replayed: Inject = (scene, { forMs, host, variant }, say) =>
  scene.server.take(async () => {
    const { world } = scene;
    const old = await readDocuments(scene, variant ? HOSTS.map(({ id }) => id) : [host]);
    // One that is made where there was none says that the host was entered, and it is never entered then.
    const hosts = [...old].flatMap(([id, document]) => (document['!'] === undefined ? [] : [id]));
    await sleep(forMs);
    const now = await readDocuments(scene, hosts);
    say(`documents of ${forMs} ms ago, for ${hosts.join(' ') || 'nobody: there were none'}`);
    for (const id of hosts) {
      const fields = Object.entries(old.get(id) ?? {}).filter(([field]) => field !== '!');
      // With a revision that nobody has seen: the host is to read it.
      const revision = String(Number(now.get(id)?.['!'] ?? 0) + 1);
      await world.redis.main.command('HSET', documentKey(id), '!', revision, ...fields.flat());
      await world.redis.main.command('SPUBLISH', documentKey(id), '');
    }
  });

export const STORE_FAULTS = {
  F8: stopped,
  F9: killed,
  F10: olderSnapshot,
  F11: emptied,
  F18: replayed,
} satisfies Partial<Record<string, Inject>>;
