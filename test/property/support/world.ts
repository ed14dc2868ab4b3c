// A manager under random operations, with everything that is known about what it may and may not do.
import {
  type AspiredVersionPolicy,
  type AspiredVersionPolicyOption,
  AspiredVersionsManager,
  AvailabilityPreservingPolicy,
  ResourcePreservingPolicy,
  type ServableHandle,
  type ServableVersionState,
  type Transition,
  type TransitionResult,
} from 'aspired';
import { EventLog } from './event-log.js';
import { Journal } from './journal.js';
import { ScriptedLoader, type Servable } from './loaders.js';
import { type Item, NAMES, type Operation, type PolicyName, type Setting } from './operations.js';

const BEFORE_READY = new Set(['New', 'LoadRequested', 'LoadApproved', 'Loading', 'Disabled', 'Error']);

/** What was asked for, of one servable. */
class Wish {
  items: readonly Item[] = [];
  policy: PolicyName;
  primary: number | null = null;
  /** It had a Ready version, and only non-empty lists under the availability-preserving policy since. */
  guaranteed = false;
  readonly loaders = new Map<number, ScriptedLoader[]>();
  constructor(policy: PolicyName) {
    this.policy = policy;
  }
}

const BUILT_IN = {
  'availability-preserving': new AvailabilityPreservingPolicy(),
  'resource-preserving': new ResourcePreservingPolicy(),
} as const;
/** The same decisions, made by a policy that the core does not know. */
const inJavaScript =
  (name: PolicyName): AspiredVersionPolicy['getNextAction'] =>
  (snapshots) =>
    BUILT_IN[name].getNextAction(snapshots);

interface Awaited {
  readonly name: string;
  readonly versions: readonly number[];
  readonly transition: Transition;
  result: TransitionResult | undefined;
}

export interface WorldOptions {
  readonly manageStateIntervalMs: number;
  readonly retryIntervalMs: number;
  readonly cancelGraceMs: number;
}

export class World {
  readonly journal = new Journal();
  readonly manager: AspiredVersionsManager;
  readonly events: EventLog;
  readonly awaited: Awaited[] = [];
  readonly loaders: ScriptedLoader[] = [];
  private readonly wishes = new Map<string, Wish>();
  private readonly holds: ServableHandle<Servable>[] = [];
  private closed = false;
  private looking = false;
  private readonly policyOf: (name: PolicyName) => AspiredVersionPolicyOption;

  constructor(setting: Setting, options: WorldOptions) {
    const { retryIntervalMs } = options;
    this.policyOf = (name) => (setting.decides === 'policy' ? { getNextAction: inJavaScript(name) } : name);
    this.manager = new AspiredVersionsManager({
      aspiredVersionPolicy: this.policyOf(setting.policy),
      ...(setting.decides === 'order' ? { customSortActions: (a, b) => b.id.version - a.id.version } : {}),
      numLoadThreads: setting.load,
      numUnloadThreads: setting.unload,
      maxNumLoadRetries: setting.retries,
      manageStateIntervalMs: options.manageStateIntervalMs,
      cancelGraceMs: options.cancelGraceMs,
      loadRetryIntervalMs: retryIntervalMs,
      maxLoadRetryIntervalMs: retryIntervalMs,
      slowRetryIntervalMs: retryIntervalMs,
      maxSlowRetryIntervalMs: retryIntervalMs,
      leakDetection: 'off',
      onError: () => {},
    });
    for (const name of NAMES) this.wishes.set(name, new Wish(setting.policy));
    this.journal.isSerial = options.manageStateIntervalMs === 0;
    this.journal.maxLoading = Math.max(1, setting.load);
    this.events = new EventLog(this.journal, this.manager);
    this.journal.look = () => this.look();
  }

  private wish(name: string): Wish {
    const wish = this.wishes.get(name);
    if (!wish) throw new Error(`no servable ${name}`);
    return wish;
  }

  /** What an operation does at once; rounds are the business of the caller. */
  perform(operation: Exclude<Operation, { do: 'round' }>): void {
    switch (operation.do) {
      case 'aspire':
        this.aspire(operation.name, operation.items, operation.policy, operation.primary);
        break;
      case 'labels': {
        const { name, canary, primary } = operation;
        if (primary !== undefined) this.wish(name).primary = primary;
        this.manager.setVersionLabels(name, { canary }, primary === undefined ? {} : { primary });
        break;
      }
      case 'hold':
        this.hold(operation.name, operation.version);
        break;
      case 'use':
        this.use(operation.name);
        break;
      case 'release':
        this.release(operation.index);
        break;
      case 'open':
        this.journal.openGate(operation.index);
        break;
      case 'open all':
        this.journal.openAll();
        break;
      case 'threads':
        this.journal.maxLoading = Math.max(this.journal.maxLoading, operation.load);
        this.manager.setNumLoadThreads(operation.load);
        this.manager.setNumUnloadThreads(operation.unload);
    }
  }

