// The store in Redis: what hosts, rollouts and the fleet as a whole do over one connection.
import type { Redis, RedisOptions } from 'ioredis';
import { checkBoolean, checkInteger, checkKeys, invalidOption } from '../../options.js';
import type { GateResult } from '../gates/types.js';
import { checkFleetName } from '../names.js';
import type { PendingVerb, RolloutVerb, VerbAnswer } from '../rollout/types.js';
import type { FleetHost, HostInfo, HostReport, Intent } from '../types.js';
import { confirm } from './redis/confirm.js';
import { RedisConnection } from './redis/connection.js';
import { RedisDocuments } from './redis/documents.js';
import { RedisHeartbeats } from './redis/heartbeats.js';
import { HostInfos } from './redis/host-infos.js';
import { RedisHosts } from './redis/hosts.js';
import { RedisReports } from './redis/reports.js';
import { RedisRollouts } from './redis/rollouts.js';
import { RedisTransfer } from './redis/transfer.js';
import type * as types from './types.js';

/** Where the fleet is kept: exactly one of `url`, `options` and `redis`. */
export interface RedisStoreOptions {
  readonly fleet: string;
  /** 'redis://user:password@host:6379', 'rediss://' for TLS. */
  readonly url?: string;
  /** Options of ioredis; what the store depends on (protocol, queues, re-sending) it sets itself. */
  readonly options?: RedisOptions;
  /** A connection that stays yours: it is not closed with the store. Its protocol must be 3. */
  readonly redis?: Redis;
  /** Names the connection in CLIENT LIST. @default 'controller' */
  readonly role?: 'agent' | 'controller';
  /** Every call ends within this, with ERR_STORE_UNAVAILABLE when there is no answer. @default 5000 */
  readonly commandTimeoutMs?: number;
  /**
   * Whether connect() rejects when Redis does not answer in time or refuses us. Without, it resolves at once, and every
   * call says what is wrong until the connection stands. @default true
   */
  readonly waitForServer?: boolean;
}

const OPTIONS = [
  ...['fleet', 'url', 'options', 'redis', 'role', 'commandTimeoutMs', 'waitForServer'],
] as readonly (keyof RedisStoreOptions)[];

/** A {@link types.FleetStore} in Redis 7.0 or newer. One connection, for commands and doorbells. */
export class RedisStore implements types.FleetStore {
  readonly fleet: string;
  readonly #connection: RedisConnection;
  readonly #heartbeats: RedisHeartbeats;
  readonly #reports: RedisReports;
  readonly #documents: RedisDocuments;
  readonly #hosts: RedisHosts;
  readonly #rollouts: RedisRollouts;
  readonly #transfer: RedisTransfer;

