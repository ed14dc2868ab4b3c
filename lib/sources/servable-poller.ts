import { AspiredError } from '../errors.js';
import type { SourceClock } from './clock.js';
import { type Delivery, deliver } from './connection.js';
import { DirectoryWatcher } from './directory-watcher.js';
import type { CheckedServable } from './file-system-options.js';
import type { Limiter } from './limiter.js';
import {
  basePathError,
  type ListedVersion,
  type Listing,
  listVersions,
  type PendingVersion,
  type VersionProblem,
} from './listing.js';
import { ReadinessLedger, type ReadinessRules } from './readiness.js';
import type { SourceItem, SourceTarget } from './source.js';

/** What a poll found for one servable, and what came of it. */
export interface ServablePollResult {
  readonly name: string;
  readonly basePath: string;
  /** What is aspired now, in the order of the list. When `error` is set: what was aspired before. */
  readonly versions: readonly { readonly version: number; readonly path: string }[];
  /** This poll gave the list to the target; false when the target has it already, or when there is none. */
  readonly pushed: boolean;
  /** Version directories that are not offered yet. */
  readonly pending: readonly PendingVersion[];
  /** What looks like a version and cannot be offered. */
  readonly problems: readonly VersionProblem[];
  /**
   * Why nothing could be said or handed over: ERR_BASE_PATH_NOT_FOUND, ERR_BASE_PATH_UNREADABLE, ERR_NO_VERSIONS, or
   * what the target threw. Nothing that is aspired was touched.
   */
  readonly error?: AspiredError;
}

/** Where a connected source sends its lists. */
export interface PollerOutlet {
  readonly stage: SourceTarget<SourceItem<string>>;
  readonly closed: () => boolean;
  /** Tries the items again for which no loader could be made. */
  readonly retryFailed: (name: string) => unknown;
  /** Makes new loaders with the next list. */
  readonly forget: (name: string) => void;
}

/** What the pollers of one source share. */
export interface PollerContext {
  readonly clock: SourceClock;
  /** How many servables are listed at a time. */
  readonly limiter: Limiter;
  /** How many version directories are read for their digest at a time. It may take long, so listings do not wait for it. */
  readonly hashing: Limiter;
  readonly readiness: ReadinessRules;
  readonly scanTimeoutMs: number;
  readonly servableVersionsAlwaysPresent: boolean;
  /** Let file-system events wake a connected poller. */
  readonly watch: boolean;
  readonly outlet: () => PollerOutlet | undefined;
  readonly report: (name: string, error: AspiredError) => void;
}

interface Pass {
  /** Push also what the target has already, with new loaders. */
  force: boolean;
  /** Look at the content of all versions. */
  contents: boolean;
}

/** What the target has of a servable; shared with the poller that takes over when the configuration changes. */
interface TargetState {
  /** The last list that the target took; undefined: none yet. */
  list: readonly ListedVersion[] | undefined;
}

interface PassOutcome {
  readonly result: ServablePollResult;
  readonly delivery: Delivery;
}

/**
 * Polls one servable. Passes never overlap: a request during a pass is served by one more pass after it, because what
 * was asked for may have happened after the running one looked. One poller never waits for another, except for its
 * turn at the file system.
 */
export class ServablePoller {
  readonly servable: CheckedServable;
  readonly #context: PollerContext;
  readonly #ledger: ReadinessLedger;
  readonly #watcher: DirectoryWatcher;
  #running: Promise<PassOutcome> | undefined;
  #next: { pass: Pass; outcome: Promise<PassOutcome> } | undefined;
  readonly #target: TargetState;
  #last: ServablePollResult | undefined;
  #lastPollAt: number | undefined;
  #reported = new Set<string>();
  #stuck = false;
  #retired = false;
  #cancelRecheck: (() => void) | undefined;

  constructor(servable: CheckedServable, context: PollerContext, previous?: ServablePoller) {
    this.servable = servable;
    this.#context = context;
    const samePath = previous !== undefined && previous.servable.basePath === servable.basePath;
    this.#ledger = samePath
      ? previous.#ledger
      : new ReadinessLedger(context.readiness, servable.contentDigest, context.hashing);
    this.#ledger.setMode(servable.contentDigest);
    // What the target has is still what it has: the first list of the new configuration replaces it in one step.
    this.#target = previous === undefined ? { list: undefined } : previous.#target;
    // Not a wake-up: an event during a pass may tell of something that the pass did not see.
    this.#watcher = new DirectoryWatcher(context.clock, () => void this.#request({ force: false, contents: false }));
  }