  // ------------------------------------------------------------------ intent

  aspire(name: string, items: readonly Item[], policy?: PolicyName, primary?: number | null): void {
    const wish = this.wish(name);
    this.doomDropped(name, wish, items);
    wish.items = items;
    if (policy) wish.policy = policy;
    if (primary !== undefined) wish.primary = primary;
    if (items.length === 0 || wish.policy === 'resource-preserving') wish.guaranteed = false;
    const list = items.map(({ version, plan }) => {
      if (!plan) return { version, error: new Error(`no source for ${name}/${version}`) };
      const loader = new ScriptedLoader(this.journal, { name, version }, plan, this.loaders.length);
      this.loaders.push(loader);
      const ofVersion = wish.loaders.get(version) ?? [];
      wish.loaders.set(version, [...ofVersion, loader]);
      return { version, loader };
    });
    const transition = this.manager.setAspiredVersions(name, list, {
      ...(policy ? { aspiredVersionPolicy: this.policyOf(policy) } : {}),
      ...(primary === undefined ? {} : { primary }),
    });
    const awaited: Awaited = { name, versions: items.map(({ version }) => version), transition, result: undefined };
    this.awaited.push(awaited);
    void transition.settled.then((result) => {
      awaited.result = result;
    });
  }

  // A version that is dropped before it is Ready is never seen; nor is a loader that had not been used until then.
  private doomDropped(name: string, wish: Wish, items: readonly Item[]): void {
    const states = new Map(this.manager.getServableStates(name).map((state) => [state.id.version, state.state]));
    for (const [version, loaders] of wish.loaders) {
      if (items.some((item) => item.version === version)) continue;
      const before = BEFORE_READY.has(states.get(version) ?? 'New');
      for (const loader of loaders) if (before || loader.attempts === 0) loader.doomed = true;
    }
  }

  // ------------------------------------------------------------------ readers

  private hold(name: string, version: number | 'latest' | 'earliest' | undefined): void {
    const handle = this.find(name, version);
    if (!handle) return;
    handle.servable.leases++;
    this.holds.push(handle);
  }

  private find(name: string, version?: number | 'latest' | 'earliest'): ServableHandle<Servable> | undefined {
    try {
      return this.manager.getServableHandle<Servable>(version === undefined ? name : { name, version });
    } catch {
      return undefined;
    }
  }

  private release(index: number): void {
    const [handle] = this.holds.splice(index % Math.max(1, this.holds.length), 1);
    if (!handle) return;
    handle.servable.leases--;
    handle.release();
  }

  releaseAll(): void {
    while (this.holds.length > 0) this.release(0);
  }

  // A request that lasts until its gate is opened.
  private use(name: string): void {
    const handle = this.find(name);
    if (!handle) return;
    handle.release();
    void this.manager.withServable<Servable>(name, async (servable) => {
      servable.leases++;
      await this.journal.gate(`request to ${name}`, () => undefined);
      servable.leases--;
    });
  }

  /** What a reader sees now. Anybody may look at any time. */
  look(): void {
    if (this.looking || this.closed) return;
    this.looking = true;
    for (const [name, wish] of this.wishes) {
      const handle = this.find(name);
      if (!handle && wish.guaranteed) this.journal.fault(`${name}: no version can be acquired\n    ${this.show(name)}`);
      if (handle) this.checkResolved(name, wish, handle.id.version);
      handle?.release();
      if (!wish.guaranteed) wish.guaranteed = this.isGuaranteed(name, wish);
    }
    for (const [key, handle] of this.manager.getAvailableServableHandles<Servable>()) {
      const { servable } = handle;
      if (servable.loader.doomed && !servable.visible) {
        this.journal.fault(`${key}: ${servable.loader.label} was dropped before it was there, and is visible`);
      }
      if (servable.unloads > 0) this.journal.fault(`${key}: ${servable.loader.label} is visible after its unload`);
      servable.visible = true;
      handle.release();
    }
    this.looking = false;
  }

  // The primary, or the latest aspired version, or the latest that is still there.
  private checkResolved(name: string, wish: Wish, version: number): void {
    const ids = this.manager.listAvailableServableIds().filter((id) => id.name === name);
    const open = ids.map((id) => id.version);
    const aspired = open.filter((each) => wish.items.some((item) => item.version === each));
    const latest = Math.max(...(aspired.length > 0 ? aspired : open));
    const expected = wish.primary !== null && open.includes(wish.primary) ? wish.primary : latest;
    if (version !== expected) this.journal.fault(`${name} is read as ${version} and should be ${expected}`);
  }