  /**
   * Connects.
   *
   * @throws AspiredError ERR_PEER_NOT_FOUND, ERR_FLEET_INVALID_NAME, ERR_UNKNOWN_OPTION, ERR_INVALID_ARGUMENT; with
   * waitForServer ERR_STORE_UNAVAILABLE, ERR_STORE_DENIED, ERR_STORE_UNSUPPORTED
   */
  static async connect(options: RedisStoreOptions): Promise<RedisStore> {
    checkKeys('the options of RedisStore.connect()', options, OPTIONS);
    const { url, options: client, redis, role = 'controller' } = options;
    const fleet = checkFleetName('the fleet', options.fleet);
    if ([url, client, redis].filter((target) => target !== undefined).length !== 1) {
      throw invalidOption('url', 'one of url, options and redis', url);
    }
    if (url !== undefined && !/^rediss?:\/\//.test(url)) throw invalidOption('url', 'redis:// or rediss://', url);
    if (role !== 'agent' && role !== 'controller') throw invalidOption('role', "'agent' or 'controller'", role);
    const connection = await RedisConnection.open({
      ...{ fleet, url, options: client, redis, name: `aspired-${role}` },
      commandTimeoutMs: checkInteger('commandTimeoutMs', options.commandTimeoutMs, 5000, 1, 600_000),
      waitForServer: checkBoolean('waitForServer', options.waitForServer, true),
    });
    return new RedisStore(fleet, connection);
  }

  private constructor(fleet: string, connection: RedisConnection) {
    this.fleet = fleet;
    this.#connection = connection;
    const infos = new HostInfos();
    this.#heartbeats = new RedisHeartbeats(connection);
    this.#reports = new RedisReports(connection, infos);
    this.#documents = new RedisDocuments(connection);
    this.#hosts = new RedisHosts(connection, infos);
    this.#rollouts = new RedisRollouts(connection);
    this.#transfer = new RedisTransfer(connection, fleet);
  }

  async heartbeat(beat: types.Heartbeat): Promise<types.HeartbeatAnswer> {
    return this.#heartbeats.heartbeat(beat);
  }

  async readDesired(host: string): Promise<types.StoredDocument | undefined> {
    const document = await this.#documents.readDesired(host);
    this.#heartbeats.sawRevision(host, document?.revision);
    return document;
  }

  async onDoorbell(host: string, ring: () => void): Promise<AsyncDisposable> {
    return this.#documents.onDoorbell(host, ring);
  }

  async hint(host: string): Promise<void> {
    return this.#hosts.hint(host);
  }

  async leave(host: string, bootId: string): Promise<void> {
    return this.#heartbeats.leave(host, bootId);
  }

  now(): Promise<number> {
    return this.#transfer.now();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  meta(): Promise<types.FleetMeta | undefined> {
    return this.#transfer.meta();
  }

  create(): Promise<types.FleetMeta> {
    return this.#transfer.create();
  }

  hosts(): Promise<readonly FleetHost[]> {
    return this.#hosts.hosts();
  }

  enterHosts(hosts: readonly HostInfo[]): Promise<readonly FleetHost[]> {
    return this.#hosts.enterHosts(hosts);
  }

  async setCordoned(host: string, cordoned: boolean, intent: Intent): Promise<void> {
    return this.#hosts.change(host, cordoned ? '1' : '0', intent);
  }

  async removeHost(host: string, intent: Intent): Promise<void> {
    return this.#hosts.change(host, 'remove', intent);
  }

  readHints(after: string): Promise<{ readonly hosts: readonly string[]; readonly next: string }> {
    return this.#hosts.readHints(after);
  }

  async readLeases(hosts: readonly string[]): Promise<readonly (types.Lease | undefined)[]> {
    return this.#reports.readLeases(hosts);
  }

  async readReports(
    hosts: readonly string[],
    models?: readonly string[],
  ): Promise<readonly (HostReport | undefined)[]> {
    return this.#reports.readReports(hosts, models);
  }

  async readCells(model: string, hosts: readonly string[]): Promise<readonly (string | undefined)[]> {
    return this.#hosts.readCells(model, hosts);
  }

  models(): Promise<readonly string[]> {
    return this.#rollouts.models();
  }

  async model(name: string): Promise<types.ModelRecord | undefined> {
    return this.#rollouts.model(name);
  }

  async assertCells(change: Parameters<types.FleetStore['assertCells']>[0]): Promise<types.CommitAnswer> {
    return this.#rollouts.assertCells(change);
  }

  async startRollout(start: types.RolloutStart): Promise<types.StartAnswer> {
    return this.#rollouts.start(start);
  }

  async rollout(id: string): Promise<types.RolloutRecord | undefined> {
    return this.#rollouts.rollout(id);
  }

  async rolloutState(id: string): Promise<Omit<types.RolloutRecord, 'plan'> | undefined> {
    return this.#rollouts.rolloutState(id);
  }

  activeRollouts(): Promise<readonly string[]> {
    return this.#rollouts.activeRollouts();
  }

  async history(model: string, count: number): Promise<readonly string[]> {
    return this.#rollouts.history(model, count);
  }

  async commit(commit: types.Commit): Promise<types.CommitAnswer> {
    return this.#rollouts.commit(commit);
  }

  async addVerb(rollout: string, verb: RolloutVerb, intent: Intent): Promise<PendingVerb> {
    return this.#rollouts.addVerb(rollout, verb, intent);
  }

  async pendingVerbs(rollout: string): Promise<readonly PendingVerb[]> {
    return this.#rollouts.pendingVerbs(rollout);
  }

  async verbAnswer(rollout: string, operation: string): Promise<VerbAnswer | undefined> {
    return this.#rollouts.verbAnswer(rollout, operation);
  }

  async putGateResult(rollout: string, key: string, result: GateResult): Promise<GateResult> {
    return this.#rollouts.putGateResult(rollout, key, result);
  }

  async gateResults(rollout: string): Promise<ReadonlyMap<string, GateResult>> {
    return this.#rollouts.gateResults(rollout);
  }

  async audit(model: string, after?: string, count?: number): Promise<readonly types.AuditEntry[]> {
    return this.#rollouts.audit(model, after, count);
  }

  async latestAudit(model: string, before?: string, count?: number): Promise<readonly types.AuditEntry[]> {
    return this.#rollouts.latestAudit(model, before, count);
  }

  /** The server answers nothing else on this connection meanwhile, for at most `timeoutMs`. */
  confirm(replicas: number, timeoutMs: number): Promise<number> {
    return confirm(this.#connection, replicas, timeoutMs);
  }

  replicas(): Promise<number> {
    return this.#transfer.replicas();
  }

  health(): Promise<types.StoreHealth> {
    return this.#transfer.health();
  }

  async exportAll(): Promise<types.FleetExport> {
    return this.#transfer.export(await this.models(), await this.hosts());
  }

  async importAll(data: types.FleetExport, intent: Intent): Promise<types.FleetMeta> {
    return this.#transfer.import(data, intent);
  }
}
