// One seed from beginning to end: the fleet is started, disturbed, left alone, and judged by what it wrote down.
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeCell } from '#lib/fleet/codec.js';
import type { AuditEntry } from '#lib/fleet/store/types.js';
import {
  BAKE_MS,
  DEADLINE_MS,
  HEARTBEAT_MS,
  HOSTS,
  MAX_UNAVAILABLE,
  MODELS,
  PROGRESS_DEADLINE_MS,
  REPLICAS,
} from '../fleet.js';
import type { AuditLine, History, RunSettings, Violation } from '../history/events.js';
import { readEvents } from '../history/recorder.js';
import { judgeHistory } from '../judge/index.js';
import type { Mutant } from '../processes/messages.js';
import { Random } from '../seeded/random.js';
import { type Schedule, scheduleOf } from '../seeded/schedule.js';
import { injectAll } from './faults.js';
import { Operator } from './operator.js';
import { Turn, within } from './waits.js';
import { Webhook } from './webhook.js';
import { World } from './world.js';

/** How long is waited for the rollouts that come before a poisoned one, ms. */
const POISON_MS = 15_000;
/** Rollouts go on for as long after the last fault has begun, at least, ms. */
const TAIL_MS = 1_000;
/** After the end of the last rollout: two heartbeats, the load of a version, and what a busy machine adds, ms. */
const CONVERGE_MS = 2 * HEARTBEAT_MS + 12_000;
const SETTLE_MS = 2 * HEARTBEAT_MS;

export interface RunOptions {
  readonly seed: number;
  readonly mutant?: Mutant | undefined;
  readonly schedule?: Schedule;
}

export interface RunResult {
  readonly seed: number;
  readonly schedule: Schedule;
  readonly history: History;
  readonly violations: readonly Violation[];
  readonly seconds: number;
}

export async function runSeed({ seed, mutant, schedule = scheduleOf(seed) }: RunOptions): Promise<RunResult> {
  const begin = performance.now();
  const world = await World.start({ seed, mutant });
  try {
    await disturb(world, schedule);
    await writeFinal(world);
    const settings = settingsOf(seed);
    const history = { settings, events: readEvents(world.history) };
    const violations = [...judgeHistory(history), ...casualties(world)];
    return { seed, schedule, history, violations, seconds: (performance.now() - begin) / 1_000 };
  } finally {
    await world.close();
  }
}

export function settingsOf(seed: number): RunSettings {
  return {
    ...{ seed, bakeMs: BAKE_MS, heartbeatMs: HEARTBEAT_MS, maxUnavailable: MAX_UNAVAILABLE, replicas: REPLICAS },
    // A rollout that began with the last fault has its deadline, and its rollback gives up after two more.
    endsWithinMs: DEADLINE_MS + 2 * PROGRESS_DEADLINE_MS + 10_000,
    rollbackMs: PROGRESS_DEADLINE_MS + 5_000,
  };
}

async function disturb(world: World, schedule: Schedule): Promise<void> {
  const random = new Random(schedule.seed);
  const webhook = await Webhook.start(world.recorder, random);
  const operator = new Operator({ world, random, webhook: webhook.url, webhooks: schedule.webhooks });
  try {
    const rolling = operator.run();
    rolling.catch(() => {}); // awaited below
    const hosts = new Map(HOSTS.map(({ id }) => [id, new Turn()]));
    await injectAll({ world, operator, server: new Turn(), hosts }, schedule);
    // A version that is never rolled out does no harm.
    await within(POISON_MS, () => !operator.hasPoison);
    await sleep(TAIL_MS);
    operator.stop();
    world.recorder.note({ e: 'quiet' });
    let ended = false;
    void rolling.finally(() => (ended = true)).catch(() => {});
    await within(settingsOf(schedule.seed).endsWithinMs + 5_000, () => ended);
    for (const rollout of operator.rollouts) rollout.ended = true;
    await rolling;
  } finally {
    await webhook.close();
  }
}

/** Waits until the fleet is at rest, as far as it comes to rest, and writes down what the store says. */
async function writeFinal(world: World): Promise<void> {
  const { store, client, recorder } = world;
  const ids = HOSTS.map(({ id }) => id);
  await within(CONVERGE_MS, async () => {
    const views = await client.hosts();
    return views.length === ids.length && views.every((view) => isSettled(view));
  });
  await sleep(SETTLE_MS);
  const audit: Record<string, readonly AuditLine[]> = {};
  const desired: { host: string; model: string; generation: number; versions: readonly number[]; primary?: number }[] =
    [];
  const models = [];
  const rollouts = [];
  for (const model of MODELS) {
    audit[model] = (await wholeAudit(world, model)).map(({ rollout, revision, event, actor }) => ({
      rollout,
      revision,
      event,
      actor,
    }));
    const record = await store.model(model);
    models.push({ name: model, stable: record?.stable, tombstones: record?.tombstones ?? [], active: record?.active });
    const cells = await store.readCells(model, ids);
    for (const [index, host] of ids.entries()) {
      const text = cells[index];
      if (text !== undefined) desired.push({ host, model, ...decodeCell(text) });
    }
    for (const { id, revision, state } of await client.history(model, 100)) {
      rollouts.push({ id, revision, outcome: state.outcome });
    }
  }
  recorder.note({ e: 'final', audit, rollouts, models, desired });
}

type HostView = Awaited<ReturnType<World['client']['hosts']>>[number];

function isSettled({ desired, report }: HostView): boolean {
  return MODELS.every((name) => {
    const cell = desired.get(name);
    const model = report?.models.get(name);
    // The mark is taken away, in a generation of its own, when the version is there.
    if (
      !cell ||
      !model ||
      cell.resourcePreserving ||
      cell.primary !== model.primary ||
      model.generation < cell.generation
    )
      return false;
    const available = model.versions.flatMap(({ version, managerState }) =>
      managerState === 'Available' ? [version] : [],
    );
    return available.join() === cell.versions.join();
  });
}

async function wholeAudit({ store }: World, model: string): Promise<AuditEntry[]> {
  const trail: AuditEntry[] = [];
  for (;;) {
    const page = await store.audit(model, trail.at(-1)?.id ?? '', 500);
    trail.push(...page);
    if (page.length < 500) return trail;
  }
}

function casualties(world: World): Violation[] {
  return world.casualties.map(({ name, complaint }) => ({
    invariant: 'processes',
    t: 0,
    message: `${name} ended by itself: ${complaint}`,
  }));
}
