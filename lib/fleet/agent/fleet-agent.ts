// FleetAgent: one host of a fleet. Puts the parts together, starts them and ends them.
import { join } from 'node:path';
import { AspiredError } from '../../errors.js';
import type { DesiredCell } from '../types.js';
import { AcceptedFile, type AcceptedReading } from './accepted-file.js';
import { Applier } from './applier.js';
import { Boot, type EarlierBoot } from './boot.js';
import { Documents } from './documents.js';
import { Findings } from './findings.js';
import { ACKNOWLEDGE_MS, HeartbeatTimer } from './heartbeat.js';
import { hostConflict, LeaseWatch } from './lease.js';
import { LoadTimes } from './load-times.js';
import { ModelReports } from './model-reports.js';
import { type AgentSettings, checkAgentOptions, type FleetAgentOptions } from './options.js';
import { answered } from './pause.js';
import { Prefetches } from './prefetches.js';
import { Reporter } from './reporter.js';
import { type AgentState, Session } from './session.js';
import { StartGuard } from './start-guard.js';
import { StoreLink } from './store-link.js';

/** What an agent says of itself, for logs and health checks of its host. */
export interface AgentStatus {
  /**
   * `'joining'`: the store has not answered yet; `'joined'`; `'away'`: it does not answer any more; `'conflict'`: another
   * agent has the id. What was accepted is served in each of them.
   */
  readonly state: AgentState;
  readonly bootId: string;
  /** Revision of the desired document that was accepted last; 0: none. */
  readonly revision: number;
  /** By model: what is acted on. A removed model has a cell without versions. */
  readonly accepted: ReadonlyMap<string, DesiredCell>;
  /** What is wrong now. */
  readonly findings: readonly { readonly code: string; readonly message: string }[];
}

/** How long close() waits for the store, and for what is being written, in ms. */
const CLOSE_MS = 1_000;
/** How soon a model is looked at again whose failure may be final. */
const LOOK_AGAIN_MS = 100;

/**
 * One host of a fleet: keeps the versions of its manager equal to its desired document in the store, and reports.
 *
 * What it accepts it writes to its disk first, and serves it on whatever happens to the store: a document that is gone, older,
 * or cannot be read changes nothing. A model goes only when its cell says so.
 */
export class FleetAgent implements AsyncDisposable {
  /** Random, anew with each start. */
  readonly bootId: string;
  /**
   * Resolves when the store has taken the first heartbeat. Rejects with what somebody has to mend (ERR_HOST_CONFLICT,
   * ERR_PEER_NOT_FOUND, ERR_STORE_DENIED, ERR_STORE_UNSUPPORTED), and when the agent is closed before (ERR_FLEET_CLOSED).
   * The agent goes on trying in each case but the last. Needs not be awaited.
   */
  readonly joined: Promise<void>;
  private settleJoined: { readonly resolve: () => void; readonly reject: (error: AspiredError) => void };
  private readonly findings: Findings;
  private readonly prefetches: Prefetches;
  private readonly reporter: Reporter;
  private readonly documents: Documents;
  private readonly applier: Applier;
  private readonly guard: StartGuard;
  private readonly link: StoreLink;
  private readonly session: Session;
  private readonly timer: HeartbeatTimer;
  private readonly loadTimes = new LoadTimes();
  private readonly ended = new AbortController();
  private readonly lookAgain = new Set<NodeJS.Timeout>();
  private closing: Promise<void> | undefined;

  /**
   * Starts the agent of this host. Resolves when what it accepted earlier is being aspired to; it joins the fleet in the
   * background, also when the store is away now. After starts that ended while they loaded, that is loaded one by one, and what
   * ended them only when a document of the store names it.
   *
   * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_FLEET_INVALID_NAME; ERR_HOST_CONFLICT when a process
   *   that is alive uses the folder of this host.
   */
  static async start(options: FleetAgentOptions): Promise<FleetAgent> {
    const settings = checkAgentOptions(options);
    const folder = join(settings.stateDir, settings.fleet, settings.info.id);
    const boot = new Boot(folder);
    const earlier = await boot.earlier();
    if (earlier?.fate === 'alive') throw folderConflict(settings, folder, earlier);
    const file = new AcceptedFile(folder, settings.fleet, settings.info.id);
    const agent = new FleetAgent(settings, file, await file.read(), boot, earlier, folder);
    await boot.record();
    await agent.guard.begin(agent.documents.accepted.cells);
    agent.begin();
    return agent;
  }

