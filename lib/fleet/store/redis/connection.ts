// One connection to Redis: commands, scripts and doorbells over it. Every call ends within its time, whatever Redis does.
//
// ioredis sends a command again, without telling, when the connection broke before its answer came: each script knows the
// operations it has carried out. Its own timeout and its queue for later are off: a call that cannot be sent now fails now.
import type { Redis, RedisOptions } from 'ioredis';
import { AspiredError } from '../../../errors.js';
import { storeError, tooOld, unavailable } from './errors.js';
import { loadIoredis } from './ioredis.js';
import { Keys } from './keys.js';
import { SCRIPTS, type Script } from './scripts/index.js';

/** How to reach Redis: an address, options of ioredis, or an instance that stays the caller's. */
export interface RedisTarget {
  /** 'redis://user:password@host:6379/0', or rediss: for TLS. */
  readonly url?: string | undefined;
  readonly options?: RedisOptions | undefined;
  /** Is neither configured nor closed. */
  readonly redis?: Redis | undefined;
}

export interface ConnectionOptions extends RedisTarget {
  readonly fleet: string;
  readonly name: string;
  readonly commandTimeoutMs: number;
  readonly waitForServer: boolean;
}

/** Between two looks at a server that did not answer the first. */
const LOOK_AGAIN_MS = 200;

/** Commands of a pipeline: more at once would keep others waiting. */
const PIPELINE = 500;

export class RedisConnection {
  readonly keys: Keys;
  readonly commandTimeoutMs: number;
  readonly #fleet: string;
  readonly #redis: Redis;
  readonly #isOurs: boolean;
  readonly #bells = new Map<string, Set<(message: string) => void>>();
  /** Rejects of calls without an answer. */
  readonly #pending = new Set<(error: AspiredError) => void>();
  /** Why it cannot be used; undefined: it can. */
  #trouble: AspiredError | undefined = unavailable('connect', 'it is not connected yet');
  #lastError: unknown;
  #closed = false;

