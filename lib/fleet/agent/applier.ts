// From accepted cells to the manager. Says the same thing twice to nobody: a list that is given again is a new try of what
// failed, so a cell that changes neither versions nor primary nor policy is none of the manager's business.
import { AspiredError, messageOf } from '../../errors.js';
import type { AspiredVersionsManager, Loader } from '../../index.js';
import type { DesiredCell } from '../types.js';
import type { AcceptedCell } from './accepted-file.js';
import type { Findings } from './findings.js';
import { LazyLoader } from './lazy-loader.js';
import type { FleetLoaderFactory } from './options.js';
import type { Prefetches } from './prefetches.js';

/** What the manager has of a model. */
interface Applied {
  /** What was asked for, as text. */
  readonly intent: string;
  /** By version. The same object for as long as the version is in the cell: another one would be a new try of it. */
  readonly loaders: ReadonlyMap<number, Loader>;
}

export interface ApplierOptions {
  readonly manager: AspiredVersionsManager;
  readonly loader: FleetLoaderFactory;
  readonly prefetches: Prefetches;
  readonly findings: Findings;
  /** Whether the version may be loaded now. */
  readonly allows: (model: string, version: number) => boolean;
}

export class Applier {
  private readonly applied = new Map<string, Applied>();
  /** Cells that the manager refused, with why. */
  private readonly refused = new Map<string, { readonly cell: DesiredCell; readonly error: AspiredError }>();

  constructor(private readonly options: ApplierOptions) {}

  /** Acts on cells; one that the manager refuses holds back no other. */
  apply(cells: Iterable<readonly [string, AcceptedCell]>): void {
    for (const [model, { cell }] of cells) this.applyCell(model, cell);
    this.tell();
  }

  /** Tries again what the manager refused. */
  retry(): void {
    if (this.refused.size === 0) return;
    for (const [model, { cell }] of [...this.refused]) this.applyCell(model, cell);
    this.tell();
  }

  private applyCell(model: string, cell: DesiredCell): void {
    const { manager, prefetches, allows } = this.options;
    prefetches.want(model, cell.prefetch, cell.versions);
    const versions = cell.versions.filter((version) => allows(model, version));
    // An empty list would be a removal.
    if (versions.length === 0 && cell.versions.length > 0) return;
    const policy = cell.resourcePreserving ? 'resource-preserving' : 'availability-preserving';
    // A primary of nothing would be remembered for ever.
    const primary = versions.length > 0 ? (cell.primary ?? null) : null;
    const intent = `${versions.join()} ${primary} ${policy}`;
    this.refused.delete(model);
    if (this.applied.get(model)?.intent === intent) return;
    const loaders = this.loadersFor(model, versions);
    try {
      manager.setAspiredVersions(
        model,
        [...loaders].map(([version, loader]) => ({ version, loader })),
        { primary, aspiredVersionPolicy: policy },
      );
      this.applied.set(model, { intent, loaders });
    } catch (cause) {
      const code = cause instanceof AspiredError ? cause.code : 'ERR_INTERNAL';
      const error = new AspiredError(code, `The manager did not take ${model}: ${messageOf(cause)}`, { cause });
      this.refused.set(model, { cell, error });
    }
  }

  private loadersFor(model: string, versions: readonly number[]): Map<number, Loader> {
    const { loader, prefetches } = this.options;
    const before = this.applied.get(model)?.loaders;
    return new Map(
      versions.map((version) => {
        const id = { name: model, version };
        return [version, before?.get(version) ?? new LazyLoader(id, loader, (of) => prefetches.running(of))] as const;
      }),
    );
  }

  private tell(): void {
    this.options.findings.replace('apply', new Map([...this.refused].map(([model, { error }]) => [model, error])));
  }
}