  private constructor(
    private readonly settings: AgentSettings,
    file: AcceptedFile,
    reading: AcceptedReading,
    private readonly boot: Boot,
    earlier: EarlierBoot | undefined,
    folder: string,
  ) {
    const { manager, info, loader } = settings;
    const bootId = boot.id;
    this.bootId = bootId;
    this.findings = new Findings(settings.onError, () => this.timer?.changed());
    this.prefetches = new Prefetches(settings.prefetch, (model) => this.touched([model]));
    const { findings, prefetches, loadTimes } = this;
    const guard = new StartGuard(folder, findings, (model) => this.apply([model]));
    this.guard = guard;
    const allows = (model: string, version: number) => guard.allows(model, version);
    this.applier = new Applier({ manager, loader, prefetches, findings, allows });
    const timeoutMs = Math.max(1_000, settings.heartbeatIntervalMs);
    this.link = new StoreLink(settings.store, settings.fleet, timeoutMs);
    this.documents = new Documents(
      {
        file,
        findings,
        read: async () => answered('reading the document', timeoutMs, (await this.link.open()).readDesired(info.id)),
        wasRead: (stored, cells) => guard.release(stored, cells),
        act: (changes) => this.applier.apply(changes),
        changed: (models) => this.touched(models, ACKNOWLEDGE_MS),
      },
      reading.document,
    );
    const reports = new ModelReports({ manager, prefetches, loadTimes, lookAgain: (model) => this.lookLater(model) });
    const accepted = () => this.documents.accepted;
    this.reporter = new Reporter({ manager, info, bootId, reports, findings, accepted });
    let resolve = (): void => {};
    let reject = (_error: AspiredError): void => {};
    this.joined = new Promise<void>((onResolve, onReject) => {
      resolve = onResolve;
      reject = onReject;
    });
    this.joined.catch(() => {}); // whoever wants to know awaits it; onError is told anyway
    this.settleJoined = { resolve, reject };
    this.session = new Session({
      settings,
      bootId,
      link: this.link,
      lease: new LeaseWatch(earlier, settings.leaseMs),
      reporter: this.reporter,
      documents: this.documents,
      findings,
      timeoutMs,
      joined: resolve,
      again: () => this.timer.changed(),
      hopeless: reject,
    });
    this.timer = this.makeTimer(settings);
    if (reading.problem) findings.set('state', reading.problem);
  }

  private makeTimer({ heartbeatIntervalMs, trafficIntervalMs }: AgentSettings): HeartbeatTimer {
    return new HeartbeatTimer({
      intervalMs: heartbeatIntervalMs,
      trafficIntervalMs,
      beat: (scope) => {
        if (scope === 'all') this.applier.retry();
        return this.session.beat(scope);
      },
      watching: () => [...this.documents.accepted.cells.values()].some(({ cell }) => cell.watch === true),
    });
  }

  private begin(): void {
    void this.followEvents();
    this.apply(this.documents.accepted.cells.keys());
    void this.guard.loadTheRest();
    this.timer.start();
  }

  /** Acts on what was accepted of the models. */
  private apply(models: Iterable<string>): void {
    const { cells } = this.documents.accepted;
    const named = [...models].flatMap((model) => {
      const cell = cells.get(model);
      return cell ? [[model, cell] as const] : [];
    });
    this.applier.apply(named);
    // A manager that served before the agent did has nothing to tell of what stays.
    for (const [model] of named) {
      for (const { id, managerState } of this.settings.manager.getServableStates(model)) {
        if (managerState === 'Available') this.guard.settled(id);
      }
    }
  }

  private touched(models: Iterable<string>, withinMs?: number): void {
    for (const model of models) this.reporter.touch(model);
    this.timer.changed(withinMs);
  }

  private lookLater(model: string): void {
    const timer = setTimeout(() => {
      this.lookAgain.delete(timer);
      this.touched([model]);
    }, LOOK_AGAIN_MS);
    timer.unref();
    this.lookAgain.add(timer);
  }

  // The end of the events is the end of the manager: a host that serves nothing must not look alive.
  private async followEvents(): Promise<void> {
    const { signal } = this.ended;
    try {
      const events = this.settings.manager.events({ signal, bufferSize: 100_000 });
      let dropped = 0;
      for await (const event of events) {
        this.loadTimes.note(event);
        if (event.managerState === 'Available' || event.managerState === 'End') this.guard.settled(event.id);
        const { cells } = this.documents.accepted;
        if (events.dropped > dropped) this.touched(cells.keys());
        else if (cells.has(event.id.name)) this.touched([event.id.name]);
        dropped = events.dropped;
      }
    } catch {
      // Aborted by close(), or the manager was closed before we began.
    }
    if (!signal.aborted) await this.close();
  }

  /** How the agent stands. */
  get status(): AgentStatus {
    const { revision, cells } = this.documents.accepted;
    return {
      state: this.session.state,
      bootId: this.bootId,
      revision,
      accepted: new Map([...cells].map(([model, { cell }]) => [model, cell])),
      findings: this.findings.list(),
    };
  }

  /**
   * Ends the agent within a second or two, also when the store is away: aborts prefetches, stops the heartbeats and gives the
   * lease back, so that the fleet need not wait for it to run out. The versions of the manager stay as they are; closing the
   * manager is its owner's. A second call returns the same promise.
   *
   * @param options.keepServing The host serves on and its agent will be back at once: the lease is not given back, and runs
   *   out only when none comes. @default false
   */
  close(options: { readonly keepServing?: boolean } = {}): Promise<void> {
    this.closing ??= this.end(options.keepServing === true);
    return this.closing;
  }

  private async end(keepServing: boolean): Promise<void> {
    this.ended.abort();
    for (const timer of this.lookAgain) clearTimeout(timer);
    this.settleJoined.reject(new AspiredError('ERR_FLEET_CLOSED', 'The agent was closed before it had joined.'));
    this.prefetches.close();
    // What is under way has its own deadlines; a store that hangs must not make us wait for those.
    const idle = Promise.allSettled([this.documents.close(), this.timer.close(), this.guard.close()]);
    await answered('ending', CLOSE_MS, idle).catch(() => {});
    const left = await this.session.close(!keepServing, CLOSE_MS);
    await (left ? this.boot.forget() : this.boot.record(true));
    await answered('closing', CLOSE_MS, this.link.close()).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function folderConflict({ fleet, info }: AgentSettings, folder: string, { bootId, pid }: EarlierBoot): AspiredError {
  const { message } = hostConflict(fleet, info.id, bootId);
  return new AspiredError('ERR_HOST_CONFLICT', `${message} Its process is ${pid}; both use ${folder}.`);
}
