// Models without a rollout, after the store lost writes: hosts are ahead of it, and would not listen to it any more.
import { randomUUID } from 'node:crypto';
import { CONTROLLER } from '../rollout/step.js';
import { type Witness, witnessText } from '../rollout/text.js';
import { MAX_WRITES } from '../rollout/types.js';
import { makeUndo, undoTarget } from '../rollout/undo.js';
import type { FleetStore, ModelRecord } from '../store/types.js';
import { decoded } from './cell-book.js';
import { limitsOf } from './successors.js';
import { badOf, electStable, type ModelTestimony, Testimony } from './testimony.js';

const CHUNK = 200;

/** What came of looking for lost writes. */
export interface Mending {
  /** For people, one sentence per model. */
  readonly done: readonly string[];
  /** Somebody else wrote in between: it is to be looked at again. */
  readonly unfinished: boolean;
}

type ModelMending = { readonly done?: string } | 'conflict';
const NOTHING: ModelMending = {};

/**
 * Looks at all reports. For each model that no rollout is active for, and that hosts know a newer generation of than the
 * store: what most hosts serve becomes stable, what a host was told to take back becomes a tombstone, and every host is
 * told so with a generation above all that were seen.
 *
 * A stable version that a host was told to take back is not told anew: a rollout takes it back as an undo does, within its
 * budgets, to what most hosts serve besides, or else to what was stable before.
 *
 * Rollouts see to their own models.
 */
export async function mendLostWrites(store: FleetStore, hosts: readonly string[]): Promise<Mending> {
  const testimony = new Testimony();
  for (let from = 0; from < hosts.length; from += CHUNK) {
    const reports = await store.readReports(hosts.slice(from, from + CHUNK));
    for (const report of reports) if (report) testimony.add(report);
  }
  const done: string[] = [];
  let unfinished = false;
  for (const [name, said] of testimony.models) {
    const mended = await mendModel(store, name, said, hosts);
    if (mended === 'conflict') unfinished = true;
    else if (mended.done !== undefined) done.push(mended.done);
  }
  return { done, unfinished };
}

/**
 * Whether one of the hosts has accepted a newer generation of a model than its document has, or, where that says nothing of
 * the model, than the store has given out.
 */
export async function isAnyAhead(store: FleetStore, hosts: readonly string[]): Promise<boolean> {
  for (let from = 0; from < hosts.length; from += CHUNK) {
    const chunk = hosts.slice(from, from + CHUNK);
    // What a host has accepted was written before: its document is not behind a report that was read earlier.
    const reports = await store.readReports(chunk);
    const documents = await Promise.all(chunk.map((host) => store.readDesired(host)));
    for (const [index, report] of reports.entries()) {
      for (const [name, { generation }] of report?.models ?? []) {
        const told = decoded(documents[index]?.cells.get(name))?.generation;
        if (generation > (told ?? (await store.model(name))?.generation ?? 0)) return true;
      }
    }
  }
  return false;
}

async function mendModel(
  store: FleetStore,
  name: string,
  said: ModelTestimony,
  hosts: readonly string[],
): Promise<ModelMending> {
  const model = await store.model(name);
  if (model?.active !== undefined) {
    // One that is over sees to nothing any more, and is about to be released.
    return (await store.rolloutState(model.active))?.state.phase === 'Ended' ? 'conflict' : NOTHING;
  }
  if (said.generation <= (model?.generation ?? 0) && !(await isAhead(store, name, hosts))) return NOTHING;
  const bad = badOf(said);
  const witness = model?.stable === undefined ? undefined : said.rolledBack.get(model.stable);
  if (!model || !witness || !bad.includes(model.stable as number)) return tellAnew(store, name, model, said, hosts);
  const tombstones = [...new Set([...model.tombstones, ...bad])];
  const to = electStable(said, tombstones) ?? undoTarget({ ...model, tombstones });
  const others = (await store.hosts()).filter(({ cordoned }) => !cordoned);
  if (to === undefined || others.length === 0) return tellAnew(store, name, model, said, hosts);
  return takeBack(store, model, said, { to, witness });
}

