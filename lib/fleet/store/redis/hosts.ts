// Hosts in Redis: who there is, their cells, hints.
import { AspiredError } from '../../../errors.js';
import { checkFleetName } from '../../names.js';
import { encodeHostInfo } from '../../report-codec.js';
import type { FleetHost, HostInfo, Intent } from '../../types.js';
import { refused } from './answers.js';
import type { RedisConnection } from './connection.js';
import type { HostInfos } from './host-infos.js';
import { CHANGE_HOST, ENTER } from './scripts/index.js';

/** Hints that are kept, about. */
const MAX_HINTS = 10_000;
/** Hosts that one script enters. */
const ENTER_AT_ONCE = 500;

export class RedisHosts {
  readonly #connection: RedisConnection;
  readonly #infos: HostInfos;

  constructor(connection: RedisConnection, infos: HostInfos) {
    this.#connection = connection;
    this.#infos = infos;
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

  async readCells(model: string, hosts: readonly string[]): Promise<readonly (string | undefined)[]> {
    const commands = hosts.map((host) => ['hget', this.#connection.keys.desired(host), model]);
    const replies = await this.#connection.pipeline('readCells', commands);
    return replies.map((reply) => (typeof reply === 'string' ? reply : undefined));
  }

  #host(text: string): FleetHost {
    const [, index = '', cordoned, info = ''] = /^(\d+) (\d) (.*)$/s.exec(text) ?? [];
    return { index: Number(index), info: this.#infos.of(info), cordoned: cordoned === '1' };
  }
}
