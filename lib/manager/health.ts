// What JavaScript knows of the health of versions: bakes, contents that changed in place, loaders that failed a bake.
import type { AspiredError } from '../errors.js';
import { harnessStates, type NativeBake, type NativeManager, VersionFlag } from '../native/binding.js';
import type { Loader, ServableId } from '../types.js';
import type { ListItem } from './aspired-list.js';
import { type BakeOutcome, BakeWatcher } from './bakes.js';
import { Contents } from './contents.js';
import type { LoaderRunner } from './loader-runner.js';
import { type MetricsSnapshot, NO_METRICS } from './metrics.js';
import type { Registry, VersionEntry } from './registry.js';
import type { ServableSettings } from './servable-options.js';

/** What {@link Health} needs of its manager. */
export interface HealthOptions {
  readonly native: () => NativeManager;
  readonly runner: LoaderRunner;
  readonly registry: Registry;
  readonly servables: ServableSettings;
  /** What the version has counted, in all threads. */
  readonly metricsOf: (id: ServableId) => MetricsSnapshot | undefined;
  readonly snapshotOf: (entry: VersionEntry) => MetricsSnapshot | undefined;
  readonly report: (error: AspiredError) => void;
}

/** The health of the versions of one manager. */
export class Health {
  private readonly bakes: BakeWatcher;
  private readonly contents = new Contents();
  /** The loader that a list gave last, of servables with a bake. */
  private readonly loaders = new Map<string, Map<number, Loader>>();

  constructor(private readonly options: HealthOptions) {
    this.bakes = new BakeWatcher({
      metricsOf: options.metricsOf,
      finish: (id, incarnation, outcome, error) => this.finishBake(id, incarnation, outcome, error),
    });
  }

  /** The flags of a list for the core. To be called once per list, when nothing can throw any more. */
  flagsOf(name: string, list: readonly ListItem[]): number[] {
    const same = this.sameLoaders(name, list);
    const changed = this.changedContents(name, list);
    return list.map(
      ({ loader }, i) =>
        (loader?.estimateResources ? VersionFlag.Estimates : 0) |
        (changed?.[i] ? VersionFlag.Replace : 0) |
        (same?.[i] ? VersionFlag.SameLoader : 0),
    );
  }

  // A list with the loader that failed a bake does not try it again; sources send the same one as long as nothing changed.
  private sameLoaders(name: string, list: readonly ListItem[]): boolean[] | undefined {
    if (!this.options.servables.bakeOf(name)) {
      this.loaders.delete(name);
      return undefined;
    }
    const before = this.loaders.get(name);
    const now = new Map<number, Loader>();
    for (const { id, loader } of list) if (loader) now.set(id.version, loader);
    if (now.size > 0) this.loaders.set(name, now);
    else this.loaders.delete(name);
    return list.map(({ id, loader }) => loader !== undefined && before?.get(id.version) === loader);
  }

  private changedContents(name: string, list: readonly ListItem[]): boolean[] | undefined {
    if (!this.contents.knows(name) && list.every(({ digest }) => digest === undefined)) return undefined;
    const mode = this.options.servables.contentChangeOf(name);
    const answers = this.contents.compare(name, list, mode);
    return list.map(({ id, digest }, i) => {
      if (answers[i] !== 'changed' || digest === undefined) return false;
      if (mode === 'reload') return true;
      if (this.startsAnew(id)) {
        this.contents.accept(name, id.version, digest);
        return true;
      }
      const refusal = this.contents.refuse(id, digest);
      if (refusal) this.options.report(refusal);
      return false;
    });
  }

  // What failed has nothing to lose, and what was dropped is on its way out.
  private startsAnew({ name, version }: ServableId): boolean {
    const row = this.options
      .native()
      .getVersionStates(name)
      .find(([v]) => v === version);
    if (row === undefined) return true;
    const [, state, aspired, , , , , , standby, , bad] = row;
    const name_ = harnessStates[state];
    return bad || standby || name_ === 'Error' || name_ === 'Disabled' || (!aspired && name_ !== 'Ready');
  }

  /** Why the content that a list offers is not what is loaded. */
  refusalOf(name: string, version: number): AspiredError | undefined {
    return this.contents.refusalOf(name, version);
  }

  /** A loader of the version is gone; the version, too, unless another one has taken over. */
  released({ name, version }: ServableId): void {
    if (!this.contents.knows(name)) return;
    if (
      this.options
        .native()
        .getVersionStates(name)
        .every(([v]) => v !== version)
    )
      this.contents.forget(name, version);
  }

  // The core tells of a bake some turns after readers were switched, and each of their requests counts. So what a version
  // had counted before is remembered at the switch: when it opens again, is aspired to again and is still open, or when a
  // plain name comes to mean it.

  /** A list is accepted, and not yet in the registry. */
  switching(name: string, aspired: readonly number[]): void {
    if (!this.options.servables.bakeOf(name)) return;
    for (const entry of this.options.registry.streams.get(name)?.entries ?? []) {
      const isAspired = aspired.includes(entry.id.version);
      if (isAspired !== entry.aspired) entry.beforeSwitch = isAspired ? this.options.snapshotOf(entry) : undefined;
    }
  }

  /** Plain names mean the entry from now on, which was open already: by a primary, or because what they meant has closed. */
  switched(entry: VersionEntry): void {
    if (this.options.servables.bakeOf(entry.id.name)) entry.beforeSwitch = this.options.snapshotOf(entry);
  }

  /** The entry is about to open. */
  opening(entry: VersionEntry): void {
    if (entry.closing !== 0) entry.beforeSwitch ??= this.options.snapshotOf(entry);
  }

  /** The core begins the bake of a version. */
  startBake(name: string, [version, incarnation, previous]: NativeBake): void {
    const settings = this.options.servables.bakeOf(name);
    const id = { name, version };
    if (settings) {
      this.rememberLoader(id);
      const before = this.options.registry.streams.get(name)?.find(version)?.beforeSwitch ?? NO_METRICS;
      this.bakes.start({ id, incarnation, previous, settings, before });
    } else this.finishBake(id, incarnation, { verdict: 'passed', insufficientData: true }, undefined);
  }

  // Its list may have come before anybody asked for a bake.
  private rememberLoader({ name, version }: ServableId): void {
    const loader = this.options.runner.loaderOf(this.tokenOf(name, version));
    let known = this.loaders.get(name);
    if (!known) {
      known = new Map();
      this.loaders.set(name, known);
    }
    if (loader && !known.has(version)) known.set(version, loader);
  }

  private tokenOf(name: string, version: number): number {
    return this.options.registry.streams.get(name)?.find(version)?.token ?? 0;
  }

  /** The version is closed to readers. */
  stopBake(id: ServableId): void {
    this.bakes.stop(id);
  }

  requestFailed(entry: VersionEntry): void {
    if (this.bakes.size > 0) this.bakes.requestFailed(entry.id);
  }

  private finishBake(id: ServableId, incarnation: number, outcome: BakeOutcome, error: AspiredError | undefined): void {
    const { native, runner, report } = this.options;
    const token = this.tokenOf(id.name, id.version);
    if (error && outcome.verdict === 'breached') runner.blame(token, error);
    const status = native().finishBake(id.name, id.version, incarnation, error?.code, error?.message ?? '', token);
    // It stays although it is bad, because there is nothing to go back to: somebody must know.
    if (status && error) report(error);
  }

  close(): void {
    this.bakes.close();
  }
}
