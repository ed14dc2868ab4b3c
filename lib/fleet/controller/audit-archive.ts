// The audit trail on disk: the store keeps what it has room for, a file keeps all.
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Queue } from 'bullmq';
import type { AuditEntry, FleetStore } from '../store/types.js';
import { FINITE, type QueueFactory } from './queues.js';
import { WatchedWorker } from './watched-worker.js';

const EVERY_MS = 3_600_000;
const CHUNK = 1_000;
/** Bytes at the end of a file that hold its last line. */
const TAIL = 64 * 1024;

/**
 * Appends what is new to `<directory>/<model>.ndjson`, and to `_fleet.ndjson` what is of no model: one entry per line, as
 * JSON. Where it goes on is the last line of the file, so it can be done twice, or late.
 */
export async function archiveAudit(store: FleetStore, directory: string): Promise<number> {
  await mkdir(directory, { recursive: true });
  let count = 0;
  for (const model of ['', ...(await store.models())]) {
    const file = join(directory, `${model === '' ? '_fleet' : model}.ndjson`);
    let { after, torn } = await tailOf(file);
    for (;;) {
      const entries = await store.audit(model, after, CHUNK);
      if (entries.length === 0) break;
      await append(file, entries, torn);
      torn = false;
      count += entries.length;
      after = (entries.at(-1) as AuditEntry).id;
    }
  }
  return count;
}

async function append(file: string, entries: readonly AuditEntry[], torn: boolean): Promise<void> {
  const handle = await open(file, 'a');
  try {
    // Unlike write(), until all of it is written: a disk that fills up may take a part of it.
    await handle.writeFile(`${torn ? '\n' : ''}${entries.map((entry) => JSON.stringify(entry)).join('\n')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The id of the last whole line, '' without one; `torn`: what was being written when a process ended follows it. */
async function tailOf(file: string): Promise<{ readonly after: string; readonly torn: boolean }> {
  const text = await readTail(file);
  for (const line of text.split('\n').reverse()) {
    try {
      const { id } = JSON.parse(line) as Partial<AuditEntry>;
      if (typeof id === 'string') return { after: id, torn: !text.endsWith('\n') };
    } catch {
      // Torn, or the part of a line that TAIL begins with.
    }
  }
  return { after: '', torn: text !== '' && !text.endsWith('\n') };
}

async function readTail(file: string): Promise<string> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, TAIL);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Does it each hour, by whichever controller has a directory. */
export class AuditArchive {
  private readonly queue: Queue<object>;
  readonly worker: WatchedWorker<object>;
  private scheduledAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly factory: QueueFactory,
    store: FleetStore,
    directory: string,
    onError: (error: unknown) => void,
  ) {
    this.queue = factory.queue('archive');
    const work = async (): Promise<void> => {
      await archiveAudit(store, directory).catch((error) => {
        onError(error);
        throw error;
      });
    };
    this.worker = new WatchedWorker(this.queue, { factory, name: 'archive', work, options: { concurrency: 1 } });
  }

  /** Sees to it that it is scheduled: a scheduler is gone when Redis loses its data. */
  async schedule(): Promise<void> {
    if (performance.now() - this.scheduledAt < EVERY_MS / 60) return;
    await this.queue.upsertJobScheduler(
      'hourly',
      { every: EVERY_MS },
      { name: 'archive', data: {}, opts: { attempts: 3, backoff: { type: 'exponential', delay: 5_000 }, ...FINITE } },
    );
    this.scheduledAt = performance.now();
  }

  async close(): Promise<void> {
    await Promise.all([this.worker.close(), this.factory.closeQueue(this.queue)]);
  }
}
