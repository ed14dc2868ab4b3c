// What an export must be before anything of it is written: it comes from a file, which may be cut off, edited, or another one.
import type { AspiredErrorCode } from '../../error-codes.js';
import { AspiredError, messageOf } from '../../errors.js';
import { describe } from '../../options.js';
import { decodeCell } from '../codec.js';
import { checkFleetName } from '../names.js';
import { FLEET_SCHEMA } from '../types.js';
import type { FleetExport } from './types.js';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Checks all of it. Messages name the place, what was expected there, and what came.
 *
 * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME, ERR_SCHEMA_UNSUPPORTED, ERR_DOCUMENT_UNDECODABLE
 */
export function checkExport(value: unknown, fleet: string): asserts value is FleetExport {
  const { schema, ...data } = fields('', value);
  if (schema !== FLEET_SCHEMA) {
    const code = Number.isSafeInteger(schema) ? 'ERR_SCHEMA_UNSUPPORTED' : 'ERR_INVALID_ARGUMENT';
    throw wrong('schema', `${FLEET_SCHEMA}, which this package reads,`, schema, code);
  }
  if (data.fleet !== fleet) throw wrong('fleet', JSON.stringify(fleet), data.fleet);
  text('incarnation', data.incarnation);
  const models = new Set<unknown>();
  for (const [i, model] of array('models', data.models).entries()) checkModel(`models[${i}]`, model, models);
  const hosts = new Set<unknown>();
  const indexes = new Set<unknown>();
  for (const [i, host] of array('hosts', data.hosts).entries()) checkHost(`hosts[${i}]`, host, hosts, indexes);
  for (const [host, cells] of Object.entries(fields('desired', data.desired))) {
    if (!hosts.has(host)) throw wrong('desired', 'documents of the hosts that are in it', host);
    for (const [model, cell] of Object.entries(fields(`desired.${host}`, cells))) checkCell(host, model, cell);
  }
}

function checkModel(place: string, value: unknown, known: Set<unknown>): void {
  const { name, generation, stable, previous, tombstones } = fields(place, value);
  once(`${place}.name`, checkFleetName(`${place}.name of the export`, name), known);
  whole(`${place}.generation`, generation);
  if (stable !== undefined) whole(`${place}.stable`, stable);
  for (const [list, versions] of Object.entries({ previous, tombstones })) {
    for (const [i, version] of array(`${place}.${list}`, versions).entries()) whole(`${place}.${list}[${i}]`, version);
  }
}

function checkHost(place: string, value: unknown, known: Set<unknown>, indexes: Set<unknown>): void {
  const { index, info, cordoned } = fields(place, value);
  whole(`${place}.index`, index);
  once(`${place}.index`, index, indexes);
  if (typeof cordoned !== 'boolean') throw wrong(`${place}.cordoned`, 'true or false', cordoned);
  const { id, zone, labels, capacityBytes, agentVersion, schema } = fields(`${place}.info`, info);
  once(`${place}.info.id`, checkFleetName(`${place}.info.id of the export`, id), known);
  checkFleetName(`${place}.info.zone of the export`, zone);
  for (const [label, content] of Object.entries(fields(`${place}.info.labels`, labels))) {
    text(`${place}.info.labels[${JSON.stringify(label)}]`, content);
  }
  whole(`${place}.info.capacityBytes`, capacityBytes);
  text(`${place}.info.agentVersion`, agentVersion);
  whole(`${place}.info.schema`, schema);
}

function checkCell(host: string, model: string, cell: unknown): void {
  checkFleetName(`a model of desired.${host} of the export`, model);
  const place = `desired.${host}.${model}`;
  text(place, cell);
  try {
    decodeCell(cell as string);
  } catch (error) {
    if (!(error instanceof AspiredError)) throw error;
    throw new AspiredError(error.code, `Expected a cell for ${place} of the export: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function wrong(place: string, expected: string, value: unknown, code?: AspiredErrorCode): AspiredError {
  const where = place === '' ? 'the export' : `${place} of the export`;
  const message = `Expected ${expected} for ${where}, but received ${describe(value)}.`;
  return new AspiredError(code ?? 'ERR_INVALID_ARGUMENT', message);
}

function fields(place: string, value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw wrong(place, 'an object', value);
}

function array(place: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw wrong(place, 'an array', value);
}

function text(place: string, value: unknown): void {
  if (typeof value !== 'string') throw wrong(place, 'a text', value);
}

function whole(place: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(place, 'a safe integer >= 0', value);
}

function once(place: string, value: unknown, known: Set<unknown>): void {
  if (known.has(value)) throw wrong(place, 'what no other one has', value);
  known.add(value);
}
