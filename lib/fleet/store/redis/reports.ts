// Leases and reports, as controllers read them: what stands behind the lease is newer than what is in the hash.
import { AspiredError } from '../../../errors.js';
import { decodeHostStatus, decodeModelReport } from '../../report-codec.js';
import type { HostInfo, HostReport, ModelReport } from '../../types.js';
import type { Lease } from '../types.js';
import type { RedisConnection } from './connection.js';
import type { HostInfos } from './host-infos.js';
import { BOOT, INFO, STATUS } from './keys.js';

/** Leases that one command reads. */
const LEASES_AT_ONCE = 1000;

type Fields = ReadonlyMap<string, string | null | undefined>;

interface HeldLease extends Lease {
  /** Fields reported since the lease was renewed. */
  readonly recent: Fields;
}

export class RedisReports {
  readonly #connection: RedisConnection;
  readonly #infos: HostInfos;

  constructor(connection: RedisConnection, infos: HostInfos) {
    this.#connection = connection;
    this.#infos = infos;
  }

  async readLeases(hosts: readonly string[]): Promise<readonly (Lease | undefined)[]> {
    const leases = await this.#leases(hosts);
    return leases.map((lease) => lease && { bootId: lease.bootId, sequence: lease.sequence });
  }

  async readReports(
    hosts: readonly string[],
    models?: readonly string[],
  ): Promise<readonly (HostReport | undefined)[]> {
    const leases = await this.#leases(hosts);
    const reports: (HostReport | undefined)[] = [];
    /** Places of those for which the lease does not say it all. */
    const others: number[] = [];
    hosts.forEach((host, i) => {
      const lease = leases[i];
      const info = lease && this.#infos.known(host, lease.bootId);
      const hasAll = info && models && [STATUS, ...models].every((name) => lease.recent.has(name));
      if (hasAll) reports[i] = this.#report(host, wanted(lease.recent, models), info);
      else others.push(i);
    });
    const key = (i: number) => this.#connection.keys.report(hosts[i] as string);
    const names = models && [INFO, STATUS, ...models];
    const commands = others.map((i) => (names ? ['hmget', key(i), ...names] : ['hgetall', key(i)]));
    const replies = await this.#connection.pipeline('readReports', commands);
    others.forEach((i, at) => {
      const reply = replies[at];
      const stored = names
        ? names.map((name, n): [string, string | null] => [name, (reply as (string | null)[])[n] ?? null])
        : Object.entries(reply as Record<string, string>);
      const recent = leases[i]?.recent ?? [];
      reports[i] = this.#report(hosts[i] as string, wanted(new Map([...stored, ...recent]), models));
    });
    // Places that were never set must be there too.
    return hosts.map((_, i) => reports[i]);
  }

  async #leases(hosts: readonly string[]): Promise<readonly (HeldLease | undefined)[]> {
    const leases: (HeldLease | undefined)[] = [];
    for (let at = 0; at < hosts.length; at += LEASES_AT_ONCE) {
      const keys = hosts.slice(at, at + LEASES_AT_ONCE).map((host) => this.#connection.keys.lease(host));
      const texts = await this.#connection.call('readLeases', (redis) => redis.mget(keys));
      for (const text of texts) leases.push(text === null ? undefined : parseLease(text));
    }
    return leases;
  }

  #report(host: string, fields: Fields, knownInfo?: HostInfo): HostReport | undefined {
    try {
      let info = knownInfo;
      let status: HostReport['status'] | undefined;
      const models = new Map<string, ModelReport>();
      for (const [name, text] of fields) {
        if (typeof text !== 'string') continue;
        if (name === INFO) info = this.#infos.of(text);
        else if (name === STATUS) status = decodeHostStatus(text);
        else if (name !== BOOT) models.set(name, decodeModelReport(text));
      }
      if (!info || !status) return undefined;
      this.#infos.learn(host, status.bootId, info);
      return { info, status, models };
    } catch (error) {
      if (error instanceof AspiredError) return undefined;
      throw error;
    }
  }
}

function wanted(fields: Fields, models: readonly string[] | undefined): Fields {
  if (!models) return fields;
  return new Map([INFO, STATUS, ...models].map((name) => [name, fields.get(name)]));
}

function parseLease(text: string): HeldLease | undefined {
  const [, bootId, sequence, recent] = /^(\S+) (\d+) ?(.*)$/s.exec(text) ?? [];
  if (bootId === undefined) return undefined;
  return { bootId, sequence: Number(sequence), recent: recent ? parseRecent(recent) : new Map() };
}

function parseRecent(json: string): Fields {
  const fields = new Map<string, string | null>();
  try {
    const list: unknown = JSON.parse(json);
    if (!Array.isArray(list)) return fields;
    for (let i = 0; i + 1 < list.length; i += 2) fields.set(String(list[i]), list[i + 1]);
  } catch {
    // Nobody of ours wrote that: the hash alone counts.
  }
  return fields;
}
