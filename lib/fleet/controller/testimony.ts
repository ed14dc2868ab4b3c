// What the hosts know, when the store has forgotten it. Pure.

import { encodeCell } from '../codec.js';
import type { Witness } from '../rollout/text.js';
import type { FleetExport } from '../store/types.js';
import { FLEET_SCHEMA, type FleetHost, type HostReport } from '../types.js';

/** What all hosts together say of one model. */
export interface ModelTestimony {
  /** The highest generation that a host accepted. */
  readonly generation: number;
  /** Versions that a plain name resolves to, by how many hosts, and with the highest generation of those. */
  readonly votes: ReadonlyMap<number, { readonly hosts: number; readonly generation: number }>;
  /** What hosts were told to take back as bad: who says so with the highest generation. */
  readonly rolledBack: ReadonlyMap<number, Witness>;
}

interface Gathered {
  generation: number;
  readonly votes: Map<number, { hosts: number; generation: number }>;
  readonly rolledBack: Map<number, Witness>;
}

/** Gathers reports. */
export class Testimony {
  readonly models = new Map<string, Gathered & ModelTestimony>();

  add(report: HostReport): void {
    for (const [name, { generation, rolledBack = [], primary }] of report.models) {
      let model = this.models.get(name);
      if (!model) {
        model = { generation: 0, votes: new Map(), rolledBack: new Map() };
        this.models.set(name, model);
      }
      model.generation = Math.max(model.generation, generation);
      for (const version of rolledBack) {
        const known = model.rolledBack.get(version);
        if (!known || known.generation < generation)
          model.rolledBack.set(version, { host: report.info.id, generation });
      }
      if (primary === undefined) continue;
      const vote = model.votes.get(primary) ?? { hosts: 0, generation: 0 };
      model.votes.set(primary, { hosts: vote.hosts + 1, generation: Math.max(vote.generation, generation) });
    }
  }
}

/** Versions that were taken back last: not those that a later generation made the primary again. */
export function badOf({ votes, rolledBack }: ModelTestimony): readonly number[] {
  return [...rolledBack]
    .filter(([version, { generation }]) => generation >= (votes.get(version)?.generation ?? 0))
    .map(([version]) => version)
    .sort((a, b) => a - b);
}

/**
 * The version that most hosts serve, of those that are not known as bad; of several, the one of the higher generation.
 * Undefined: no host serves any.
 */
export function electStable(testimony: ModelTestimony, tombstones: readonly number[] = []): number | undefined {
  const bad = new Set([...badOf(testimony), ...tombstones]);
  const candidates = [...testimony.votes].filter(([version]) => !bad.has(version));
  candidates.sort(([, a], [, b]) => b.hosts - a.hosts || b.generation - a.generation);
  return candidates[0]?.[0];
}

/**
 * What a fleet that lost its store goes on with: of each model the version that most hosts serve, with a generation above
 * all that were accepted, on every host. Versions that a host was told to take back stay marked as bad.
 */
export function exportOfHosts(fleet: string, reports: readonly HostReport[]): FleetExport {
  const testimony = new Testimony();
  for (const report of reports) testimony.add(report);
  const hosts: FleetHost[] = reports.map(({ info }, index) => ({ index, info, cordoned: false }));
  const desired: Record<string, Record<string, string>> = Object.fromEntries(hosts.map(({ info }) => [info.id, {}]));
  const models = [...testimony.models].map(([name, model]) => {
    const stable = electStable(model);
    const generation = model.generation + 1;
    const tombstones = badOf(model);
    if (stable !== undefined) {
      const cell = encodeCell({ generation, versions: [stable], primary: stable });
      for (const cells of Object.values(desired)) cells[name] = cell;
    }
    return { name, generation, previous: [], tombstones, ...(stable !== undefined && { stable }) };
  });
  return { schema: FLEET_SCHEMA, fleet, incarnation: 'hosts', models, hosts, desired };
}