  static async open(options: ConnectionOptions): Promise<RedisConnection> {
    const { commandTimeoutMs, waitForServer, redis, name } = options;
    const keys = new Keys(options.fleet);
    const client = redis ?? (await createClient(options, name, commandTimeoutMs));
    const connection = new RedisConnection(client, redis === undefined, keys, options);
    if (!waitForServer) return connection;
    try {
      await connection.#isReady();
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(redis: Redis, isOurs: boolean, keys: Keys, options: ConnectionOptions) {
    this.#redis = redis;
    this.#isOurs = isOurs;
    this.keys = keys;
    this.commandTimeoutMs = options.commandTimeoutMs;
    this.#fleet = options.fleet;
    for (const { name, lua } of SCRIPTS) redis.defineCommand(name, { lua });
    redis.on('error', this.#onError);
    redis.on('ready', this.#onReady);
    redis.on('close', this.#onClose);
    redis.on('smessage', this.#onMessage);
    if (redis.status === 'ready') this.#onReady();
    else if (redis.status === 'wait') redis.connect().catch(this.#onError);
  }

  /** Makes a call; it rejects with a coded error, at the latest after `ms`. */
  call<T>(what: string, work: (redis: Redis) => Promise<T>, ms = this.commandTimeoutMs): Promise<T> {
    if (this.#closed) return Promise.reject(this.#closedError());
    if (this.#trouble) return Promise.reject(this.#refusal(what));
    return this.#bounded(what, work, ms);
  }

  /** Throws what call() would reject with, without a call. */
  checkUsable(what: string): void {
    if (this.#closed) throw this.#closedError();
    if (this.#trouble) throw this.#refusal(what);
  }

  /** Runs a script; answers what it returned, of a text its words. */
  async script(script: Script, keys: readonly string[], args: readonly string[]): Promise<readonly (string | null)[]> {
    const answer = await this.call(script.name, (redis) => {
      const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<string | (string | null)[]>>)[
        script.name
      ];
      if (!command) throw new AspiredError('ERR_INTERNAL', `${script.name} is not defined.`);
      return command.call(redis, keys.length, ...keys, ...args);
    });
    return typeof answer === 'string' ? answer.split(' ') : answer;
  }

  /** Sends the commands, in parts; the answers are in their order. The first error of one is the error of all. */
  async pipeline(
    what: string,
    commands: readonly (readonly string[])[],
    ms = this.commandTimeoutMs,
  ): Promise<readonly unknown[]> {
    const answers: unknown[] = [];
    for (let at = 0; at < commands.length; at += PIPELINE) {
      const part = commands.slice(at, at + PIPELINE).map((command) => [...command]);
      const replies = await this.call(what, (redis) => redis.pipeline(part).exec(), ms);
      for (const [error, reply] of replies ?? []) {
        if (error) throw storeError(what, error);
        answers.push(reply);
      }
    }
    return answers;
  }

  /** Calls `ring` for each message, and with '' when messages may have been lost. */
  async subscribe(channel: string, ring: (message: string) => void): Promise<AsyncDisposable> {
    if (this.#closed) throw this.#closedError();
    const bells = this.#bells.get(channel) ?? new Set();
    const bell = (message: string) => ring(message);
    this.#bells.set(channel, bells.add(bell));
    const takeOff = async () => {
      if (!bells.delete(bell) || bells.size > 0 || this.#bells.get(channel) !== bells) return;
      this.#bells.delete(channel);
      // Where it cannot be told now, it is not subscribed to again either.
      if (!this.#trouble && !this.#closed)
        await this.call('sunsubscribe', (r) => r.sunsubscribe(channel)).catch(() => {});
    };
    try {
      await this.call('ssubscribe', (redis) => redis.ssubscribe(channel));
    } catch (error) {
      await takeOff();
      throw error;
    }
    return { [Symbol.asyncDispose]: takeOff };
  }

  /** Ends it at once: what has no answer rejects with ERR_FLEET_CLOSED. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#bells.clear();
    for (const reject of this.#pending) reject(this.#closedError());
    this.#redis.off('ready', this.#onReady);
    this.#redis.off('close', this.#onClose);
    this.#redis.off('smessage', this.#onMessage);
    if (!this.#isOurs) {
      this.#redis.off('error', this.#onError);
      return;
    }
    // What still fails while it ends concerns nobody: the listener of errors stays.
    this.#redis.disconnect();
  }

  #bounded<T>(what: string, work: (redis: Redis) => Promise<T>, ms: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#pending.delete(fail);
      };
      const fail = (error: AspiredError) => {
        end();
        reject(error);
      };
      const timer = setTimeout(() => fail(unavailable(what, `no answer within ${ms} ms`)), ms);
      this.#pending.add(fail);
      Promise.resolve()
        .then(() => work(this.#redis))
        .then(
          (value) => {
            end();
            resolve(value);
          },
          (error) => fail(storeError(what, error)),
        );
    });
  }

  /** Resolves when it can be used; rejects when that does not come by itself, or not in time. */
  #isReady(): Promise<void> {
    return this.#bounded(
      'connect',
      () =>
        new Promise<void>((resolve, reject) => {
          const look = () => {
            if (!this.#trouble) resolve();
            else if (this.#trouble.code !== 'ERR_STORE_UNAVAILABLE') reject(this.#trouble);
            else return;
            this.#onChange = undefined;
          };
          this.#onChange = look;
          look();
        }),
      this.commandTimeoutMs,
    ).catch((error) => {
      throw this.#lastError === undefined ? error : storeError('connect', this.#lastError);
    });
  }
  #onChange: (() => void) | undefined;

  #refusal(what: string): AspiredError {
    const { code, message } = this.#trouble as AspiredError;
    return new AspiredError(code, `${what}: ${message}`, { cause: this.#trouble });
  }

  #closedError(): AspiredError {
    return new AspiredError('ERR_FLEET_CLOSED', `The store of fleet ${this.#fleet} is closed.`);
  }

  readonly #onError = (error: unknown): void => {
    this.#lastError = error;
    if (this.#closed || (!this.#trouble && this.#redis.status === 'ready')) return;
    this.#trouble = storeError('connect', error);
    this.#onChange?.();
  };

  readonly #onClose = (): void => {
    // An error that was said before tells more than that the connection ended.
    if (!this.#trouble) this.#trouble = unavailable('connect', 'the connection broke', this.#lastError);
  };

  readonly #onReady = (): void => {
    void this.#check().then(() => this.#onChange?.());
  };

  /** Looks at the server that answers now: after a failover it may be another one. */
  async #check(): Promise<void> {
    try {
      // Subscriptions first: what rings from here on is heard.
      for (const channel of this.#bells.keys()) this.#redis.ssubscribe(channel).catch(() => {});
      const info = await this.#bounded('info', (redis) => redis.info('server'), this.commandTimeoutMs);
      this.#trouble = tooOld(info);
    } catch (error) {
      const failed = storeError('info', error);
      // A user that may not ask for INFO may still do everything else.
      this.#trouble = failed.code === 'ERR_STORE_DENIED' && /NOPERM/.test(failed.message) ? undefined : failed;
      // A connection that stands and says nothing yet: nothing else would have us look again.
      if (this.#trouble) this.#lookAgain();
    }
    if (this.#trouble || this.#closed) return;
    this.#lastError = undefined;
    for (const bells of this.#bells.values()) for (const bell of bells) bell('');
  }

  #lookAgain(): void {
    setTimeout(() => {
      if (!this.#closed && this.#redis.status === 'ready') this.#onReady();
    }, LOOK_AGAIN_MS).unref();
  }

  readonly #onMessage = (channel: string, message: string): void => {
    for (const bell of this.#bells.get(channel) ?? []) bell(message);
  };
}

async function createClient({ url, options }: RedisTarget, name: string, commandTimeoutMs: number): Promise<Redis> {
  const Redis = await loadIoredis();
  const settings: RedisOptions & { replyMapping: 'legacy' } = {
    connectTimeout: commandTimeoutMs,
    connectionName: name,
    // Between half and one and a half of: 50 ms, 100 ms, ... 1 s. A fleet that comes back together spreads out.
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times - 1, 10), 1000) * (0.5 + Math.random()),
    ...options,
    // A peer that is gone without a word: unanswered for so long, the connection is made anew.
    socketTimeout: commandTimeoutMs * 3,
    protocol: 3,
    replyMapping: 'legacy',
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: true,
    maxRetriesPerRequest: null,
  };
  return url === undefined ? new Redis(settings) : new Redis(url, settings);
}
