// Loaders that behave as a plan says, and watch what the manager promises to loaders.
import type { LoadContext, Loader, ServableId } from 'aspired';
import type { Journal } from './journal.js';

/** How a loader comes out. `aborted` settles when it is aborted or opened; `deaf` only when it is opened. */
export type LoadKind = 'sync' | 'async' | 'gate' | 'aborted' | 'deaf' | 'fail' | 'fail-gate' | 'fail-always';

export interface Plan {
  readonly load: LoadKind;
  /** Attempts that fail first, of 'fail' and 'fail-gate'. */
  readonly failures: number;
  readonly warmup: 'none' | 'sync' | 'gate' | 'fail';
  readonly unload: 'none' | 'sync' | 'async' | 'gate' | 'throw';
}

/** What a scripted loader makes. */
export class Servable {
  leases = 0;
  visible = false;
  unloads = 0;
  warmupFailed = false;
  constructor(readonly loader: ScriptedLoader) {}
}

export class ScriptedLoader implements Loader<Servable> {
  readonly label: string;
  readonly servables: Servable[] = [];
  attempts = 0;
  /** Its version was dropped before it was there: nobody may ever see it. */
  doomed = false;
  warmup?: NonNullable<Loader<Servable>['warmup']>;
  unload?: NonNullable<Loader<Servable>['unload']>;
  private busy: 'load' | 'unload' | undefined;
  private retired = false;

  constructor(
    private readonly journal: Journal,
    readonly id: ServableId,
    readonly plan: Plan,
    serial: number,
  ) {
    this.label = `loader ${serial} of ${id.name}/${id.version} (${plan.load})`;
    if (plan.warmup !== 'none') this.warmup = (servable) => this.runWarmup(servable);
    if (plan.unload !== 'none') this.unload = (servable) => this.runUnload(servable);
  }

  /** No attempt of it can succeed. */
  get failsAlways(): boolean {
    return this.plan.load === 'fail-always' || this.plan.warmup === 'fail';
  }

  load(context: LoadContext): Servable | Promise<Servable> {
    this.journal.look();
    this.begin('load');
    if (this.retired) this.journal.fault(`${this.label}: load after unload`);
    // With a thread of its own the manager may be about to call while the list comes.
    if (this.doomed && this.journal.isSerial) this.journal.fault(`${this.label}: called after it was dropped`);
    if (context.id.name !== this.id.name || context.id.version !== this.id.version) {
      this.journal.fault(`${this.label}: told to load ${context.id.name}/${context.id.version}`);
    }
    this.attempts++;
    this.countLoad(context);
    return this.attempt(context);
  }

  private attempt(context: LoadContext): Servable | Promise<Servable> {
    const { load, failures } = this.plan;
    const made = (): Servable => this.made();
    const failed = (): never => this.failed();
    switch (load) {
      case 'sync':
        return made();
      case 'async':
        return Promise.resolve().then(made);
      case 'gate':
        return this.journal.gate(this.label, made);
      case 'deaf':
        // Once it was dropped it comes back after it was given up, where there is a clock for that.
        return this.journal.gate(this.label, made, () => this.doomed && !this.journal.isSerial);
      case 'aborted':
        return this.untilAborted(context);
      case 'fail':
        return this.attempts > failures ? made() : failed();
      case 'fail-gate':
        return this.journal.gate(this.label, this.attempts > failures ? made : failed);
      case 'fail-always':
        return this.attempts % 2 === 0 ? failed() : Promise.resolve().then(failed);
    }
  }

  private untilAborted(context: LoadContext): Promise<Servable> {
    let settled = false;
    const once = (settle: () => void): void => {
      if (settled) return;
      settled = true;
      settle();
    };
    return new Promise((resolve, reject) => {
      const opened = this.journal.gate(this.label, () => undefined);
      void opened.then(() => once(() => resolve(this.made())));
      const aborted = (): void => {
        this.end();
        reject(context.signal.reason);
      };
      context.signal.addEventListener('abort', () => once(aborted));
    });
  }

  private made(): Servable {
    this.journal.look();
    this.end();
    const servable = new Servable(this);
    this.servables.push(servable);
    return servable;
  }

  private failed(): never {
    this.end();
    throw new Error(this.label);
  }

  // An aborted attempt may be given up, so it no longer counts as one of those that hold a slot.
  private countLoad(context: LoadContext): void {
    this.journal.loadBegins(this.label);
    let counted = true;
    const uncount = (): void => {
      if (counted) this.journal.loadEnds();
      counted = false;
    };
    context.signal.addEventListener('abort', uncount, { once: true });
    this.onLoadEnd = uncount;
  }
  private onLoadEnd: () => void = () => {};

  private runWarmup(servable: Servable): void | Promise<void> {
    this.journal.look();
    if (servable.unloads > 0) this.journal.fault(`${this.label}: warm-up after unload`);
    if (this.plan.warmup === 'gate') return this.journal.gate(`warm-up, ${this.label}`, () => {});
    if (this.plan.warmup === 'fail') {
      servable.warmupFailed = true;
      throw new Error(this.label);
    }
  }

  private runUnload(servable: Servable): void | Promise<void> {
    this.journal.look();
    this.begin('unload');
    if (servable.loader !== this) this.journal.fault(`${this.label}: unload of another loader's servable`);
    if (servable.leases > 0) this.journal.fault(`${this.label}: unload under ${servable.leases} leases`);
    if (++servable.unloads > 1) this.journal.fault(`${this.label}: unloaded ${servable.unloads} times`);
    // After a failed warm-up a retry follows; otherwise this is the end.
    if (!servable.warmupFailed) this.retired = true;
    switch (this.plan.unload) {
      case 'async':
        return Promise.resolve().then(() => this.end());
      case 'gate':
        return this.journal.gate(`unload, ${this.label}`, () => this.end());
      case 'throw':
        this.end();
        throw new Error(this.label);
      default:
        this.end();
    }
  }

  private begin(what: 'load' | 'unload'): void {
    if (this.busy) this.journal.fault(`${this.label}: ${what} during ${this.busy}`);
    this.busy = what;
  }

  private end(): void {
    if (this.busy === 'load') this.onLoadEnd();
    this.busy = undefined;
  }

  /** What it still owes when everything is over. */
  get unfinished(): string | undefined {
    if (this.busy) return `${this.label}: ${this.busy} has not ended`;
    if (!this.unload) return undefined;
    const left = this.servables.filter(({ unloads }) => unloads !== 1).length;
    return left > 0 ? `${this.label}: ${left} of ${this.servables.length} servables were not unloaded` : undefined;
  }
}
