// Which boot of the agent this is, and what became of the one before. After a crash the lease of the earlier boot lives on; it
// can be given back at once where it is certain that its process is gone, and is waited for where it is not.
import { randomUUID } from 'node:crypto';
import { readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readText, writeDurably } from './durable-file.js';

/** What is certain of an earlier boot. */
export type Fate = 'gone' | 'alive' | 'unknown';

export interface EarlierBoot {
  readonly bootId: string;
  readonly fate: Fate;
  readonly pid: number;
}

interface BootRecord {
  readonly bootId: string;
  readonly pid: number;
  /** Tells a process from a later one with its number; machine, boot of the machine, and namespace of the number. */
  readonly process: string | undefined;
  /** The agent ended by close(): the process may go on without it. */
  readonly closed?: boolean;
}

export class Boot {
  readonly id: string = randomUUID();
  private readonly path: string;

  constructor(folder: string) {
    this.path = join(folder, 'boot.json');
  }

  /** Undefined: there was none, or nothing is known of it. */
  async earlier(): Promise<EarlierBoot | undefined> {
    const text = await readText(this.path).catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      const { bootId, pid, process: identity, closed } = JSON.parse(text) as BootRecord;
      if (typeof bootId !== 'string' || typeof pid !== 'number') return undefined;
      return { bootId, pid, fate: closed ? 'gone' : await fateOf(pid, identity) };
    } catch {
      return undefined;
    }
  }

  /** Writes down who we are. A hint for the next boot, so failing is no harm. */
  async record(closed = false): Promise<void> {
    const record: BootRecord = { bootId: this.id, pid: process.pid, process: await identityOf(process.pid), closed };
    await writeDurably(this.path, `${JSON.stringify(record)}\n`).catch(() => {});
  }

  /** The lease was given back: the next boot has nothing to wait for. */
  async forget(): Promise<void> {
    await rm(this.path, { force: true }).catch(() => {});
  }
}

async function fateOf(pid: number, identity: string | undefined): Promise<Fate> {
  // Numbers of processes mean nothing in another namespace, or on another machine that shares the folder.
  if (identity === undefined) return 'unknown';
  const place = await placeOfProcesses();
  if (place === undefined || !identity.startsWith(`${place} `)) return 'unknown';
  return (await identityOf(pid)) === identity ? 'alive' : 'gone';
}

/** The same for as long as the process lives, and for no other; undefined where the system does not tell, or it is gone. */
async function identityOf(pid: number): Promise<string | undefined> {
  const place = await placeOfProcesses();
  if (place === undefined) return undefined;
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // After the name, which may hold anything: the 20th field is when it started, in ticks since the machine did.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : `${place} ${pid} ${fields[18]}`;
  } catch {
    return undefined;
  }
}

async function placeOfProcesses(): Promise<string | undefined> {
  try {
    const machine = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    return `${machine} ${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return undefined;
  }
}
