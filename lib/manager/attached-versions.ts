// The versions of a manager of another thread, as this thread has them: shared ones at once, others by a copy that is
// loaded here.
//
// Availability. Under availability-preserving the manager opens version 2 and then closes version 1. Where version 2 is
// still loading here, the close of version 1 is put off until that load ended, if this thread had none otherwise, or if a
// label is on its way from the one to the other. The manager waits for the drain as it waits for a lease.
import { AspiredError, messageOf } from '../errors.js';
import { AttachMessage, type NativeOpenServable, type NativeReaderIntent, native } from '../native/binding.js';
import { adoptServable } from '../onnx/adopt.js';
import type { Loader, ServableId } from '../types.js';
import { checkLoader } from './aspired-list.js';
import { LoaderRunner } from './loader-runner.js';
import type { ManagerSettings } from './manager-options.js';
import { METRICS_LENGTH, VersionMetrics } from './metrics.js';
import { type Registry, VersionEntry } from './registry.js';

/** Epoch of a close that nobody waits for. */
const UNASKED = -1;

/** One version that the manager told of. */
class AttachedVersion {
  /** The manager has it open. */
  isOpen = true;
  /** What readers get; undefined until an own copy is loaded, and where there is none. */
  entry: VersionEntry | undefined = undefined;
  /** The servable is shared: there is no copy to load. */
  isShared = false;
  /** Of the loader of an own copy; undefined while there is none. */
  token: number | undefined = undefined;
  isLoading = false;
  /** The attempt under way was told to stop. */
  wasCancelled = false;
  attempts = 0;
  /** A load failed: it holds up nobody any more. */
  hasFailed = false;
  retry: NodeJS.Timeout | undefined = undefined;
  /** Epoch of a close that is put off; 0: none is. */
  deferred = 0;

  constructor(
    readonly key: number,
    readonly id: ServableId,
  ) {}
}

export interface AttachedVersionsOptions {
  readonly loaderFor: ((id: ServableId) => Loader | undefined) | undefined;
  readonly loadRetryIntervalMs: number;
  readonly report: (error: AspiredError) => void;
  /** Called once: nothing is found any more. */
  readonly ended: () => void;
}

export class AttachedVersions {
  /** See AttachedVersionsManager.ready. */
  readonly ready: Promise<void>;
  private readonly attachment = new native.NativeAttachment();
  private readonly runner: LoaderRunner;
  /** By key: what the manager has not unloaded, and, at the end, what is still held here. */
  private readonly versions = new Map<number, AttachedVersion>();
  /** By token: what a loader of this thread is at work for. */
  private readonly copies = new Map<number, AttachedVersion>();
  private readonly ofEntry = new Map<VersionEntry, AttachedVersion>();
  private readonly deferred = new Set<AttachedVersion>();
  /** What `ready` waits for. */
  private readonly awaited = new Set<AttachedVersion>();
  private readonly warned = new Set<string>();
  private catchingUp: NodeJS.Timeout | undefined;
  private onReady: () => void = () => {};
  private finished: Promise<void> | undefined;
  private onFinished: () => void = () => {};

  constructor(
    private readonly registry: Registry,
    settings: ManagerSettings,
    private readonly options: AttachedVersionsOptions,
  ) {
    this.ready = new Promise((resolve) => {
      this.onReady = resolve;
    });
    const host = {
      loadDone: (token: number, code: string | undefined, message: string): void => this.loaded(token, code, message),
      unloadDone: (token: number, code: string | undefined, message: string): void =>
        this.unloaded(token, code, message),
      // Nobody asks for estimates, or keeps reservations: copies are not the manager's.
      estimateDone: (): void => {},
      loadOver: (): void => {},
      // The loader takes threads of its own.
      getLoadThreads: () => undefined,
      getUnloadThreads: () => undefined,
    };
    this.runner = new LoaderRunner(() => host, registry, settings, options.report);
  }

  /** False: no manager has that token. */
  attach(token: string): boolean {
    const now = this.attachment.attach(token, (kind, a, b) => this.dispatch(kind, a, b));
    if (!now) return false;
    const [intents, open, isComplete] = now;
    for (const intent of intents) this.setIntent(intent);
    for (const servable of open) this.open(servable);
    if (isComplete) this.caughtUp();
    // Who awaits `ready` must live to see it: messages keep no thread alive.
    else this.catchingUp = setInterval(() => {}, 60_000);
    return true;
  }

  // What was open at the attach is known here.
  private caughtUp(): void {
    clearInterval(this.catchingUp);
    for (const version of this.versions.values()) if (version.isLoading) this.awaited.add(version);
    if (this.awaited.size === 0) this.onReady();
  }

