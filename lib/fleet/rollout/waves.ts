// Which hosts a wave takes.
//
// Hosts are put in an order by rendezvous hashing of (model, host), zones mixed in proportion to their size: the same
// model always begins with the same hosts, another model with others, any beginning of the order is a fair share of each
// zone, and a host that joins or leaves moves no other relative to the rest of its zone.
import { AspiredError } from '../../errors.js';
import { checkInteger, checkKeys, invalidOption } from '../../options.js';
import { checkFleetName } from '../names.js';
import type { FleetHost } from '../types.js';
import { count } from './text.js';
import type { WaveSelector } from './types.js';

/** A wave with its hosts, in their order. */
export interface Wave {
  /** For people. */
  readonly label: string;
  readonly hosts: readonly FleetHost[];
}

/** One host, a tenth of the fleet, half of it, the rest. */
export const DEFAULT_WAVES: readonly WaveSelector[] = [
  { hosts: 1 },
  { percent: 10 },
  { percent: 50 },
  { percent: 100 },
];

const KINDS = ['hosts', 'percent', 'zone', 'labels'] as const;

/** The order in which a model comes to these hosts. */
export function orderHosts(model: string, hosts: readonly FleetHost[]): readonly FleetHost[] {
  const zones = new Map<string, FleetHost[]>();
  for (const host of hosts) {
    const zone = zones.get(host.info.zone);
    if (zone) zone.push(host);
    else zones.set(host.info.zone, [host]);
  }
  const ranked: { host: FleetHost; at: number; zone: number }[] = [];
  for (const [name, members] of zones) {
    const zone = score(model, name);
    const scored = members.map((host) => ({ host, score: score(model, host.info.id) }));
    scored.sort((a, b) => b.score - a.score || (a.host.info.id < b.host.info.id ? -1 : 1));
    for (const [rank, { host }] of scored.entries()) ranked.push({ host, at: (rank + 0.5) / members.length, zone });
  }
  const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  ranked.sort((a, b) => a.at - b.at || b.zone - a.zone || byName(a.host.info.zone, b.host.info.zone));
  return ranked.map(({ host }) => host);
}

