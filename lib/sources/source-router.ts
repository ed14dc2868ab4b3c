import { AspiredError } from '../errors.js';
import { checkInteger, checkName, describe, invalidOption } from '../options.js';
import { checkTarget } from './adapters.js';
import { Connection } from './connection.js';
import type { SourceConnection, SourceTarget } from './source.js';

/** The answer of a route function that drops a list. */
export const noRoute = -1;

/**
 * Sends the lists of each name to one of several ports, each of which may have a target.
 *
 * Nothing blocks and nothing is lost: the newest list of each name is kept, and a port that gets a target gives it the
 * newest lists of the names that are routed to it then.
 */
export class SourceRouter<Item> implements SourceTarget<Item> {
  readonly #route: (name: string, items: readonly Item[]) => number;
  readonly #ports: (Connection<Item> | undefined)[];
  readonly #newest = new Map<string, readonly Item[]>();

  /** `route` answers with a port, from 0 to `numPorts` - 1, or {@link noRoute}. */
  constructor(numPorts: number, route: (name: string, items: readonly Item[]) => number) {
    const count = checkInteger('numPorts', numPorts ?? Number.NaN, 1, 1, 2 ** 20);
    if (typeof route !== 'function') throw invalidOption('route', 'a function', route);
    this.#ports = new Array(count).fill(undefined);
    this.#route = route;
  }

  get numPorts(): number {
    return this.#ports.length;
  }

  /**
   * Gives a port its target, and the target the newest lists. One target at a time for each port
   * (ERR_SOURCE_CONNECTED). When the target throws, the port stays without it. The connection ends when it is disposed,
   * and when the target closes.
   */
  connect(port: number, target: SourceTarget<Item>): SourceConnection {
    this.#checkPort('port', port);
    checkTarget('target', target);
    if (this.#ports[port] !== undefined) {
      throw new AspiredError('ERR_SOURCE_CONNECTED', `Port ${port} of the router has a target already.`);
    }
    const connection = new Connection(target, () => {
      this.#ports[port] = undefined;
    });
    this.#ports[port] = connection;
    connection.open();
    try {
      for (const [name, items] of [...this.#newest]) {
        if (this.#portOf(name, items) === port) connection.setAspiredVersions(name, items);
      }
    } catch (error) {
      connection.dispose();
      throw error;
    }
    return connection;
  }

  /** Hands the list to the target of its port; returns what the target returns. */
  setAspiredVersions(name: string, items: readonly Item[]): unknown {
    const port = this.#portOf(checkName(name), items);
    if (port === noRoute) {
      this.#newest.delete(name);
      return undefined;
    }
    const connection = this.#ports[port];
    // An empty list that was handed over leaves nothing that a later target would have to know.
    if (connection !== undefined && items.length === 0) this.#newest.delete(name);
    else this.#newest.set(name, items);
    return connection?.setAspiredVersions(name, items);
  }

  #portOf(name: string, items: readonly Item[]): number {
    const port = this.#route(name, items);
    if (port !== noRoute) this.#checkPort('the answer of route', port);
    return port;
  }

  #checkPort(what: string, port: unknown): void {
    if (typeof port === 'number' && Number.isInteger(port) && port >= 0 && port < this.#ports.length) return;
    const message = `Expected a port from 0 to ${this.#ports.length - 1} for ${what}, but received ${describe(port)}.`;
    throw new AspiredError('ERR_INVALID_ARGUMENT', message);
  }
}

/**
 * Routes by substrings: a name goes to the port of the first pattern, in order, that it contains, and to the last port,
 * which is one more than there are patterns, when it contains none.
 */
export class StaticSourceRouter<Item> extends SourceRouter<Item> {
  constructor(patterns: readonly string[]) {
    if (!Array.isArray(patterns) || !patterns.every((pattern) => typeof pattern === 'string' && pattern !== '')) {
      throw invalidOption('patterns', 'an array of non-empty strings', patterns);
    }
    const fixed: readonly string[] = [...patterns];
    super(fixed.length + 1, (name) => {
      const port = fixed.findIndex((pattern) => name.includes(pattern));
      return port === -1 ? fixed.length : port;
    });
  }
}

/** Name to port. */
export type Routes = ReadonlyMap<string, number> | Readonly<Record<string, number>>;

/**
 * Routes by a table that can be replaced. The last port takes the names that are not in the table, and cannot be in
 * it. A change of the table sends nothing by itself: the next list of a name takes its new way, and what the target of
 * its old port has stays there until it is given an empty list.
 */
export class DynamicSourceRouter<Item> extends SourceRouter<Item> {
  #routes: ReadonlyMap<string, number>;

  constructor(numPorts: number, routes: Routes = {}) {
    super(numPorts, (name) => this.#routes.get(name) ?? this.numPorts - 1);
    this.#routes = checkRoutes(routes, this.numPorts);
  }

  /** A copy of the table. */
  getRoutes(): Map<string, number> {
    return new Map(this.#routes);
  }

  /** Replaces the whole table. A table that is not valid throws and changes nothing. */
  updateRoutes(routes: Routes): void {
    this.#routes = checkRoutes(routes, this.numPorts);
  }
}

function checkRoutes(routes: unknown, numPorts: number): ReadonlyMap<string, number> {
  if (typeof routes !== 'object' || routes === null || Array.isArray(routes)) {
    throw invalidOption('routes', 'an object or a Map of names to ports', routes);
  }
  const table = new Map<string, number>(routes instanceof Map ? routes : Object.entries(routes));
  for (const [name, port] of table) {
    checkName(name);
    // The last port is the default.
    if (Number.isInteger(port) && port >= 0 && port < numPorts - 1) continue;
    const expected = numPorts < 2 ? 'no routes, as there is only the default port' : `a port from 0 to ${numPorts - 2}`;
    throw invalidOption(`routes[${JSON.stringify(name)}]`, expected, port);
  }
  return table;
}