  private dispatch(kind: number, a: unknown, b: number): void {
    switch (kind) {
      case AttachMessage.Open:
        this.open(a as NativeOpenServable);
        break;
      case AttachMessage.Close:
        this.close(a as number, b);
        break;
      case AttachMessage.Gone:
        this.gone(a as number);
        break;
      case AttachMessage.Intent:
        this.setIntent(a as NativeReaderIntent);
        break;
      case AttachMessage.CaughtUp:
        this.caughtUp();
        break;
      case AttachMessage.Shut:
        void this.end();
        break;
    }
  }

  // ----------------------------------------------------------------- messages

  private setIntent([name, aspired, labels, primary]: NativeReaderIntent): void {
    if (this.finished) return;
    this.registry.setIntent(name, aspired, new Map(labels), primary);
    this.closeDeferred();
  }

  private open([key, name, versionNumber, shared]: NativeOpenServable): void {
    if (this.finished) return;
    const known = this.versions.get(key);
    if (known) {
      this.reopen(known);
      return;
    }
    const version = new AttachedVersion(key, { name, version: versionNumber });
    this.versions.set(key, version);
    const servable = shared === undefined ? undefined : adoptServable(shared);
    if (servable === undefined) {
      this.load(version);
      return;
    }
    version.isShared = true;
    this.show(version, new VersionEntry(this.registry, version.id, key, servable));
  }

  // Its close was taken back.
  private reopen(version: AttachedVersion): void {
    version.isOpen = true;
    version.deferred = 0;
    this.deferred.delete(version);
    if (version.entry) {
      if (!version.entry.open) this.registry.open(version.entry);
    } else {
      this.load(version);
    }
  }

  private close(key: number, epoch: number): void {
    const version = this.versions.get(key);
    const entry = version?.entry;
    if (!version || !entry) {
      if (version) this.stopLoading(version);
      this.attachment.drained(epoch);
      return;
    }
    version.isOpen = false;
    if (!entry.open) {
      // It was closed here before the manager did, and is held: the drain answers both.
      entry.closing = epoch;
      return;
    }
    version.deferred = epoch;
    this.deferred.add(version);
    this.closeDeferred();
  }

  private gone(key: number): void {
    const version = this.versions.get(key);
    if (!version) return;
    version.isOpen = false;
    this.forget(version);
  }

  // ------------------------------------------------------------------ entries

  private show(version: AttachedVersion, entry: VersionEntry): void {
    version.entry = entry;
    this.ofEntry.set(entry, version);
    this.registry.open(entry);
    this.closeDeferred();
  }

  /** Closes what was put off and need not be any longer. */
  private closeDeferred(): void {
    for (const version of this.deferred) {
      if (!this.finished && this.mustStay(version)) continue;
      const epoch = version.deferred;
      version.deferred = 0;
      this.deferred.delete(version);
      this.registry.close(version.entry as VersionEntry, epoch);
    }
  }

  // A copy of a version that the manager has open is on its way, aspired or not, and without this one the name, or a label
  // of that version, had none.
  private mustStay({ id: { name }, entry }: AttachedVersion): boolean {
    const stream = this.registry.streams.get(name);
    if (!stream) return false;
    const isOnly = stream.entries.length === 1;
    for (const { id, isOpen, isLoading, hasFailed } of this.copies.values()) {
      if (id.name !== name || !isOpen || !isLoading || hasFailed) continue;
      if (isOnly) return true;
      for (const [label, bound] of stream.bound ?? []) {
        if (bound === entry && stream.labels?.get(label) === id.version) return true;
      }
    }
    return false;
  }

  /** Counters that the manager sees. */
  makeMetrics(entry: VersionEntry): VersionMetrics {
    const counters = new Float64Array(METRICS_LENGTH);
    const version = this.ofEntry.get(entry);
    if (version) this.attachment.countIn(version.key, counters);
    return new VersionMetrics(counters);
  }

  /** The last lease of a closed entry is back. */
  drained(entry: VersionEntry): void {
    const version = this.ofEntry.get(entry);
    if (entry.closing !== UNASKED) this.attachment.drained(entry.closing);
    // The manager will say when it is gone; at the end nobody does.
    if (version && this.finished) this.forget(version);
  }

  // -------------------------------------------------------------- own copies

