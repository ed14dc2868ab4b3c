// What the hosts are told, as it lies in the store. Ten thousand cells are not read for each tick: while the generation of a
// model is the one they were read at, they are the same.
import { AspiredError } from '../../errors.js';
import { decodeCell } from '../codec.js';
import type { CellWrite } from '../rollout/types.js';
import type { FleetStore } from '../store/types.js';
import type { DesiredCell } from '../types.js';

interface Page {
  generation: number;
  readonly cells: Map<string, DesiredCell | undefined>;
}

/** Cells by model and host, valid for one generation of the model. */
export class CellBook {
  private readonly pages = new Map<string, Page>();

  constructor(private readonly store: FleetStore) {}

  /**
   * The cells of these hosts, at this generation or a later one. `generation` has to be read before, so that what comes is
   * never older than it.
   */
  async read(
    model: string,
    generation: number,
    hosts: readonly string[],
  ): Promise<readonly (DesiredCell | undefined)[]> {
    let page = this.pages.get(model);
    if (page?.generation !== generation) {
      page = { generation, cells: new Map() };
      this.pages.set(model, page);
    }
    const { cells } = page;
    const missing = hosts.filter((host) => !cells.has(host));
    if (missing.length > 0) {
      const texts = await this.store.readCells(model, missing);
      missing.forEach((host, index) => void cells.set(host, decoded(texts[index])));
    }
    return hosts.map((host) => cells.get(host));
  }

  /** A commit of ours made `generation` out of `before`, with these writes; `above`: what it was told to go above. */
  wrote(change: {
    readonly model: string;
    readonly before: number;
    readonly above: number;
    readonly generation: number;
    readonly hosts: readonly string[];
    readonly writes: readonly CellWrite[];
  }): void {
    const { model, before, above, generation, hosts, writes } = change;
    const page = this.pages.get(model);
    if (page === undefined || writes.length === 0) return;
    // Somebody wrote other cells of the model in between.
    if (page.generation !== before || generation !== Math.max(before, above) + 1) this.forget(model);
    else {
      page.generation = generation;
      for (const { place, cell } of writes) page.cells.set(hosts[place] as string, { ...cell, generation });
    }
  }

  /** The rollout has ended, or generations of the store went back: what is here may be of a past that did not happen. */
  forget(model?: string): void {
    if (model === undefined) this.pages.clear();
    else this.pages.delete(model);
  }
}

/** A cell that cannot be decoded counts as not told: it is written again. One of a newer schema is not ours to touch. */
export function decoded(text: string | undefined): DesiredCell | undefined {
  if (text === undefined) return undefined;
  try {
    return decodeCell(text);
  } catch (error) {
    if (error instanceof AspiredError && error.code === 'ERR_SCHEMA_UNSUPPORTED') throw error;
    return undefined;
  }
}
