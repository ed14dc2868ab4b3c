// From the write of a change to the moment when a host has accepted it, and what that costs.
import { FlowProducer } from 'bullmq';
import { Redis } from 'ioredis';
import { encodeCell } from '#lib/fleet/codec.js';
import { Latencies } from '../../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../../suite.js';
import { Bed, Changes, MODEL, NO_HEARTBEATS_MS } from '../bed.js';
import { type HostKind, QUEUE_PREFIX, queueDocument } from '../protocol.js';
import { describeUse, type RedisUse } from '../redis-meter.js';

const WARM_UP = 2;
const ROUNDS = 10;

/** Writes a version to all hosts. */
type Write = (version: number) => Promise<void>;

/** Changes all hosts again and again, each time when all is quiet. */
async function measure(bed: Bed, write: Write, rounds: number): Promise<Measured> {
  const latencies = new Latencies();
  const total = { commands: 0, cpu: 0, out: 0, worst: 0, hosts: 0 };
  let last: RedisUse | undefined;
  for (let version = 1; version <= WARM_UP + rounds; version++) {
    const before = await bed.quiet();
    const cpuBefore = await bed.hosts.cpuMicroseconds();
    const epoch = process.hrtime.bigint();
    const expected = bed.hosts.expect({ model: MODEL, version, epoch: String(epoch) });
    await write(version);
    const times = await expected;
    await bed.quiet();
    const hostsCpu = (await bed.hosts.cpuMicroseconds()) - cpuBefore;
    if (version <= WARM_UP) continue;
    for (const ms of times) latencies.add(ms);
    last = await bed.use(before);
    total.commands += last.commands;
    total.cpu += last.cpuMicroseconds;
    total.out += last.bytesOut;
    total.hosts += hostsCpu;
    total.worst = Math.max(total.worst, ...times);
  }
  if (last && process.env.ASPIRED_BENCH_VERBOSE) process.stderr.write(`${describeUse(last)}\n`);
  const changes = rounds * bed.ids.length;
  return {
    ...latencies.figures(),
    commands: total.commands / changes,
    cpu: total.cpu / changes,
    bytes: total.out / changes,
    hostCpu: total.hosts / changes,
  };
}

async function throughDocuments(hosts: number, rounds: number, how: HostKind): Promise<Measured> {
  return Bed.with({ hosts, heartbeatIntervalMs: NO_HEARTBEATS_MS, how }, async (bed) => {
    const changes = await Changes.start(bed);
    return measure(bed, (version) => changes.write(version), rounds);
  });
}

/** Hosts that one script writes to, as a commit does. */
const CHUNK = 500;
const WRITE_DOCUMENTS = `
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], ARGV[2])
  redis.call('HINCRBY', key, 'rev', 1)
end`;

async function throughQueues(hosts: number, rounds: number): Promise<Measured> {
  return Bed.with({ hosts, heartbeatIntervalMs: NO_HEARTBEATS_MS, how: 'startQueues' }, async (bed) => {
    const redis = new Redis(bed.server.url, { maxRetriesPerRequest: null });
    const producer = new FlowProducer({ connection: redis, prefix: QUEUE_PREFIX });
    const write = async (version: number): Promise<void> => {
      const cell = encodeCell({ generation: version, versions: [version], primary: version });
      for (let from = 0; from < bed.ids.length; from += CHUNK) {
        const ids = bed.ids.slice(from, from + CHUNK);
        await redis.eval(WRITE_DOCUMENTS, ids.length, ...ids.map(queueDocument), MODEL, cell);
        const opts = { removeOnComplete: true, removeOnFail: true };
        await producer.addBulk(ids.map((queueName) => ({ name: 'wake', queueName, data: { version }, opts })));
      }
    };
    try {
      return await measure(bed, write, rounds);
    } finally {
      await producer.close();
      redis.disconnect();
    }
  });
}

function figures(aims: boolean): Figure[] {
  const lower = { better: 'lower' } as const;
  return [
    { key: 'p50', label: 'write to accepted, p50', unit: 'ms', ...lower },
    { key: 'p99', label: 'p99', unit: 'ms', ...lower, ...(aims ? { aim: '<= 250' } : {}) },
    { key: 'max', label: 'max', unit: 'ms', ...lower },
    { key: 'commands', label: 'Redis commands per host', unit: '', ...lower, ...(aims ? { aim: '<= 6' } : {}) },
    { key: 'cpu', label: 'Redis CPU per host', unit: 'us', ...lower, ...(aims ? { aim: '<= 60' } : {}) },
    { key: 'bytes', label: 'sent by Redis per host', unit: 'B', ...lower },
    { key: 'hostCpu', label: 'CPU of a host', unit: 'us', ...lower },
  ];
}

const AIMED_AT = 1_000;

function variant(hosts: number, quick: boolean, how: HostKind = 'start'): Variant {
  const rounds = quick ? 3 : hosts > 3_000 ? 5 : ROUNDS;
  return {
    name: `${hosts.toLocaleString('en-US')} hosts${how === 'startLight' ? ' that report nothing' : ''}`,
    figures: figures(hosts === AIMED_AT),
    run: () => throughDocuments(hosts, rounds, how),
  };
}

const question =
  'One version of one model is written to all hosts, with their doorbells, in commits of 500: how long until each has ' +
  'accepted it, written it down and acts on it, and what did it cost Redis? Agents report back at once, which is part of ' +
  'the cost; beside them hosts that report nothing: what it takes to tell a host. The queues do not report either: the ' +
  'same documents, with a job in a BullMQ queue per host instead of the doorbell.';

/** At the size that is aimed at, beside the alternative. */
export const change: Suite = {
  name: 'change',
  question,
  variants: ({ quick }: TrialOptions) => {
    const hosts = quick ? 100 : AIMED_AT;
    return [
      variant(hosts, quick),
      variant(hosts, quick, 'startLight'),
      {
        name: `a BullMQ queue per host, ${hosts.toLocaleString('en-US')} hosts`,
        competitor: true,
        figures: figures(false),
        run: () => throughQueues(hosts, quick ? 3 : ROUNDS),
      },
    ];
  },
};

/** The same, as the fleet grows. */
export const growth: Suite = {
  name: 'growth',
  question: 'The same change as the fleet grows.',
  variants: ({ quick }: TrialOptions) =>
    (quick ? [30, 100] : [100, 1_000, 3_000, 10_000]).map((n) => variant(n, quick)),
};