  private loaderFor(id: ServableId): Loader | undefined {
    try {
      const loader = this.options.loaderFor?.(id);
      if (loader !== undefined) return checkLoader(`loaders(${id.name}/${id.version})`, loader);
    } catch (thrown) {
      const message = `Option loaders gave no loader for ${id.name}/${id.version}: ${messageOf(thrown)}`;
      const code = thrown instanceof AspiredError ? thrown.code : 'ERR_INVALID_LOADER';
      this.options.report(new AspiredError(code, message, { cause: thrown, servable: id }));
      return undefined;
    }
    if (!this.warned.has(id.name)) {
      this.warned.add(id.name);
      process.emitWarning(
        `${id.name} cannot be shared between threads and option loaders of attach() gives no loader for it: it is not ` +
          'available in this thread.',
        { type: 'AspiredWarning', code: 'ASPIRED_NO_LOADER' },
      );
    }
    return undefined;
  }

  private load(version: AttachedVersion): void {
    clearTimeout(version.retry);
    if (version.isShared || version.isLoading) return;
    if (version.token === undefined) {
      const loader = this.loaderFor(version.id);
      if (!loader) return;
      version.token = this.runner.register(version.id, loader, undefined);
      this.copies.set(version.token, version);
    }
    version.isLoading = true;
    version.wasCancelled = false;
    this.runner.load(version.token, ++version.attempts);
  }

  private stopLoading(version: AttachedVersion): void {
    version.isOpen = false;
    clearTimeout(version.retry);
    if (version.token === undefined || !version.isLoading) return;
    version.wasCancelled = true;
    this.runner.cancel(version.token);
  }

  private loaded(token: number, code: string | undefined, message: string): void {
    const version = this.copies.get(token) as AttachedVersion;
    version.isLoading = false;
    if (version.isOpen) {
      if (code === undefined) this.show(version, this.runner.entryOf(token) as VersionEntry);
      else if (version.wasCancelled) this.load(version);
      else this.retryLater(version, code, message);
    } else if (code === undefined || !this.versions.has(version.key)) {
      // Nobody saw what the load brought. A version that is opened again is loaded again.
      version.token = undefined;
      this.runner.unload(token);
    }
    this.closeDeferred();
    this.nothingAwaited(version);
  }

  private retryLater(version: AttachedVersion, code: string, message: string): void {
    version.hasFailed = true;
    const pause = this.options.loadRetryIntervalMs * 2 ** Math.min(version.attempts - 1, 3);
    version.retry = setTimeout(() => this.load(version), pause);
    version.retry.unref();
    const status = { code, message, cause: version.token ?? 0 };
    this.options.report(this.runner.errorOf(status, version.id) as AspiredError);
  }

  private nothingAwaited(version: AttachedVersion): void {
    if (version.isLoading || !this.awaited.delete(version)) return;
    if (this.awaited.size === 0) this.onReady();
  }

  private unloaded(token: number, code: string | undefined, message: string): void {
    const version = this.copies.get(token) as AttachedVersion;
    if (code !== undefined) {
      const error = this.runner.errorOf({ code, message, cause: token }, version.id);
      this.options.report(error as AspiredError);
    }
    this.runner.forget(token);
    this.copies.delete(token);
    this.finishIfDone();
  }

  // ---------------------------------------------------------------------- end

  /** Gives up what is here of a version that nobody holds any more. */
  private forget(version: AttachedVersion): void {
    this.versions.delete(version.key);
    this.attachment.stopCounting(version.key);
    this.deferred.delete(version);
    this.stopLoading(version);
    const { entry, token } = version;
    version.entry = undefined;
    if (entry) {
      if (entry.open) this.registry.close(entry, UNASKED);
      this.ofEntry.delete(entry);
      if (version.isShared) entry.servable = undefined;
    }
    // What a load under way brings is unloaded when it ends.
    if (token !== undefined && !version.isLoading) this.runner.unload(token);
    this.finishIfDone();
  }

  /** Nothing is found from here on. Resolves when all that is held came back and the own copies are unloaded. */
  end(): Promise<void> {
    if (this.finished) return this.finished;
    this.finished = new Promise((resolve) => {
      this.onFinished = resolve;
    });
    this.registry.shut();
    this.options.ended();
    this.closeDeferred();
    for (const version of [...this.versions.values()]) {
      version.isOpen = false;
      const { entry } = version;
      if (!entry) this.forget(version);
      else if (entry.open) this.registry.close(entry, UNASKED);
      else if (entry.leases === 0) this.forget(version);
    }
    clearInterval(this.catchingUp);
    this.awaited.clear();
    this.onReady();
    this.finishIfDone();
    return this.finished;
  }

  private finishIfDone(): void {
    if (!this.finished || this.versions.size > 0) return;
    // What the manager still closes has drained here.
    this.attachment.detach();
    if (this.copies.size === 0) this.onFinished();
  }
}
