// What a redis-server has done so far, by its own count.
import type { RedisServer } from '../../test/support/redis-server.js';

/** Counted since the server started. */
export interface RedisUse {
  /** Commands, those inside of scripts among them, without our own INFO. */
  readonly commands: number;
  /** Processor time of the server, user and system. */
  readonly cpuMicroseconds: number;
  readonly bytesOut: number;
  readonly bytesIn: number;
  /** Calls and microseconds by name of the command. */
  readonly byName: ReadonlyMap<string, { readonly calls: number; readonly microseconds: number }>;
}

/** Reads the counters. */
export async function readUse(server: RedisServer): Promise<RedisUse> {
  const info = await server.info('everything');
  const number = (key: string): number => Number(info[key] ?? Number.NaN);
  const byName = new Map<string, { calls: number; microseconds: number }>();
  let commands = 0;
  for (const [key, text] of Object.entries(info)) {
    const name = /^cmdstat_(.+)$/.exec(key)?.[1];
    const [, calls, microseconds] = /^calls=(\d+),usec=(\d+)/.exec(text) ?? [];
    if (name === undefined || name === 'info') continue;
    byName.set(name, { calls: Number(calls), microseconds: Number(microseconds) });
    commands += Number(calls);
  }
  return {
    commands,
    cpuMicroseconds: (number('used_cpu_user') + number('used_cpu_sys')) * 1e6,
    bytesOut: number('total_net_output_bytes'),
    bytesIn: number('total_net_input_bytes'),
    byName,
  };
}

/** What came after `earlier`. */
export function useSince(later: RedisUse, earlier: RedisUse): RedisUse {
  const byName = [...later.byName].map(([name, { calls, microseconds }]) => {
    const before = earlier.byName.get(name) ?? { calls: 0, microseconds: 0 };
    return [name, { calls: calls - before.calls, microseconds: microseconds - before.microseconds }] as const;
  });
  return {
    commands: later.commands - earlier.commands,
    cpuMicroseconds: later.cpuMicroseconds - earlier.cpuMicroseconds,
    bytesOut: later.bytesOut - earlier.bytesOut,
    bytesIn: later.bytesIn - earlier.bytesIn,
    byName: new Map(byName.filter(([, { calls }]) => calls > 0)),
  };
}

/** The commands of a use, the most expensive first: for a look at what a figure is made of. */
export function describeUse({ byName }: RedisUse): string {
  return [...byName]
    .sort(([, a], [, b]) => b.microseconds - a.microseconds)
    .map(([name, { calls, microseconds }]) => `${name} ${calls} (${microseconds} us)`)
    .join(', ');
}
