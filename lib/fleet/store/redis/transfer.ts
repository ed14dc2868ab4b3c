// A fleet as a whole: made, exported, imported, looked at.
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { AspiredError } from '../../../errors.js';
import { FLEET_SCHEMA, type FleetHost, type Intent } from '../../types.js';
import type { FleetExport, FleetMeta, StoreHealth } from '../types.js';
import { storeEmpty } from './answers.js';
import type { RedisConnection } from './connection.js';
import { importFleet } from './import.js';
import { REVISION } from './keys.js';
import { modelRecord } from './rollouts.js';
import { CREATE } from './scripts/index.js';

export class RedisTransfer {
  readonly #connection: RedisConnection;
  readonly #fleet: string;

  constructor(connection: RedisConnection, fleet: string) {
    this.#connection = connection;
    this.#fleet = fleet;
  }

  /** The store's clock, ms since the epoch. */
  async now(): Promise<number> {
    const [seconds, micros] = await this.#connection.call('now', (redis) => redis.time());
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  async meta(): Promise<FleetMeta | undefined> {
    const { meta } = this.#connection.keys;
    const fields = await this.#connection.call('meta', (redis) =>
      redis.hmget(meta, 'schema', 'incarnation', 'createdAt'),
    );
    return fleetMeta(fields);
  }

  async create(): Promise<FleetMeta> {
    const { keys } = this.#connection;
    const meta = fleetMeta(await this.#connection.script(CREATE, [keys.meta], [String(FLEET_SCHEMA), randomUUID()]));
    if (!meta) throw storeEmpty(keys);
    return meta;
  }

  async export(models: readonly string[], hosts: readonly FleetHost[]): Promise<FleetExport> {
    const { keys } = this.#connection;
    const meta = await this.meta();
    if (!meta) throw storeEmpty(keys);
    const records = await this.#connection.pipeline(
      'export',
      models.map((name) => ['hgetall', keys.model(name)]),
    );
    const documents = await this.#connection.pipeline(
      'export',
      hosts.map(({ info }) => ['hgetall', keys.desired(info.id)]),
    );
    return {
      ...{ schema: FLEET_SCHEMA, fleet: this.#fleet, incarnation: meta.incarnation, hosts },
      models: models.map((name, i) => modelRecord(name, records[i] as Record<string, string>)),
      desired: Object.fromEntries(
        hosts.map(({ info }, i) => {
          const { [REVISION]: _, ...cells } = documents[i] as Record<string, string>;
          return [info.id, cells];
        }),
      ),
    };
  }

  async import(data: FleetExport, intent: Intent): Promise<FleetMeta> {
    await importFleet(this.#connection, this.#fleet, data, intent);
    const meta = await this.meta();
    if (!meta) throw storeEmpty(this.#connection.keys);
    return meta;
  }

  async health(): Promise<StoreHealth> {
    const asked = Date.now();
    const now = await this.now();
    const clockSkewMs = Math.round(now - (asked + Date.now()) / 2);
    const info = parseInfo(await this.#optional((redis) => redis.info()));
    const listpack = await this.#optional((redis) => redis.config('GET', 'hash-max-listpack-entries'));
    const listpackEntries = Array.isArray(listpack) ? listpack[1] : undefined;
    return {
      ...{ kind: 'redis', clockSkewMs },
      ...(info.redis_version === undefined ? {} : { version: info.redis_version }),
      ...(info.role === 'master' || info.role === 'slave' ? { role: info.role } : {}),
      ...(info.aof_enabled === undefined ? {} : { appendOnly: info.aof_enabled === '1' }),
      ...(info.maxmemory_policy === undefined ? {} : { maxmemoryPolicy: info.maxmemory_policy }),
      ...(info.maxmemory === undefined ? {} : { maxmemory: Number(info.maxmemory) }),
      ...(info.used_memory === undefined ? {} : { usedMemory: Number(info.used_memory) }),
      ...(info.maxclients === undefined ? {} : { maxClients: Number(info.maxclients) }),
      ...(info.connected_slaves === undefined ? {} : { replicas: Number(info.connected_slaves) }),
      ...(listpackEntries === undefined ? {} : { listpackEntries: Number(listpackEntries) }),
      ...(info.master_replid === undefined ? {} : { replicationId: info.master_replid }),
    };
  }

  /** How many are connected; 0 where the user may not ask. */
  async replicas(): Promise<number> {
    const info = parseInfo(await this.#optional((redis) => redis.info('replication')));
    return Number(info.connected_slaves ?? 0);
  }

  /** Undefined where the user may not ask. */
  #optional<T>(ask: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    return this.#connection.call('health', ask).catch((error) => {
      if (error instanceof AspiredError && error.code === 'ERR_STORE_DENIED') return undefined;
      throw error;
    });
  }
}

function parseInfo(text: string | undefined): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(
    [...(text ?? '').matchAll(/^([a-z_0-9]+):(.*?)\r?$/gm)].map(([, key, value]) => [key, value]),
  );
}

function fleetMeta([schema, incarnation, createdAt]: readonly (string | null)[]): FleetMeta | undefined {
  if (!schema || !incarnation) return undefined;
  return { schema: Number(schema), incarnation, createdAt: Number(createdAt) };
}
