// A whole fleet into an empty store. Everything is written before the fleet is opened: until then no controller writes.
//
// What is written is fenced: a run that another one of the same operation took over, or that stood still for too long, writes
// nothing any more, so that it cannot undo what controllers wrote since.
import { randomUUID } from 'node:crypto';
import { AspiredError } from '../../../errors.js';
import { encodeHostInfo } from '../../report-codec.js';
import { FLEET_SCHEMA, type FleetHost, type Intent } from '../../types.js';
import { checkExport } from '../export-check.js';
import type { FleetExport, ModelRecord } from '../types.js';
import { refused } from './answers.js';
import type { RedisConnection } from './connection.js';
import { type Keys, REVISION } from './keys.js';
import { IMPORT_BEGIN, IMPORT_END, IMPORT_PART, IMPORT_RELEASE } from './scripts/index.js';

/** Command, key, arguments. */
type Command = readonly [string, string, ...string[]];

/** Commands of one script, and cells of one command: Lua takes some thousand arguments, and others wait meanwhile. */
const COMMANDS = 100;
const CELLS = 500;

/** @throws AspiredError what checkExport() throws; ERR_ROLLOUT_CONFLICT: a fleet is there, or another import goes on */
export async function importFleet(
  connection: RedisConnection,
  fleet: string,
  data: FleetExport,
  intent: Intent,
): Promise<void> {
  checkExport(data, fleet);
  const { keys } = connection;
  const { operation } = intent;
  const run = `${randomUUID()} ${operation}`;
  const begun = await connection.script(IMPORT_BEGIN, [keys.meta, keys.importing], [operation, run]);
  if (isDone(begun, keys)) return;
  try {
    await write(connection, data, intent, run);
  } catch (error) {
    // The next one need not wait; where Redis is away it waits for the key to end.
    await connection.script(IMPORT_RELEASE, [keys.importing], [run]).catch(() => {});
    throw error;
  }
}

async function write(connection: RedisConnection, data: FleetExport, intent: Intent, run: string): Promise<void> {
  const { keys } = connection;
  const { operation, actor, reason } = intent;
  const time = await connection.call('import', (redis) => redis.time());
  const revision = String(Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000));
  const commands = [
    ...(await leftovers(connection)),
    ...data.hosts.flatMap((host) => hostCommands(keys, host, data.desired[host.info.id] ?? {}, revision)),
    ...data.models.flatMap((model) => modelCommands(keys, model)),
  ];
  for (let at = 0; at < commands.length; at += COMMANDS) {
    const part = commands.slice(at, at + COMMANDS);
    const written = await connection.script(
      IMPORT_PART,
      [keys.meta, keys.importing, ...part.map(([, key]) => key)],
      [operation, run, JSON.stringify(part.map(([command, , ...args]) => [command, ...args]))],
    );
    if (isDone(written, keys)) return;
  }
  const next = data.hosts.reduce((most, { index }) => Math.max(most, index + 1), 0);
  const counts = [String(next), String(data.hosts.length)];
  const ended = await connection.script(
    IMPORT_END,
    [keys.meta, keys.importing, keys.audit('')],
    [operation, run, String(FLEET_SCHEMA), randomUUID(), ...counts, actor, reason],
  );
  isDone(ended, keys);
  await connection.pipeline(
    'import',
    data.hosts.map(({ info }) => ['spublish', keys.desired(info.id), '']),
  );
}

/** True: it is done already. False: go on. */
function isDone([outcome, other]: readonly (string | null)[], keys: Keys): boolean {
  if (outcome === 'done') return true;
  if (outcome === 'go') return false;
  const why = {
    exists: 'the fleet is there already',
    busy: `the import ${other} goes on: the same operation takes it over, and one that stands still ends within a minute`,
    taken: 'another run of the same import goes on',
  }[String(outcome)];
  if (why === undefined) throw refused(outcome, keys);
  throw new AspiredError('ERR_ROLLOUT_CONFLICT', `An import goes into an empty store only, and ${why} (${keys.meta}).`);
}

/** What an import that did not get to its end has written. The lists go last: they say what there is. */
async function leftovers(connection: RedisConnection): Promise<readonly Command[]> {
  const { keys } = connection;
  const models = await connection.call('import', (redis) => redis.smembers(keys.models));
  const hosts = await connection.call('import', (redis) => redis.hkeys(keys.hosts));
  const left = [...models.map((name) => keys.model(name)), ...hosts.map((host) => keys.desired(host))];
  return [...left, keys.models, keys.hosts, keys.active].map((key) => ['del', key]);
}

/** Rollouts are not taken along: none is active. */
function modelCommands(keys: Keys, { name, generation, stable, previous, tombstones }: ModelRecord): Command[] {
  const fields = ['gen', String(generation), 'previous', previous.join(','), 'tombstones', tombstones.join(',')];
  if (stable !== undefined) fields.push('stable', String(stable));
  const key = keys.model(name);
  return [
    ['sadd', keys.models, name],
    ['del', key],
    ['hset', key, ...fields],
  ];
}

function hostCommands(
  keys: Keys,
  { index, info, cordoned }: FleetHost,
  cells: Readonly<Record<string, string>>,
  revision: string,
): Command[] {
  const document = keys.desired(info.id);
  const commands: Command[] = [
    ['hset', keys.hosts, info.id, `${index} ${cordoned ? 1 : 0} ${encodeHostInfo(info)}`],
    ['del', document],
    ['hset', document, REVISION, revision],
  ];
  const entries = Object.entries(cells);
  for (let at = 0; at < entries.length; at += CELLS) {
    commands.push(['hset', document, ...entries.slice(at, at + CELLS).flat()]);
  }
  return commands;
}
