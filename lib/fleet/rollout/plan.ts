// A plan: checked against the fleet as it is, and fixed for the whole rollout.
import { AspiredError } from '../../errors.js';
import { invalidOption } from '../../options.js';
import type { FleetHost } from '../types.js';
import { countOf } from './layout.js';
import { type PlanSettings, planSettings } from './plan-options.js';
import { count } from './text.js';
import type { RolloutPlan, RolloutPlanOptions } from './types.js';
import { DEFAULT_WAVES, orderHosts, selectWaves, type Wave } from './waves.js';

/** The fleet that a plan is made for. */
export interface PlanFleet {
  readonly hosts: readonly FleetHost[];
  /** The stable version of the model; undefined: the model is new. */
  readonly stable?: number | undefined;
  /** Bytes that are free on a host now, by id, where known. @default capacity less the stable version, taken to be as large */
  readonly freeBytes?: ReadonlyMap<string, number>;
}

/**
 * The plan of a rollout: every option checked, defaults filled in, waves with their hosts. Cordoned hosts are left out.
 *
 * @throws AspiredError ERR_PLAN_UNKNOWN_HOST, ERR_PLAN_OVERLAPPING_WAVES, ERR_PLAN_IMPOSSIBLE, ERR_PLAN_INVALID,
 * ERR_UNKNOWN_OPTION, ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME, ERR_INVALID_VERSION
 */
export function makePlan(options: RolloutPlanOptions, fleet: PlanFleet): RolloutPlan {
  const settings = planSettings(options);
  if (fleet.stable === settings.version) {
    throw new AspiredError(
      'ERR_PLAN_INVALID',
      `Version ${settings.version} of ${settings.model} is the stable one already.`,
    );
  }
  const { waves: selectors = DEFAULT_WAVES } = options;
  if (!Array.isArray(selectors) || selectors.length === 0) {
    throw invalidOption('waves', 'an array with at least one wave', selectors);
  }
  const hosts = fleet.hosts.filter((host) => !host.cordoned);
  if (hosts.length === 0) {
    throw new AspiredError('ERR_PLAN_IMPOSSIBLE', 'The fleet has no host, or all of them are cordoned.');
  }
  const waves = selectWaves(selectors, orderHosts(settings.model, hosts), fleet.hosts);
  checkRoom(settings, waves, fleet);
  return placed(settings, waves);
}

/** Places in the order of the waves. */
export function placed(settings: PlanSettings, waves: readonly Wave[]): RolloutPlan {
  const zones: string[] = [];
  const indexOf = new Map<string, number>();
  const zoneIndex = (zone: string): number => {
    const known = indexOf.get(zone);
    if (known !== undefined) return known;
    indexOf.set(zone, zones.length);
    return zones.push(zone) - 1;
  };
  return {
    ...settings,
    hosts: waves.flatMap((wave) => wave.hosts.map((host) => host.info.id)),
    zoneOf: waves.flatMap((wave) => wave.hosts.map((host) => zoneIndex(host.info.zone))),
    zones,
    waveOf: waves.flatMap((wave, index) => wave.hosts.map(() => index)),
    waves: waves.map((wave) => wave.label),
  };
}

function checkRoom(settings: PlanSettings, waves: readonly Wave[], fleet: PlanFleet): void {
  const { bytes, surgeBytes, readyQuorum } = settings;
  for (const [index, wave] of waves.entries()) {
    const small = wave.hosts.filter(({ info }) => info.capacityBytes > 0 && bytes > info.capacityBytes + surgeBytes);
    const able = wave.hosts.length - small.length;
    if (able * 100 >= readyQuorum * wave.hosts.length && able > 0) continue;
    throw impossible(
      `${count(small.length, 'host')} of wave ${index + 1} cannot hold ${bytes} bytes at all ` +
        `(of ${(small[0] as FleetHost).info.id}: ${(small[0] as FleetHost).info.capacityBytes}), so it would never be ready`,
    );
  }
  if (fleet.stable !== undefined) checkZones(settings, waves, fleet);
}

// Where there is no room for both versions the old one goes first: that needs a host that may be unavailable.
function checkZones(settings: PlanSettings, waves: readonly Wave[], { freeBytes }: PlanFleet): void {
  const zones = new Map<string, { size: number; tight: FleetHost[] }>();
  for (const host of waves.flatMap((wave) => wave.hosts)) {
    const zone = zones.get(host.info.zone) ?? { size: 0, tight: [] };
    zones.set(host.info.zone, zone);
    zone.size++;
    const { capacityBytes, id } = host.info;
    const free = freeBytes?.get(id) ?? (capacityBytes > 0 ? capacityBytes - settings.bytes : Number.POSITIVE_INFINITY);
    if (settings.bytes - settings.surgeBytes > Math.max(0, free)) zone.tight.push(host);
  }
  for (const [name, { size, tight }] of zones) {
    if (tight.length === 0 || countOf(settings.maxUnavailable, size) > 0) continue;
    throw impossible(
      `${count(tight.length, 'host')} of zone ${name} (${(tight[0] as FleetHost).info.id}) have no room for two versions, ` +
        `so each must be unavailable for a while, and maxUnavailable ${settings.maxUnavailable} allows none`,
    );
  }
}

function impossible(message: string): AspiredError {
  return new AspiredError('ERR_PLAN_IMPOSSIBLE', `${message}.`);
}
