// The alternative not taken: a BullMQ queue per host. A job says that the document has changed; the host reads it, writes it
// to its disk, and acts on it, as an agent does.
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { decodeCell } from '#lib/fleet/codec.js';
import { type HostsStart, hostId, QUEUE_PREFIX, queueDocument } from './protocol.js';

/** Starts the workers; the answer closes them. */
export async function startQueueHosts(
  { url, from, count, stateDir }: HostsStart,
  act: (index: number, model: string, versions: readonly number[]) => void,
): Promise<() => Promise<void>> {
  mkdirSync(stateDir, { recursive: true });
  const workers: Worker[] = [];
  const connections: Redis[] = [];
  for (let index = from; index < from + count; index++) {
    const host = hostId(index);
    // Its own connection for commands; the worker makes a second one, which waits for jobs.
    const redis = new Redis(url, { maxRetriesPerRequest: null });
    redis.on('error', () => {});
    connections.push(redis);
    const worker = new Worker(
      host,
      async () => {
        const document = await redis.hgetall(queueDocument(host));
        await persist(join(stateDir, host), JSON.stringify(document));
        for (const [model, text] of Object.entries(document)) {
          if (model !== 'rev') act(index, model, decodeCell(text).versions);
        }
      },
      { connection: redis, prefix: QUEUE_PREFIX },
    );
    worker.on('error', () => {});
    workers.push(worker);
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  return async () => {
    await Promise.all(workers.map((worker) => worker.close(true)));
    for (const redis of connections) redis.disconnect();
  };
}

async function persist(path: string, text: string): Promise<void> {
  const file = await open(path, 'w');
  await file.writeFile(text);
  await file.sync();
  await file.close();
}
