// Which parts of the report have changed since the store confirmed them. What was sent and not confirmed is sent again by the
// next beat, which looks at everything: an answer that did not come says nothing.
import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AspiredVersionsManager } from '../../index.js';
import type { Heartbeat } from '../store/types.js';
import type { HostInfo, HostStatus, ModelReport } from '../types.js';
import type { AcceptedDocument } from './accepted-file.js';
import type { Findings } from './findings.js';
import { type Memory, type ModelReports, memoryOf } from './model-reports.js';

/**
 * How much is looked at: `'changes'` what is known to have changed, `'watched'` also the traffic of models in a rollout,
 * `'all'` everything.
 */
export type Scope = 'changes' | 'watched' | 'all';

/** The changed parts, and what to do when the store has them. */
export interface Changes {
  readonly parts: Pick<Heartbeat, 'sequence' | 'info' | 'status' | 'models'>;
  readonly isEmpty: boolean;
  readonly confirmed: () => void;
}

export interface ReporterOptions {
  readonly manager: AspiredVersionsManager;
  readonly info: HostInfo;
  readonly bootId: string;
  readonly reports: ModelReports;
  readonly findings: Findings;
  readonly accepted: () => AcceptedDocument;
}

/** Milliseconds at a time that requests may have to wait for a report. */
const SLICE_MS = 2;

export class Reporter {
  private readonly dirty = new Set<string>();
  /** By model, as text: what the store has. */
  private sent = new Map<string, string>();
  private sentStatus = '';
  private sentInfo = false;
  private sequence = 0;

  constructor(private readonly options: ReporterOptions) {}

  /** Something of the model has changed. */
  touch(model: string): void {
    this.dirty.add(model);
  }

  /** Nothing is certain of what the store has: the next report is a whole one. */
  forget(): void {
    this.sent.clear();
    this.sentStatus = '';
    this.sentInfo = false;
  }

  /** Whether the next report has to be a whole one. */
  get isWhole(): boolean {
    return !this.sentInfo;
  }

  /** Lets requests in between: a thousand models take tens of milliseconds to look at. */
  async collect(scope: Scope): Promise<Changes> {
    const { manager, info } = this.options;
    const { byVersion, usedBytes } = memoryOf(manager);
    const { models, texts } = await this.changedModels(this.isWhole ? 'all' : scope, byVersion);
    const status = this.statusOf(usedBytes);
    const statusText = JSON.stringify({ ...status, clock: 0, sequence: 0 });
    const isEmpty = models.size === 0 && statusText === this.sentStatus && this.sentInfo;
    if (isEmpty) return { parts: { sequence: this.sequence }, isEmpty, confirmed: () => {} };
    // Counted when it is confirmed: what follows a beat whose answer was lost has its number, and the store misses none.
    const sequence = this.sequence + 1;
    return {
      parts: {
        sequence,
        ...(this.sentInfo ? {} : { info }),
        status: { ...status, sequence },
        ...(models.size === 0 ? {} : { models }),
      },
      isEmpty,
      confirmed: () => {
        this.sequence = sequence;
        for (const [model, text] of texts) this.sent.set(model, text);
        this.sentStatus = statusText;
        this.sentInfo = true;
      },
    };
  }

  private async changedModels(scope: Scope, memory: Memory) {
    const models = new Map<string, ModelReport>();
    const texts = new Map<string, string>();
    let since = performance.now();
    for (const model of [...this.namesIn(scope)]) {
      if (performance.now() - since > SLICE_MS) {
        await nextTurn();
        since = performance.now();
      }
      const accepted = this.options.accepted().cells.get(model);
      if (!accepted) continue;
      const report = this.options.reports.of(model, accepted, memory);
      const text = JSON.stringify(report);
      if (this.sent.get(model) === text) continue;
      models.set(model, report);
      texts.set(model, text);
    }
    return { models, texts };
  }

  private namesIn(scope: Scope): Iterable<string> {
    const { cells } = this.options.accepted();
    const names = new Set(this.dirty);
    this.dirty.clear();
    if (scope === 'all') return cells.keys();
    if (scope === 'watched') for (const [model, { cell }] of cells) if (cell.watch) names.add(model);
    return names;
  }

  private statusOf(usedBytes: number): Omit<HostStatus, 'sequence'> {
    const { bootId, findings, accepted } = this.options;
    const list = findings.list();
    return {
      bootId,
      revision: accepted().revision,
      usedBytes,
      clock: Date.now(),
      ...(list.length > 0 ? { findings: list } : {}),
    };
  }
}