  /** The result of the last pass; before the first one, undefined. */
  get last(): ServablePollResult | undefined {
    return this.#last;
  }

  get lastPollAt(): number | undefined {
    return this.#lastPollAt;
  }

  get watching(): boolean {
    return this.#watcher.active;
  }

  /** A pass that starts after this call; resolves when the target has the list. Never rejects. */
  async poll(pass: Pass): Promise<ServablePollResult> {
    const { result, delivery } = await this.#request(pass);
    const error = await delivery.pending;
    return error === undefined ? result : { ...result, pushed: false, error };
  }

  /** A pass unless one is running. */
  wake(): void {
    if (this.#running === undefined) void this.#request({ force: false, contents: false });
  }

  /** The source was disconnected: ends what runs by itself, and forgets what that target had. */
  disconnect(): void {
    this.#stop();
    this.#target.list = undefined;
    this.#reported.clear();
  }

  /** The servable is no longer in the configuration, or has another poller. */
  retire(): void {
    this.#retired = true;
    this.#stop();
  }

  #stop(): void {
    this.#ledger.abort();
    this.#watcher.close();
    this.#cancelRecheck?.();
    this.#cancelRecheck = undefined;
  }

  #request(pass: Pass): Promise<PassOutcome> {
    if (this.#running === undefined) return this.#start(pass);
    if (this.#next === undefined) {
      const merged = { ...pass };
      const outcome = this.#running.then(() => {
        this.#next = undefined;
        return this.#start(merged);
      });
      this.#next = { pass: merged, outcome };
    } else {
      this.#next.pass.force ||= pass.force;
      this.#next.pass.contents ||= pass.contents;
    }
    return this.#next.outcome;
  }

  #start(pass: Pass): Promise<PassOutcome> {
    const running = this.#run(pass).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #run(pass: Pass): Promise<PassOutcome> {
    const outlet = this.#context.outlet();
    const listing = await this.#scan(pass);
    this.#lastPollAt = this.#context.clock.now();
    // A connection that came or went meanwhile is not the one that this pass was for.
    const connected = outlet !== undefined && !outlet.closed() && !this.#retired && outlet === this.#context.outlet();
    const outcome = this.#conclude(listing, pass, connected ? outlet : undefined);
    this.#last = outcome.result;
    if (connected && !outlet.closed()) this.#follow(listing, outcome, outlet);
    return outcome;
  }

  /** The listing, or why there is none. Ends at the deadline also when the file system does not answer. */
  async #scan(pass: Pass): Promise<Listing | AspiredError> {
    const { clock, limiter, scanTimeoutMs } = this.#context;
    if (this.servable.policy.kind === 'specific' && this.servable.policy.versions.length === 0) return nothingWanted;
    // One that hangs keeps its thread; it must not be given another one at every poll.
    if (this.#stuck) return this.#tooSlow();
    const leave = await limiter.enter();
    this.#stuck = true;
    const listing = listVersions(this.servable, this.#ledger, clock.now(), pass.contents)
      .catch((error: unknown) => (error instanceof AspiredError ? error : basePathError(this.servable, error)))
      .finally(() => {
        this.#stuck = false;
      });
    let cancelDeadline = () => {};
    const deadline = new Promise<AspiredError>((resolve) => {
      cancelDeadline = clock.after(scanTimeoutMs, () => resolve(this.#tooSlow()));
    });
    try {
      return await Promise.race([listing, deadline]);
    } finally {
      cancelDeadline();
      leave();
    }
  }

  #tooSlow(): AspiredError {
    return basePathError(this.servable, new Error(`it took longer than ${this.#context.scanTimeoutMs} ms`));
  }

  #conclude(listing: Listing | AspiredError, pass: Pass, outlet: PollerOutlet | undefined): PassOutcome {
    const { name, basePath } = this.servable;
    const base = { name, basePath, pushed: false, pending: [], problems: [] };
    if (listing instanceof AspiredError) {
      return { result: { ...base, versions: pathsOf(this.#target.list ?? []), error: listing }, delivery: {} };
    }
    const { versions, pending, problems } = listing;
    const found = { ...base, versions: pathsOf(versions), pending, problems };
    if (this.#refusesEmpty(listing)) {
      const kept = { ...found, versions: pathsOf(this.#target.list ?? []) };
      // A first version that is still being written is no fault.
      const error = pending.length === 0 ? noVersions(name, basePath) : undefined;
      return { result: error === undefined ? kept : { ...kept, error }, delivery: {} };
    }
    if (outlet === undefined) return { result: found, delivery: {} };
    if (!pass.force && sameVersions(this.#target.list, versions)) return { result: found, delivery: {} };
    if (pass.force) outlet.forget(name);
    const before = this.#target.list;
    const delivery = deliver(name, () => outlet.stage.setAspiredVersions(name, versions.map(toItem)));
    if (delivery.error !== undefined) {
      return { result: { ...found, versions: pathsOf(before ?? []), error: delivery.error }, delivery };
    }
    this.#target.list = versions;
    return { result: { ...found, pushed: true }, delivery };
  }

  #refusesEmpty(listing: Listing): boolean {
    return listing !== nothingWanted && listing.versions.length === 0 && this.#context.servableVersionsAlwaysPresent;
  }

  /** What a connected source does after a pass, besides pushing. */
  #follow(listing: Listing | AspiredError, { result, delivery }: PassOutcome, outlet: PollerOutlet): void {
    const { name, basePath } = this.servable;
    this.#report(result);
    this.#watchDelivery(delivery);
    if (!result.pushed) this.#watchDelivery(deliver(name, () => outlet.retryFailed(name)));
    this.#cancelRecheck?.();
    this.#cancelRecheck = undefined;
    if (listing instanceof AspiredError) {
      this.#watcher.close();
      return;
    }
    if (this.#context.watch && listing !== nothingWanted) this.#watcher.follow(basePath, listing.identity);
    for (const digested of listing.digested) void digested.then(() => this.#digested(outlet));
    if (listing.recheckAt === undefined) return;
    const wait = Math.max(1, Math.ceil(listing.recheckAt - this.#context.clock.now()));
    this.#cancelRecheck = this.#context.clock.after(wait, () => this.wake());
  }

  /** Not a wake-up: a pass that runs may have looked before the digest was there. */
  #digested(outlet: PollerOutlet): void {
    if (!this.#retired && outlet === this.#context.outlet()) void this.#request({ force: false, contents: false });
  }

  /** A list that the target refuses later is pushed again by the next poll. */
  #watchDelivery(delivery: Delivery): void {
    const target = this.#target;
    const { list } = target;
    void delivery.pending?.then((error) => {
      if (error === undefined) return;
      if (target.list === list) target.list = undefined;
      if (!this.#retired && this.#context.outlet() !== undefined) this.#context.report(this.servable.name, error);
    });
  }

  /** Tells of what was not there at the last poll. */
  #report(result: ServablePollResult): void {
    const errors = result.problems.map(({ error }) => error);
    if (result.error !== undefined) errors.push(result.error);
    const seen = new Set<string>();
    for (const error of errors) {
      const key = `${error.code} ${error.message}`;
      if (!seen.has(key) && !this.#reported.has(key)) this.#context.report(this.servable.name, error);
      seen.add(key);
    }
    this.#reported = seen;
  }
}

/** The listing of a servable whose configuration says that it has no versions: no look at the disk is needed. */
const nothingWanted: Listing = {
  versions: [],
  pending: [],
  problems: [],
  recheckAt: undefined,
  digested: [],
  identity: '',
};

function noVersions(name: string, basePath: string): AspiredError {
  const message = `The base path of ${JSON.stringify(name)} holds no version to aspire to, what was aspired stays: ${basePath}`;
  return new AspiredError('ERR_NO_VERSIONS', message);
}

function pathsOf(versions: readonly ListedVersion[]): { version: number; path: string }[] {
  return versions.map(({ version, path }) => ({ version, path }));
}

function toItem({ version, path, content: { revision, digest } }: ListedVersion): SourceItem<string> {
  return { version, payload: path, revision, ...(digest === undefined ? {} : { digest }) };
}

function sameVersions(a: readonly ListedVersion[] | undefined, b: readonly ListedVersion[]): boolean {
  return a !== undefined && a.length === b.length && a.every((one, i) => isSameVersion(one, b[i]));
}

function isSameVersion(a: ListedVersion, b: ListedVersion | undefined): boolean {
  return (
    a.version === b?.version &&
    a.path === b.path &&
    a.content.revision === b.content.revision &&
    a.content.digest === b.content.digest
  );
}
