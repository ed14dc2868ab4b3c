// From what the store and the hosts say to what the reducer is given: bytes by place. Pure.
import type { GateResult } from '../gates/types.js';
import { toldOf } from '../rollout/cells.js';
import {
  type Observation,
  type PendingVerb,
  type RolloutPlan,
  type RolloutStamps,
  type RolloutState,
  SEEN,
  TOLD,
} from '../rollout/types.js';
import type { DesiredCell, FleetHost, HostReport, ModelReport, VersionReport } from '../types.js';

const MIB = 1024 * 1024;
const UNKNOWN_MIB = 0xffffffff;

/** A host as one controller sees it now. */
export interface HostPicture {
  /** Undefined: it was removed. */
  readonly host: FleetHost | undefined;
  readonly alive: boolean;
  /** Of the boot that holds the lease; undefined: it has not reported. */
  readonly report: HostReport | undefined;
}

export interface ObserveInput {
  /** The store's clock, ms. */
  readonly now: number;
  readonly plan: RolloutPlan;
  readonly state: RolloutState;
  readonly stamps: RolloutStamps;
  /** By place. */
  readonly pictures: readonly HostPicture[];
  /** By place; undefined: none, or it cannot be decoded. */
  readonly cells: readonly (DesiredCell | undefined)[];
  /** Of the model, as stored: read after what the hosts reported. */
  readonly generation: number;
  readonly verbs: readonly PendingVerb[];
  readonly gates: ReadonlyMap<number, GateResult>;
  readonly storeHold: Observation['storeHold'] | undefined;
  /** Whom it is for. */
  readonly storeHosts?: readonly string[] | undefined;
}

/** What one tick knows, and what only the controller needs of it. */
export interface Observed {
  readonly observation: Observation;
  /** Hosts that accepted a newer generation than their cell has: writes were lost. Places. */
  readonly regressed: readonly number[];
  /** The highest generation that a host reported of the model. */
  readonly highestGeneration: number;
}

/**
 * What a tick knows. A host that is away, or has not reported since it started, has and serves nothing: what it said before is
 * not true any more.
 */
export function observe(input: ObserveInput): Observed {
  const { plan, state, stamps, pictures, cells, now, verbs, gates } = input;
  const count = plan.hosts.length;
  const told = new Uint8Array(count);
  const seen = new Uint8Array(count);
  const upToDate = new Uint8Array(count);
  const freeMib = new Uint32Array(count).fill(UNKNOWN_MIB);
  const permanentErrors = new Map<number, string>();
  const regressed: number[] = [];
  let measuredBytes = 0;
  let highestGeneration = 0;
  let witness: Observation['witness'];
  for (let place = 0; place < count; place++) {
    const cell = cells[place];
    const picture = pictures[place];
    const model = picture?.report?.models.get(plan.model);
    const accepted = model?.generation ?? 0;
    told[place] = toldOf(cell, plan.version, state.from);
    seen[place] = picture ? seenBits(picture, plan, state.from) : SEEN.CORDONED;
    upToDate[place] = cell === undefined || accepted >= cell.generation ? 1 : 0;
    if (accepted > highestGeneration) highestGeneration = accepted;
    if (!picture?.report) continue;
    freeMib[place] = freeOf(picture.report);
    if (accepted > (cell?.generation ?? 0)) {
      regressed.push(place);
      if (model?.rolledBack?.includes(plan.version)) {
        witness ??= { host: plan.hosts[place] as string, generation: accepted };
      }
    }
    const version = versionOf(model, plan.version);
    if (version?.error?.permanent) permanentErrors.set(place, `${version.error.code}: ${version.error.message}`);
    if (version?.managerState === 'Available') measuredBytes = Math.max(measuredBytes, version.ramBytes ?? 0);
  }
  const regression = regressed.length > 0 ? 'store-regression' : undefined;
  const storeHold = input.storeHold ?? regression;
  const storeHosts = input.storeHold
    ? input.storeHosts
    : regression && regressed.map((place) => plan.hosts[place] as string);
  const observation: Observation = {
    ...{ now, stamps, told, seen, upToDate, freeMib, permanentErrors, verbs, gates, measuredBytes },
    ...(storeHold && { storeHold }),
    ...(storeHosts && { storeHosts }),
    ...(witness && { witness }),
  };
  return { observation, regressed, highestGeneration };
}

/** Bits of SEEN. */
export function seenBits(
  picture: HostPicture,
  plan: { model: string; version: number },
  from: number | undefined,
): number {
  // A host that was taken out of the fleet is out of this rollout too.
  if (!picture.host) return SEEN.CORDONED;
  let bits = picture.host.cordoned ? SEEN.CORDONED : 0;
  if (!picture.alive) return bits;
  bits |= SEEN.ALIVE;
  const model = picture.report?.models.get(plan.model);
  if (!model) return bits;
  const old = from === undefined ? undefined : versionOf(model, from);
  if (old?.managerState === 'Available') bits |= SEEN.OLD_READY;
  if (old && isResident(old)) bits |= SEEN.OLD_RESIDENT;
  const next = versionOf(model, plan.version);
  if (next?.managerState === 'Available') bits |= SEEN.NEW_READY;
  // What is loaded has been fetched.
  if (next && (next.managerState === 'Prefetched' || isResident(next))) bits |= SEEN.PREFETCHED;
  if (next?.error) bits |= SEEN.NEW_ERROR;
  if (model.primary === plan.version) bits |= SEEN.PRIMARY_NEW;
  return bits;
}

/** Failures of the new version among the hosts that were told to have it, for the gates. */
export function loadErrorsOf(
  plan: RolloutPlan,
  told: Uint8Array,
  pictures: readonly HostPicture[],
): { readonly host: string; readonly message: string; readonly permanent: boolean }[] {
  return plan.hosts.flatMap((host, place) => {
    const picture = pictures[place];
    if (!((told[place] as number) & TOLD.NEW) || !picture?.host || picture.host.cordoned) return [];
    const error = versionOf(picture.report?.models.get(plan.model), plan.version)?.error;
    if (!error) return [];
    return [{ host, message: `${error.code}: ${error.message}`, permanent: error.permanent }];
  });
}

/** What a report says of one version. */
export function versionOf(model: ModelReport | undefined, version: number): VersionReport | undefined {
  return model?.versions.find((candidate) => candidate.version === version);
}

function isResident({ managerState }: VersionReport): boolean {
  return managerState === 'Loading' || managerState === 'Available' || managerState === 'Unloading';
}

function freeOf({ info, status }: HostReport): number {
  if (info.capacityBytes <= 0) return UNKNOWN_MIB;
  return Math.min(UNKNOWN_MIB - 1, Math.max(0, Math.floor((info.capacityBytes - status.usedBytes) / MIB)));
}