async function tellAnew(
  store: FleetStore,
  name: string,
  model: ModelRecord | undefined,
  said: ModelTestimony,
  hosts: readonly string[],
): Promise<ModelMending> {
  const stored = model?.generation ?? 0;
  const stable = electStable(said, model?.tombstones) ?? model?.stable;
  const tombstones = badOf(said).filter((version) => version !== stable);
  let expectGeneration = stored;
  for (let from = 0; from < hosts.length; from += MAX_WRITES) {
    const chunk = hosts.slice(from, from + MAX_WRITES);
    const answer = await store.assertCells({
      model: name,
      expectGeneration,
      generationAbove: said.generation,
      hosts: chunk,
      writes:
        stable === undefined ? [] : chunk.map((_, place) => ({ place, cell: { versions: [stable], primary: stable } })),
      ...(stable !== undefined && { stable }),
      tombstones,
      intent: {
        actor: CONTROLLER,
        reason: `hosts accepted generation ${said.generation}, the store had ${stored}: its last writes were lost`,
        operation: randomUUID(),
      },
    });
    if (answer.outcome === 'conflict') return 'conflict';
    expectGeneration = answer.generation;
  }
  const known = stable === undefined ? undefined : said.rolledBack.get(stable);
  if (known === undefined || !badOf(said).includes(stable as number)) {
    return { done: `The store had lost writes of ${name}: told anew what most hosts serve.` };
  }
  const why = witnessText(known, stable as number);
  return { done: `The store had lost writes of ${name}: ${why}, and there is none to go back to. It stays stable.` };
}

/** The rollout that was lost, or one that comes to the same. */
async function takeBack(
  store: FleetStore,
  model: ModelRecord,
  said: ModelTestimony,
  { to, witness }: { readonly to: number; readonly witness: Witness },
): Promise<ModelMending> {
  const { name } = model;
  const version = model.stable as number;
  const also = badOf(said).filter((bad) => bad !== version && !model.tombstones.includes(bad));
  if (also.length > 0 && !(await entomb(store, model, said, also))) return 'conflict';
  const last = (await store.history(name, 1))[0];
  const record = last === undefined ? undefined : await store.rollout(last);
  const { plan, state } = makeUndo(
    { ...(record && limitsOf(record.plan)), model: name, version },
    { hosts: await store.hosts(), stable: version },
    { to, actor: CONTROLLER, witness },
  );
  // The same for all controllers: the first one starts it.
  const id = `${name.slice(0, 80)}-witness-v${version}-g${witness.generation}`;
  const { outcome } = await store.startRollout({
    ...{ id, plan, state, force: true, expectStable: version },
    ...{ actor: CONTROLLER, reason: state.reason, operation: id },
  });
  if (outcome === 'conflict') return outcome;
  if (outcome !== 'started') return NOTHING;
  return { done: `The store had lost that ${name} was taken back: rollout ${id} goes from ${version} to ${to} again.` };
}

/** Other versions that hosts were told to take back. False: somebody wrote in between. */
async function entomb(
  store: FleetStore,
  { name, generation }: ModelRecord,
  said: ModelTestimony,
  tombstones: readonly number[],
): Promise<boolean> {
  const answer = await store.assertCells({
    ...{ model: name, expectGeneration: generation, generationAbove: said.generation },
    ...{ hosts: [], writes: [], tombstones },
    intent: { actor: CONTROLLER, reason: 'hosts were told to take them back', operation: randomUUID() },
  });
  return answer.outcome !== 'conflict';
}

/** Whether a host accepted a newer generation than its cell has: a mending that did not get to the end. */
async function isAhead(store: FleetStore, model: string, hosts: readonly string[]): Promise<boolean> {
  const cells = await store.readCells(model, hosts);
  const reports = await store.readReports(hosts, [model]);
  return reports.some((report, index) => {
    const accepted = report?.models.get(model)?.generation ?? 0;
    return accepted > (decoded(cells[index])?.generation ?? 0);
  });
}