  private isGuaranteed(name: string, wish: Wish): boolean {
    if (wish.items.length === 0 || wish.policy !== 'availability-preserving') return false;
    return this.manager
      .getServableStates(name)
      .some(
        ({ id, state, incarnation }) =>
          state === 'Ready' && this.events.sawAvailable(`${id.name}/${id.version}`, incarnation),
      );
  }

  // ------------------------------------------------------------------ rest

  /** Why things have not come to rest; undefined: they have. */
  unrest(): string | undefined {
    for (const [name, wish] of this.wishes) {
      const states = this.manager.getServableStates(name);
      for (const item of wish.items) {
        const state = states.find(({ id }) => id.version === item.version);
        if (!state) return `${name}/${item.version} is aspired and not managed`;
        if (!this.isOver(wish, item, state)) return `${name}/${item.version} is aspired and ${this.show(name)}`;
      }
      const left = states.filter(({ aspired }) => !aspired);
      const served = states.some(({ aspired, state }) => aspired && state === 'Ready');
      const keepsOne = wish.policy === 'availability-preserving' && wish.items.length > 0 && !served;
      const isKept = left.length === 1 && left[0]?.state === 'Ready' && keepsOne;
      if (left.length > 0 && !isKept) return `${name} should have nothing else: ${this.show(name)}`;
    }
    return undefined;
  }

  private isOver(wish: Wish, item: Item, state: ServableVersionState): boolean {
    if (!state.aspired) return false;
    if (state.state === 'Ready') return this.find(state.id.name, item.version)?.release() === undefined;
    // A new incarnation of what fails always may be under way at any time.
    if (!state.error || state.error.code === 'ERR_LOAD_CANCELLED') return false;
    if (state.error.code === 'ERR_SOURCE_ERROR') return item.plan === undefined;
    const failing = wish.loaders.get(item.version)?.findLast(({ attempts }) => attempts > 0);
    return failing?.failsAlways === true && state.error.message.includes(failing.label);
  }

  private show(name: string): string {
    const rows = this.manager.getServableStates(name).map(({ id, state, aspired, error, leases, incarnation }) => {
      const why = error ? ` ${error.code}` : '';
      return `${id.version}#${incarnation} ${state}${aspired ? '' : ' dropped'}${leases > 0 ? ` ${leases} leases` : ''}${why}`;
    });
    return `[${rows.join(', ')}]`;
  }

  /** What can be said of every list when things have come to rest; `closed`: close() may have ended it. */
  checkTransitions(closed: boolean): void {
    const last = new Map(this.awaited.map((awaited) => [awaited.name, awaited]));
    for (const awaited of this.awaited) {
      const { name, result } = awaited;
      const list = `list [${awaited.versions.join(', ')}] of ${name}`;
      if (!result) {
        this.journal.fault(`${list} never settled`);
        continue;
      }
      const versions = result.versions.map(({ version }) => version);
      if (`${versions}` !== `${awaited.versions}`) this.journal.fault(`${list} settled with versions ${versions}`);
      for (const { version, managerState, error } of result.versions) {
        const good = managerState === 'Available' ? !error : managerState === 'End';
        if (!good) this.journal.fault(`${list}: ${version} settled as ${managerState} ${error?.code ?? ''}`);
        if (managerState === 'End' && !error) this.journal.fault(`${list}: ${version} ended without a reason`);
      }
      if (last.get(name) === awaited && !closed) {
        if (result.superseded) this.journal.fault(`${list} is the last one and superseded`);
        this.checkLastResult(list, result);
      }
    }
  }

  private checkLastResult(list: string, result: TransitionResult): void {
    const wish = this.wish(result.name);
    for (const { version, managerState } of result.versions) {
      const loaders = wish.loaders.get(version) ?? [];
      const mayFail = loaders.some(({ plan }) => plan.load.startsWith('fail') || plan.warmup === 'fail');
      const item = wish.items.find((each) => each.version === version);
      if (managerState === 'End' && !mayFail && item?.plan) {
        this.journal.fault(`${list}: ${version} ended, and no loader of it fails`);
      }
    }
  }

  /** From here on nothing can be acquired. */
  close(): Promise<{ readonly abandoned: readonly unknown[] }> {
    this.closed = true;
    for (const loader of this.loaders) loader.doomed = true;
    return this.manager.close({ drainTimeoutMs: 20_000 });
  }

  checkClosed(): void {
    this.events.checkAllEnded();
    for (const loader of this.loaders) {
      const { unfinished } = loader;
      if (unfinished) this.journal.fault(unfinished);
    }
  }
}