// FNV-1a with the finalizer of MurmurHash3, which makes neighbouring names differ in all bits.
function score(model: string, name: string): number {
  let hash = 0x811c9dc5;
  for (const text of [model, '\0', name]) {
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * The waves of a rollout: every host in exactly one, none without hosts.
 *
 * Waves by count or percent that find nothing left to do are left out: a small fleet is through sooner. A wave that names
 * hosts, a zone or labels, and gets none, is an error.
 *
 * @param order What orderHosts() returns, without the cordoned ones. @param known All hosts of the fleet.
 * @throws AspiredError ERR_PLAN_UNKNOWN_HOST, ERR_PLAN_OVERLAPPING_WAVES, ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION
 */
export function selectWaves(
  selectors: readonly WaveSelector[],
  order: readonly FleetHost[],
  known: readonly FleetHost[],
): readonly Wave[] {
  const selection = new Selection(order, known);
  const waves: { label: string; hosts: FleetHost[] }[] = [];
  let percent = 0;
  for (const [index, selector] of selectors.entries()) {
    const name = `waves[${index}]`;
    checkSelector(name, selector);
    if ('percent' in selector) {
      if (selector.percent <= percent) {
        throw overlap(`${name} ends at ${selector.percent} %, which the wave before has reached: percentages add up`);
      }
      percent = selector.percent;
    }
    const wave = selection.take(name, selector);
    if (wave.hosts.length > 0) waves.push(wave);
  }
  const rest = selection.rest();
  const last = waves.at(-1);
  if (last && rest.length > 0) {
    last.hosts.push(...rest);
    last.label += ` and the ${count(rest.length, 'host')} left`;
  }
  return waves;
}

class Selection {
  private readonly taken = new Map<string, string>();
  private readonly byId: ReadonlyMap<string, FleetHost>;

  constructor(
    private readonly order: readonly FleetHost[],
    private readonly known: readonly FleetHost[],
  ) {
    this.byId = new Map(known.map((host) => [host.info.id, host]));
  }

  take(name: string, selector: WaveSelector): { label: string; hosts: FleetHost[] } {
    if ('percent' in selector) {
      const wanted = Math.ceil((this.order.length * selector.percent) / 100) - this.taken.size;
      return { label: `${selector.percent} %`, hosts: this.first(name, Math.max(0, wanted)) };
    }
    if ('zone' in selector) {
      const is = (host: FleetHost): boolean => host.info.zone === selector.zone;
      return { label: `zone ${selector.zone}`, hosts: this.all(name, `zone ${selector.zone}`, is) };
    }
    if ('labels' in selector) {
      const labels = Object.entries(selector.labels);
      const label = labels.map(([key, value]) => `${key}=${value}`).join(', ');
      const is = (host: FleetHost): boolean => labels.every(([key, value]) => host.info.labels[key] === value);
      return { label, hosts: this.all(name, `label ${label}`, is) };
    }
    if (typeof selector.hosts === 'number') {
      const hosts = this.first(name, selector.hosts);
      return { label: count(hosts.length, 'host'), hosts };
    }
    return { label: count(selector.hosts.length, 'host'), hosts: this.named(name, selector.hosts) };
  }

  rest(): readonly FleetHost[] {
    return this.order.filter((host) => !this.taken.has(host.info.id));
  }

  private first(name: string, wanted: number): FleetHost[] {
    const hosts: FleetHost[] = [];
    for (const host of this.order) {
      if (hosts.length >= wanted) break;
      if (!this.taken.has(host.info.id)) hosts.push(host);
    }
    return this.mark(name, hosts);
  }

  private all(name: string, what: string, is: (host: FleetHost) => boolean): FleetHost[] {
    if (!this.known.some(is)) throw unknown(`${name}: the fleet has no host of ${what}`);
    const hosts = this.order.filter((host) => is(host) && !this.taken.has(host.info.id));
    if (hosts.length === 0)
      throw overlap(`${name} is left without hosts: earlier waves took all of ${what}, or they are cordoned`);
    return this.mark(name, hosts);
  }

  private named(name: string, ids: readonly string[]): FleetHost[] {
    const wanted = new Set<string>();
    for (const id of ids) {
      if (wanted.has(id)) throw overlap(`${name} names host ${id} twice`);
      wanted.add(id);
      if (!this.byId.has(id)) throw unknown(`${name} names host ${id}, which the fleet does not have`);
      const other = this.taken.get(id);
      if (other !== undefined) throw overlap(`${name} names host ${id}, which ${other} takes`);
    }
    const hosts = this.order.filter((host) => wanted.has(host.info.id));
    if (hosts.length === 0) throw overlap(`${name} is left without hosts: all that it names are cordoned`);
    return this.mark(name, hosts);
  }

  private mark(name: string, hosts: FleetHost[]): FleetHost[] {
    for (const host of hosts) this.taken.set(host.info.id, name);
    return hosts;
  }
}

function checkSelector(name: string, selector: unknown): asserts selector is WaveSelector {
  checkKeys(name, selector, KINDS);
  const kinds = Object.keys(selector);
  if (kinds.length !== 1) throw invalidOption(name, 'one of hosts, percent, zone and labels', selector);
  const { hosts, percent, zone, labels } = selector;
  if (zone !== undefined) {
    checkFleetName(`${name}.zone`, zone);
  } else if (labels !== undefined) {
    if (typeof labels !== 'object' || labels === null || Object.keys(labels).length === 0) {
      throw invalidOption(`${name}.labels`, 'an object with at least one label', labels);
    }
  } else if (percent !== undefined) {
    if (typeof percent !== 'number' || !(percent > 0 && percent <= 100)) {
      throw invalidOption(`${name}.percent`, 'a number above 0, at most 100', percent);
    }
  } else if (Array.isArray(hosts)) {
    if (hosts.length === 0) throw overlap(`${name} names no host`);
    for (const id of hosts) checkFleetName(`${name}.hosts`, id);
  } else {
    checkInteger(`${name}.hosts`, hosts, Number.NaN, 1);
  }
}

function overlap(message: string): AspiredError {
  return new AspiredError('ERR_PLAN_OVERLAPPING_WAVES', message);
}

function unknown(message: string): AspiredError {
  return new AspiredError('ERR_PLAN_UNKNOWN_HOST', message);
}
