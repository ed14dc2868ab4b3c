// A redis-server of one's own: on a free loopback port, in a temporary folder, ended with the test that started it, and
// also when the process of the test dies, however it dies.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { deadline, PATIENCE_MS } from './deadline.js';

export interface RedisServerOptions {
  /**
   * Append-only file. true: synced every second; while the disk is at that, answers come before the file has it, and kill()
   * loses what was answered. 'always': synced before each answer, so kill() loses nothing. @default false
   */
  readonly aof?: boolean | 'always';
  readonly password?: string;
  /** Bytes; what is over them is refused (noeviction) unless `args` says otherwise. */
  readonly maxmemory?: number;
  readonly replicaOf?: RedisServer;
  /** More of redis-server's options: ['--hash-max-listpack-entries', '1024']. */
  readonly args?: readonly string[];
}

/** What gives `after`: a TestContext, or node:test itself for a server of the whole file. */
export interface Owner {
  after(end: () => Promise<void>): void;
}

// The shell holds the server: it ends it when its own input ends, which it does with the process of the test. A signal to all
// of the group (a terminal is closed) ends `cat`, and not the shell: the server ignores SIGHUP and would outlive it.
const KEEPER =
  'trap : HUP INT TERM; "$@" </dev/null >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait $!';

/** The program; undefined when there is none. */
export function redisServerPath(): string | undefined {
  const given = process.env.ASPIRED_REDIS_SERVER;
  const folders = (process.env.PATH ?? '').split(delimiter);
  return [...(given ? [given] : []), ...folders.map((folder) => join(folder, 'redis-server'))].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** For the option `skip` of a test: false where there is a server, else the reason. */
export const withoutRedis: string | false =
  process.platform === 'win32' || redisServerPath() === undefined
    ? 'redis-server is not installed (node scripts/setup.mjs --tests=js says what to type)'
    : false;

export class RedisServer {
  readonly port: number;
  /** Its data and its log, redis.log. */
  readonly folder = mkdtempSync(join(tmpdir(), 'aspired-redis-'));
  #options: RedisServerOptions;
  #keeper: ChildProcess | undefined;
  #pid = 0;
  #admin: Redis | undefined;

  private constructor(port: number, options: RedisServerOptions) {
    this.port = port;
    this.#options = options;
  }

  /** Starts one, and waits until it answers. `owner` ends it: the context of a test, or node:test for the whole file. */
  static async start(owner: Owner, options: RedisServerOptions = {}): Promise<RedisServer> {
    for (let attempt = 1; ; attempt++) {
      const server = new RedisServer(await RedisServer.freePort(), options);
      try {
        await server.#launch();
        owner.after(() => server.stop());
        return server;
      } catch (error) {
        // Somebody else may have taken the port in between.
        const log = server.log();
        await server.stop();
        if (attempt === 3 || !log.includes('Address already in use')) throw new Error(`${error}\n${log}`);
      }
    }
  }

  /** A port of the loopback that nobody has now. */
  static async freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }

  get url(): string {
    const { password } = this.#options;
    return `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#pid;
  }

  /** What it has logged. */
  log(): string {
    try {
      return readFileSync(join(this.folder, 'redis.log'), 'utf8');
    } catch {
      return '';
    }
  }

  /** One command, over a connection of its own: for tests to look and to set. */
  async command(...words: readonly (string | number)[]): Promise<unknown> {
    this.#admin ??= this.#connect();
    const [name = '', ...args] = words;
    return deadline(this.#admin.call(String(name), ...args.map(String)), `redis: ${words.join(' ')}`);
  }

  /** The values of a section of INFO. */
  async info(section: string): Promise<Readonly<Record<string, string>>> {
    const text = String(await this.command('INFO', section));
    return Object.fromEntries(text.split('\r\n').flatMap((line) => (line.includes(':') ? [split(line)] : [])));
  }

  /** SIGSTOP: connections stay, nobody is answered. */
  pause(): void {
    process.kill(this.#pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.#pid, 'SIGCONT');
  }

  /** SIGKILL: what is not on disk is gone. */
  async kill(): Promise<void> {
    await this.#end();
  }

  /** Starts again on the same port and folder, with other options where given. */
  async restart(options?: RedisServerOptions): Promise<void> {
    await this.#end();
    this.#options = options ?? this.#options;
    await this.#launch();
  }

  /** Ends it and removes its folder. */
  async stop(): Promise<void> {
    await this.#end();
    // A fork of the server that rewrites its file may still be at it.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 40, retryDelay: 50 });
  }

  #connect(): Redis {
    const redis = new Redis(this.url, { maxRetriesPerRequest: null });
    redis.on('error', () => {});
    return redis;
  }

  #arguments(): string[] {
    const { aof = false, password, maxmemory, replicaOf, args = [] } = this.#options;
    return [
      ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--logfile', 'redis.log'],
      ...['--save', '', '--appendonly', aof ? 'yes' : 'no', '--daemonize', 'no', '--repl-diskless-sync-delay', '0'],
      ...(aof === 'always' ? ['--appendfsync', 'always'] : []),
      ...(password === undefined ? [] : ['--requirepass', password, '--masterauth', password]),
      ...(maxmemory === undefined ? [] : ['--maxmemory', String(maxmemory)]),
      ...(replicaOf ? ['--replicaof', '127.0.0.1', String(replicaOf.port)] : []),
      ...args,
    ];
  }

  async #launch(): Promise<void> {
    const path = redisServerPath();
    if (path === undefined) throw new Error('There is no redis-server.');
    const keeper = spawn('/bin/sh', ['-c', KEEPER, 'sh', path, ...this.#arguments()], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#keeper = keeper;
    // Nobody waits for the server at the end of the process: its death is what ends the server.
    keeper.unref();
    (keeper.stdin as unknown as { unref(): void }).unref();
    const pid = new Promise<number>((resolve, reject) => {
      keeper.once('error', reject);
      keeper.stdout.once('data', (chunk) => resolve(Number(String(chunk))));
    });
    this.#pid = await deadline(pid, 'the process id of redis-server');
    (keeper.stdout as unknown as { unref(): void }).unref();
    await this.#answers();
  }

  async #answers(): Promise<void> {
    const redis = new Redis(this.url, { lazyConnect: true, retryStrategy: () => 10, maxRetriesPerRequest: null });
    redis.on('error', () => {});
    const until = Date.now() + PATIENCE_MS;
    const isAlive = () => {
      try {
        process.kill(this.#pid, 0);
        return true;
      } catch {
        return false;
      }
    };
    try {
      redis.connect().catch(() => {});
      while (redis.status !== 'ready') {
        if (!isAlive() || Date.now() > until) throw new Error(`redis-server on port ${this.port} did not start.`);
        await sleep(5);
      }
      if (this.#options.replicaOf) await this.#isLinked(redis, until);
    } finally {
      redis.disconnect();
    }
  }

  async #isLinked(redis: Redis, until: number): Promise<void> {
    while (!(await redis.info('replication')).includes('master_link_status:up')) {
      if (Date.now() > until) throw new Error('The replica did not reach its master.');
      await sleep(10);
    }
  }

  async #end(): Promise<void> {
    this.#admin?.disconnect();
    this.#admin = undefined;
    const keeper = this.#keeper;
    this.#keeper = undefined;
    if (!keeper) return;
    const ended = new Promise((resolve) => keeper.once('exit', resolve));
    if (keeper.exitCode === null && keeper.signalCode === null) {
      keeper.ref();
      keeper.stdin?.end();
      await deadline(ended, 'the end of redis-server');
    }
  }
}

function split(line: string): [string, string] {
  const at = line.indexOf(':');
  return [line.slice(0, at), line.slice(at + 1)];
}
