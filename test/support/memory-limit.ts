// A child process under a real memory limit: a cgroup where that is permitted, `ulimit -v` otherwise.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChildOptions, type Ended, runProgram } from './children.js';

/** How a limited process ended. */
export interface LimitedEnd extends Ended {
  /** Processes that the kernel killed for memory; undefined where it does not say. */
  readonly oomKills?: number;
  /** What the kernel counted, for people. */
  readonly note: string;
}

/** A way to limit a process. */
export interface Limiter {
  /** 'rss': resident memory is what is limited; 'address space': everything that is mapped. */
  readonly counts: 'rss' | 'address space';
  readonly name: string;
  /** Rejects when the program does not end. */
  run(bytes: number, program: readonly string[], options: ChildOptions): Promise<LimitedEnd>;
}

/** The files of a kind of cgroup. */
interface CgroupFiles {
  readonly name: string;
  readonly limit: string;
  /** Set to the limit, or to 0, so that nothing goes to a swap device. */
  readonly swap: string;
  readonly swapValue: (bytes: number) => number;
  /** Has the line "oom_kill N". */
  readonly events: string;
  readonly peak: string;
}

const V1: CgroupFiles = {
  name: 'cgroup v1',
  limit: 'memory.limit_in_bytes',
  swap: 'memory.memsw.limit_in_bytes',
  swapValue: (bytes) => bytes,
  events: 'memory.oom_control',
  peak: 'memory.max_usage_in_bytes',
};
const V2: CgroupFiles = {
  name: 'cgroup v2',
  limit: 'memory.max',
  swap: 'memory.swap.max',
  swapValue: () => 0,
  events: 'memory.events',
  peak: 'memory.peak',
};

function read(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Where a group could be made: this process's own group and its ancestors, nearest first. */
function* parents(): Generator<readonly [string, CgroupFiles]> {
  const lines = read('/proc/self/cgroup').split('\n');
  const pathOf = (pattern: RegExp): string | undefined =>
    lines.map((line) => pattern.exec(line)?.[1]).find((path) => path !== undefined);
  const upwards = function* (root: string, path: string | undefined, files: CgroupFiles) {
    for (let at = path; at !== undefined; at = at === '/' ? undefined : dirname(at)) {
      yield [join(root, at), files] as const;
    }
  };
  yield* upwards('/sys/fs/cgroup/memory', pathOf(/^\d+:(?:[^:]+,)?memory(?:,[^:]+)?:(.*)$/), V1);
  yield* upwards('/sys/fs/cgroup', pathOf(/^0::(.*)$/), V2);
}

let groups = 0;

/** A new group below `parent`, or undefined where that is not permitted. */
function makeGroup(parent: string, files: CgroupFiles, bytes: number): string | undefined {
  if (!existsSync(join(parent, 'cgroup.procs'))) return undefined;
  const group = join(parent, `aspired-test-${process.pid}-${groups++}`);
  try {
    mkdirSync(group);
  } catch {
    return undefined;
  }
  try {
    // Opens a file that is there: in a group without the controller there is none.
    writeFileSync(join(group, files.limit), String(bytes), { flag: 'r+' });
    const swap = join(group, files.swap);
    if (existsSync(swap)) writeFileSync(swap, String(files.swapValue(bytes)), { flag: 'r+' });
    return group;
  } catch {
    rmdirSync(group);
    return undefined;
  }
}

/** Ends what hangs, with all that it started. */
function killGroup(group: string): void {
  for (const pid of read(join(group, 'cgroup.procs')).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** A group is busy for a moment after its last process has ended. */
async function removeGroup(group: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(20);
    }
  }
}

const ENTER = 'echo $$ > "$1" || exit 125; shift; exec "$@"';
const LIMIT = 'ulimit -v "$1" || exit 125; shift; exec "$@"';

function cgroupLimiter(parent: string, files: CgroupFiles): Limiter | undefined {
  const probe = makeGroup(parent, files, 2 ** 30);
  if (probe === undefined) return undefined;
  const { status } = spawnSync('sh', ['-c', ENTER, 'sh', join(probe, 'cgroup.procs'), 'true']);
  rmdirSync(probe);
  if (status !== 0) return undefined;
  return {
    name: files.name,
    counts: 'rss',
    async run(bytes, program, options) {
      const group = makeGroup(parent, files, bytes);
      if (group === undefined) throw new Error(`There can be no group below ${parent} any more`);
      try {
        const command = ['sh', '-c', ENTER, 'sh', join(group, 'cgroup.procs'), ...program] as const;
        const end = await runProgram(program.join(' '), command, options).catch((error) => {
          killGroup(group);
          throw error;
        });
        const kills = /^oom_kill (\d+)$/m.exec(read(join(group, files.events)))?.[1];
        const peak = read(join(group, files.peak)).trim() || '?';
        return {
          ...end,
          ...(kills === undefined ? {} : { oomKills: Number(kills) }),
          note: `${files.name}: limit ${bytes}, highest usage ${peak} with the cache of files`,
        };
      } finally {
        await removeGroup(group);
      }
    },
  };
}

function addressSpaceLimiter(): Limiter | undefined {
  if (spawnSync('sh', ['-c', LIMIT, 'sh', String(2 ** 20), 'true']).status !== 0) return undefined;
  return {
    name: 'ulimit -v',
    counts: 'address space',
    run: async (bytes, program, options) => {
      const kilobytes = String(Math.floor(bytes / 1024));
      const end = await runProgram(program.join(' '), ['sh', '-c', LIMIT, 'sh', kilobytes, ...program], options);
      return { ...end, note: `ulimit -v ${kilobytes}` };
    },
  };
}

/**
 * The best limiter that works here, or the reason why there is none. `ASPIRED_MEMORY_LIMIT=ulimit` asks for the second
 * best.
 */
export function findLimiter(): Limiter | string {
  if (process.platform !== 'linux') return `${process.platform} cannot limit the memory of a process`;
  if (process.env.ASPIRED_MEMORY_LIMIT !== 'ulimit') {
    for (const [parent, files] of parents()) {
      const limiter = cgroupLimiter(parent, files);
      if (limiter) return limiter;
    }
  }
  return addressSpaceLimiter() ?? 'no cgroup can be made here, and the shell does not know ulimit -v';
}
