// One heartbeat, and what its answer asks for: joining, reading the document, asking to be entered, the lease of another.
import { performance } from 'node:perf_hooks';
import { AspiredError, type AspiredErrorCode, messageOf } from '../../errors.js';
import type { HeartbeatAnswer, HostStore } from '../store/types.js';
import { checkClock } from './clock-check.js';
import type { Documents } from './documents.js';
import type { Findings } from './findings.js';
import type { BeatOutcome } from './heartbeat.js';
import { hostConflict, type LeaseWatch } from './lease.js';
import type { AgentSettings } from './options.js';
import { answered } from './pause.js';
import type { Reporter, Scope } from './reporter.js';
import type { StoreLink } from './store-link.js';

/** How the agent stands with the store. */
export type AgentState = 'joining' | 'joined' | 'away' | 'conflict' | 'closed';

export interface SessionOptions {
  readonly settings: AgentSettings;
  readonly bootId: string;
  readonly link: StoreLink;
  readonly lease: LeaseWatch;
  readonly reporter: Reporter;
  readonly documents: Documents;
  readonly findings: Findings;
  readonly timeoutMs: number;
  readonly joined: () => void;
  /** There is more to say at once. */
  readonly again: () => void;
  /** Something that waiting does not mend by itself. */
  readonly hopeless: (error: AspiredError) => void;
}

/** Failures of the store that an operator has to mend. */
const HOPELESS: ReadonlySet<AspiredErrorCode> = new Set([
  'ERR_PEER_NOT_FOUND',
  'ERR_STORE_DENIED',
  'ERR_STORE_UNSUPPORTED',
]);
/** Beats between two looks at the clock. */
const CLOCK_EVERY = 60;

export class Session {
  state: AgentState = 'joining';
  private beats = 0;
  private clockDue = true;
  private doorbell: AsyncDisposable | undefined;

  constructor(private readonly options: SessionOptions) {}

  /** Sends a heartbeat. Never rejects. */
  async beat(scope: Scope): Promise<BeatOutcome> {
    try {
      const store = await this.options.link.open();
      return await this.beatTo(store, scope);
    } catch (error) {
      this.isAway(error);
      return 'away';
    }
  }

  private async beatTo(store: HostStore, scope: Scope): Promise<BeatOutcome> {
    const { reporter, settings, bootId } = this.options;
    if (scope === 'all' && ++this.beats % CLOCK_EVERY === 0) this.clockDue = true;
    const changes = await reporter.collect(scope);
    // The lease is renewed at intervals; what comes in between is sent only when there is something to say.
    if (changes.isEmpty && scope !== 'all') return 'ok';
    const { leaseMs, info } = settings;
    const beat = { host: info.id, bootId, leaseMs, ...changes.parts };
    const answer = await this.within('a heartbeat', store.heartbeat(beat));
    if (answer.heldBy !== undefined) return this.isHeld(store, answer.heldBy);
    changes.confirmed();
    await this.isOurs(store, answer, scope);
    return 'ok';
  }

  private async isOurs(store: HostStore, answer: HeartbeatAnswer, scope: Scope): Promise<void> {
    const { findings, lease, documents, joined, reporter, settings, again } = this.options;
    if (this.state === 'closed') return;
    lease.free();
    findings.clear('lease');
    findings.clear('store');
    this.state = 'joined';
    // First the bell, then the look: what is written in between rings.
    if (!this.doorbell) await this.aside('doorbell', () => this.listen(store));
    documents.told(answer.revision);
    joined();
    if (answer.resend) {
      reporter.forget();
      again();
    }
    if (this.clockDue) await this.aside('clock', () => this.checkClock(store));
    if (!answer.known && scope === 'all') await this.aside('hint', () => store.hint(settings.info.id));
  }

  // What a host can do without: it is told, and tried again by a later heartbeat.
  private async aside(subject: 'doorbell' | 'clock' | 'hint', step: () => Promise<void>): Promise<void> {
    try {
      await this.within(`the ${subject}`, step());
      if (subject !== 'clock') this.options.findings.clear(subject);
    } catch (error) {
      this.options.findings.set(subject, storeError(error));
    }
  }

  private async listen(store: HostStore): Promise<void> {
    const doorbell = await store.onDoorbell(this.options.settings.info.id, () => {
      if (this.state === 'joined') this.options.documents.ring();
    });
    if (this.doorbell || this.state === 'closed') await doorbell[Symbol.asyncDispose]();
    else this.doorbell = doorbell;
  }

  private async checkClock(store: HostStore): Promise<void> {
    const error = await checkClock(store);
    this.clockDue = false;
    if (error) this.options.findings.set('clock', error);
    else this.options.findings.clear('clock');
  }

  private async isHeld(store: HostStore, heldBy: string): Promise<BeatOutcome> {
    const { lease, settings, findings, hopeless } = this.options;
    const { fleet, info } = settings;
    // The store has another report now.
    this.options.reporter.forget();
    const held = lease.heldBy(heldBy, performance.now());
    if (held === 'ours-gone') {
      await this.within('giving back the lease of an earlier boot', store.leave(info.id, heldBy));
      lease.gaveBack();
      return this.beatTo(store, 'all');
    }
    if (held === 'ours-maybe') return 'held';
    this.state = 'conflict';
    const error = hostConflict(fleet, info.id, heldBy);
    findings.set('lease', error);
    hopeless(error);
    return 'held';
  }

  /** The store does not answer, or refuses. What is served is served on. */
  private isAway(thrown: unknown): void {
    const { findings, hopeless } = this.options;
    if (this.state === 'closed') return;
    this.clockDue = true;
    if (this.state === 'joined') this.state = 'away';
    const error = storeError(thrown);
    findings.set('store', error);
    if (HOPELESS.has(error.code)) hopeless(error);
  }

  private within<T>(what: string, promise: Promise<T>): Promise<T> {
    return answered(what, this.options.timeoutMs, promise);
  }

  /** Gives the lease back, when asked to, and the doorbell. Never rejects; waits for `timeoutMs` at most. */
  async close(leave: boolean, timeoutMs: number): Promise<boolean> {
    this.state = 'closed';
    const { link, settings, bootId } = this.options;
    const store = link.current;
    if (!store) return false;
    const left = leave ? store.leave(settings.info.id, bootId) : Promise.resolve();
    const silent = this.doorbell ? this.doorbell[Symbol.asyncDispose]() : Promise.resolve();
    const [leaving] = await Promise.allSettled([
      answered('leaving', timeoutMs, left),
      answered('the doorbell', timeoutMs, Promise.resolve(silent)),
    ]);
    return leave && leaving.status === 'fulfilled';
  }
}

function storeError(thrown: unknown): AspiredError {
  if (thrown instanceof AspiredError) return thrown;
  return new AspiredError('ERR_STORE_UNAVAILABLE', `The fleet store failed: ${messageOf(thrown)}`, { cause: thrown });
}
