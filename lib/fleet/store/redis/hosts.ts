// Hosts in Redis: leases, reports, documents, hints.
import { AspiredError } from '../../../errors.js';
import { checkFleetName } from '../../names.js';
import {
  decodeHostInfo,
  decodeHostStatus,
  decodeModelReport,
  encodeHostInfo,
  encodeHostStatus,
  encodeModelReport,
} from '../../report-codec.js';
import type { FleetHost, HostInfo, HostReport, Intent, ModelReport } from '../../types.js';
import type { Heartbeat, HeartbeatAnswer, Lease, StoredDocument } from '../types.js';
import { refused } from './answers.js';
import type { RedisConnection } from './connection.js';
import { BOOT, INFO, REVISION, STATUS } from './keys.js';
import { CHANGE_HOST, ENTER, HEARTBEAT, LEAVE } from './scripts/index.js';

/** Hints that are kept, about. */
const MAX_HINTS = 10_000;
/** Hosts that one script enters. */
const ENTER_AT_ONCE = 500;

export class RedisHosts {
  readonly #connection: RedisConnection;
  /** What hosts say of themselves hardly changes, and is read with each report. */
  readonly #infos = new Map<string, HostInfo>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async heartbeat(beat: Heartbeat): Promise<HeartbeatAnswer> {
    const { host, bootId, sequence, leaseMs, info } = beat;
    const { keys } = this.#connection;
    const { pairs, gone } = fieldsOf(beat);
    const [outcome, revision, heldBy] = await this.#connection.script(
      HEARTBEAT,
      [keys.lease(host), keys.report(host), keys.desired(host)],
      [bootId, String(sequence), String(leaseMs), info ? '1' : '0', String(pairs.length), ...pairs, ...gone],
    );
    return {
      known: typeof revision === 'string',
      ...(typeof revision === 'string' ? { revision: Number(revision) } : {}),
      ...(outcome === 'held' ? { heldBy: String(heldBy) } : {}),
      ...(outcome === 'resend' ? { resend: true as const } : {}),
    };
  }

  async leave(host: string, bootId: string): Promise<void> {
    await this.#connection.script(LEAVE, [this.#connection.keys.lease(host)], [bootId]);
  }

  async readDesired(host: string): Promise<StoredDocument | undefined> {
    const key = this.#connection.keys.desired(host);
    const fields = await this.#connection.call('readDesired', (redis) => redis.hgetall(key));
    const { [REVISION]: revision, ...cells } = fields;
    // A document without its revision is none: half of one must not look like a whole.
    return revision === undefined ? undefined : { revision: Number(revision), cells: new Map(Object.entries(cells)) };
  }

  onDoorbell(host: string, ring: () => void): Promise<AsyncDisposable> {
    return this.#connection.subscribe(this.#connection.keys.desired(host), ring);
  }

  async hint(host: string): Promise<void> {
    const name = checkFleetName('a host', host);
    const { hints } = this.#connection.keys;
    await this.#connection.call('hint', (redis) => redis.xadd(hints, 'MAXLEN', '~', MAX_HINTS, '*', 'h', name));
  }

  async readHints(after: string): Promise<{ readonly hosts: readonly string[]; readonly next: string }> {
    const from = after === '' ? '-' : `(${after}`;
    const { hints } = this.#connection.keys;
    const entries = await this.#connection.call('readHints', (r) => r.xrange(hints, from, '+', 'COUNT', MAX_HINTS));
    return { hosts: [...new Set(entries.map(([, [, host = '']]) => host))], next: entries.at(-1)?.[0] ?? after };
  }

  async hosts(): Promise<readonly FleetHost[]> {
    const all = await this.#connection.call('hosts', (redis) => redis.hgetall(this.#connection.keys.hosts));
    return Object.values(all)
      .map((text) => this.#host(text))
      .sort((a, b) => a.index - b.index);
  }

  async enterHosts(infos: readonly HostInfo[]): Promise<readonly FleetHost[]> {
    const { keys } = this.#connection;
    const entered: FleetHost[] = [];
    for (let at = 0; at < infos.length; at += ENTER_AT_ONCE) {
      const part = infos.slice(at, at + ENTER_AT_ONCE);
      const [outcome, ...places] = await this.#connection.script(
        ENTER,
        [keys.meta, keys.hosts, ...part.map(({ id }) => keys.desired(id))],
        part.flatMap((info) => [info.id, encodeHostInfo(info)]),
      );
      if (outcome !== 'ok') throw refused(outcome, keys);
      part.forEach((info, i) => {
        const [index, cordoned] = String(places[i]).split(' ');
        entered.push({ index: Number(index), info, cordoned: cordoned === '1' });
      });
    }
    return entered;
  }

  /** Cordons, uncordons or removes a host. */
  async change(host: string, to: '0' | '1' | 'remove', { operation, actor, reason }: Intent): Promise<void> {
    const { keys } = this.#connection;
    const own = to === 'remove' ? [keys.desired(host), keys.report(host), keys.lease(host)] : [];
    const [outcome] = await this.#connection.script(
      CHANGE_HOST,
      [keys.meta, keys.hosts, keys.audit(''), ...own],
      [host, to, operation, actor, reason],
    );
    if (outcome === 'unknown') {
      throw new AspiredError('ERR_HOST_NOT_FOUND', `No host of the fleet has the id ${JSON.stringify(host)}.`);
    }
    if (outcome !== 'ok') throw refused(outcome, keys);
  }

  async readLeases(hosts: readonly string[]): Promise<readonly (Lease | undefined)[]> {
    if (hosts.length === 0) return [];
    const keys = hosts.map((host) => this.#connection.keys.lease(host));
    const leases = await this.#connection.call('readLeases', (redis) => redis.mget(keys));
    return leases.map((text) => {
      const [bootId, sequence] = text?.split(' ') ?? [];
      return bootId === undefined ? undefined : { bootId, sequence: Number(sequence) };
    });
  }

  async readReports(
    hosts: readonly string[],
    models?: readonly string[],
  ): Promise<readonly (HostReport | undefined)[]> {
    const key = (host: string) => this.#connection.keys.report(host);
    const commands = models
      ? hosts.map((host) => ['hmget', key(host), INFO, STATUS, ...models])
      : hosts.map((host) => ['hgetall', key(host)]);
    const replies = await this.#connection.pipeline('readReports', commands);
    return replies.map((reply) => {
      if (!models) return this.#report(Object.entries(reply as Record<string, string>));
      const values = reply as readonly (string | null)[];
      return this.#report([INFO, STATUS, ...models].map((name, i) => [name, values[i] ?? undefined]));
    });
  }

  async readCells(model: string, hosts: readonly string[]): Promise<readonly (string | undefined)[]> {
    const commands = hosts.map((host) => ['hget', this.#connection.keys.desired(host), model]);
    const replies = await this.#connection.pipeline('readCells', commands);
    return replies.map((reply) => (typeof reply === 'string' ? reply : undefined));
  }

  #report(fields: readonly (readonly [string, string | undefined])[]): HostReport | undefined {
    try {
      let info: HostInfo | undefined;
      let status: HostReport['status'] | undefined;
      const models = new Map<string, ModelReport>();
      for (const [name, text] of fields) {
        if (text === undefined) continue;
        if (name === INFO) info = this.#info(text);
        else if (name === STATUS) status = decodeHostStatus(text);
        else if (name !== BOOT) models.set(name, decodeModelReport(text));
      }
      return info && status && { info, status, models };
    } catch (error) {
      if (error instanceof AspiredError) return undefined;
      throw error;
    }
  }

  #host(text: string): FleetHost {
    const [, index = '', cordoned, info = ''] = /^(\d+) (\d) (.*)$/s.exec(text) ?? [];
    return { index: Number(index), info: this.#info(info), cordoned: cordoned === '1' };
  }

  #info(text: string): HostInfo {
    let info = this.#infos.get(text);
    if (!info) {
      info = decodeHostInfo(text);
      // Old ones are not worth finding.
      if (this.#infos.size > 50_000) this.#infos.clear();
      this.#infos.set(text, info);
    }
    return info;
  }
}

/** Fields with their values, and fields that go. */
function fieldsOf({ bootId, sequence, info, status, models }: Heartbeat): { pairs: string[]; gone: string[] } {
  const pairs: string[] = [];
  const gone: string[] = [];
  if (info) pairs.push(INFO, encodeHostInfo(info));
  if (status) pairs.push(STATUS, encodeHostStatus(status));
  for (const [name, report] of models ?? []) {
    if (report) pairs.push(name, encodeModelReport(report));
    else gone.push(name);
  }
  if (pairs.length + gone.length > 0) pairs.push(BOOT, `${bootId} ${sequence}`);
  return { pairs, gone };
}
