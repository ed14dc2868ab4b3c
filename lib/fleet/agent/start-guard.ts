// Starts that end while they load what was accepted. A version that ends its process when it is loaded would do so at each start,
// before the store can tell that it was taken back. So a start that is under way is on the disk. After two that ended so, the
// next one loads one version at a time, each written down before: the one that ends it is a suspect. A suspect is not loaded
// before a document of the store names it; everything else is. A start that goes well costs one small file.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AspiredError } from '../../errors.js';
import type { ServableId } from '../../index.js';
import type { StoredDocument } from '../store/types.js';
import { FLEET_SCHEMA } from '../types.js';
import type { AcceptedDocument } from './accepted-file.js';
import { readText, writeDurably } from './durable-file.js';
import type { Findings } from './findings.js';
import { saidCells } from './intake.js';

/** What is on the disk. Versions are 'name/version'. */
interface Starts {
  /** Starts in a row that ended while they loaded, and the one that is under way. */
  readonly unfinished: number;
  readonly suspects: readonly string[];
  /** Being loaded by a careful start. */
  readonly loading: readonly string[];
}

const NO_STARTS: Starts = { unfinished: 0, suspects: [], loading: [] };
/** Unfinished starts before one is careful. */
const CARELESS = 2;
/** A load that hangs holds back the next one for so long. */
const PATIENCE_MS = 30_000;

export class StartGuard {
  private readonly path: string;
  private unfinished = 0;
  private readonly suspects = new Set<string>();
  private readonly loading = new Set<string>();
  /** Of this start: neither Available nor failed yet. */
  private readonly pending = new Set<string>();
  /** Not to be loaded now. */
  private readonly held = new Set<string>();
  private wake = (): void => {};
  private saving: Promise<void> = Promise.resolve();

  /** @param apply Acts on what was accepted of the model, as far as it is allowed now. */
  constructor(
    folder: string,
    private readonly findings: Findings,
    private readonly apply: (model: string) => void,
  ) {
    this.path = join(folder, 'starts.json');
  }

  /** To be awaited before anything of `cells` is loaded. Never rejects: without its file a start is like the first. */
  async begin(cells: AcceptedDocument['cells']): Promise<void> {
    const before = await this.read();
    for (const id of idsOf(cells)) this.pending.add(id);
    for (const id of [...before.suspects, ...before.loading]) if (this.pending.delete(id)) this.suspects.add(id);
    if (this.pending.size > 0) this.unfinished = before.unfinished + 1;
    for (const id of [...this.suspects, ...(this.isCareful ? this.pending : [])]) this.held.add(id);
    if (before !== NO_STARTS || this.pending.size > 0) await this.save();
  }

  private get isCareful(): boolean {
    return this.unfinished > CARELESS;
  }

  allows(model: string, version: number): boolean {
    return !this.held.has(`${model}/${version}`);
  }

  /** After begin(), and after what is allowed was acted on: in a careful start the rest follows one by one. Never rejects. */
  async loadTheRest(): Promise<void> {
    this.tell();
    for (const id of this.isCareful ? [...this.pending] : []) {
      if (!this.pending.has(id)) continue;
      this.loading.add(id);
      await this.save();
      // The store may have been read meanwhile, or the agent closed.
      if (!this.pending.has(id) || !this.held.delete(id)) continue;
      this.apply(modelOf(id));
      if (!this.pending.has(id)) continue;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, PATIENCE_MS).unref();
      });
    }
  }

  /** The version is Available, or its load has failed: it does not end the process. */
  settled({ name, version }: ServableId): void {
    if (this.pending.size === 0 && this.suspects.size === 0) return;
    const id = `${name}/${version}`;
    const isLast = this.pending.delete(id) && this.pending.size === 0;
    const isCleared = !this.held.has(id) && this.suspects.delete(id);
    if (isLast) this.unfinished = 0;
    if (isCleared) this.tell();
    const wasLoading = this.loading.delete(id);
    if (isLast || isCleared) void this.save();
    if (wasLoading) this.wake();
  }

  /** A document of the store was read, and what is new in it accepted: of the models that it names, that is what is loaded. */
  release(stored: StoredDocument, cells: AcceptedDocument['cells']): void {
    if (this.pending.size === 0 && this.suspects.size === 0) return;
    const said = saidCells(stored, cells);
    const wanted = new Set(idsOf(said));
    const isSaid = (id: string): boolean => said.has(modelOf(id));
    const models = new Set([...this.held].filter(isSaid).map(modelOf));
    for (const id of this.suspects) if (isSaid(id) && !wanted.has(id)) this.suspects.delete(id);
    for (const set of [this.held, this.pending, this.loading]) for (const id of set) if (isSaid(id)) set.delete(id);
    if (this.pending.size === 0) this.unfinished = 0;
    void this.save();
    this.wake();
    this.tell();
    for (const model of models) this.apply(model);
  }

  /** The agent ends as it should. Resolves when nothing is being written any more. */
  async close(): Promise<void> {
    for (const set of [this.pending, this.loading]) set.clear();
    if (this.unfinished > 0) void this.save();
    this.unfinished = 0;
    this.wake();
    await this.saving;
  }

  private tell(): void {
    const suspects = [...this.suspects].slice(0, 5).join(', ');
    const message = `This host ended while it loaded ${suspects}: not loaded again before the store names it. What else was accepted is served.`;
    const errors = suspects === '' ? [] : [['suspects', new AspiredError('ERR_LOAD_FAILED', message)] as const];
    this.findings.replace('start', new Map(errors));
  }

  private async read(): Promise<Starts> {
    try {
      const { schema, ...starts } = JSON.parse((await readText(this.path)) ?? '{}');
      const { unfinished, suspects, loading } = starts as Starts;
      const isWhole = schema === FLEET_SCHEMA && Number.isSafeInteger(unfinished);
      return isWhole && Array.isArray(suspects) && Array.isArray(loading) ? starts : NO_STARTS;
    } catch {
      return NO_STARTS;
    }
  }

  /** One at a time, each as things are then. Only a hint for the next start, so failing is no harm. */
  private save(): Promise<void> {
    this.saving = this.saving.then(async () => {
      const [suspects, loading] = [[...this.suspects], [...this.loading]];
      const text = `${JSON.stringify({ schema: FLEET_SCHEMA, unfinished: this.unfinished, suspects, loading })}\n`;
      const isNothing = this.unfinished === 0 && suspects.length === 0;
      await (isNothing ? rm(this.path, { force: true }) : writeDurably(this.path, text)).catch(() => {});
    });
    return this.saving;
  }
}

function idsOf(cells: AcceptedDocument['cells']): string[] {
  return [...cells].flatMap(([model, { cell }]) => cell.versions.map((version) => `${model}/${version}`));
}

function modelOf(id: string): string {
  return id.slice(0, id.lastIndexOf('/'));
}
