// The ledger of the core in the words of the public API.
import { AspiredError, type AspiredErrorCode } from '../errors.js';
import { harnessStates, type NativeFootprint, type NativeResources } from '../native/binding.js';
import { checkInteger, checkKeys, invalidOption } from '../options.js';
import type { HarnessState } from '../types.js';
import type { Devices } from './devices.js';
import type { DeviceResources, Footprint, Footprints, ResourcesReport } from './types.js';

/** The ledger, for people. */
export function toReport([deviceRows, versionRows]: NativeResources, devices: Devices): ResourcesReport {
  const rows = deviceRows.map((row): DeviceResources => {
    const [device, instance, limit, estimated, reserved, measured, total, used, others, available, drift, ...more] =
      row;
    const [status, measuredCgroup, aloneInCgroup] = more;
    return {
      ...devices.nameOf(device, instance),
      limit,
      estimated,
      reserved,
      measured,
      ...(measuredCgroup === undefined ? {} : { measuredCgroup }),
      ...(aloneInCgroup === undefined ? {} : { aloneInCgroup }),
      ...(total === undefined ? {} : { total }),
      ...(used === undefined ? {} : { used }),
      ...(others === undefined ? {} : { usedByOthers: others }),
      available,
      drift,
      ...(status === undefined ? {} : { error: new AspiredError(status.code as AspiredErrorCode, status.message) }),
    };
  });
  const versions = versionRows.map(([name, version, state, standby, waiting, shares, givenUp]) => ({
    id: { name, version },
    state: harnessStates[state] as HarnessState,
    standby,
    ...(givenUp ? { givenUp } : {}),
    ...(waiting === undefined ? {} : { waiting }),
    shares: shares.map(([device, estimated, reserved, measured, measuredCgroup]) => ({
      device: (rows[device] as DeviceResources).device,
      estimated,
      reserved,
      measured,
      ...(measuredCgroup === undefined ? {} : { measuredCgroup }),
    })),
  }));
  return { devices: rows, versions };
}

export function toFootprints(rows: readonly NativeFootprint[]): Footprints {
  return {
    version: 1,
    footprints: rows.map(([servable, device, estimated, measured]) => ({
      servable,
      device: device === 'main' ? 'ram' : 'cuda',
      estimated,
      measured,
    })),
  };
}

/** @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION */
export function fromFootprints(value: unknown): NativeFootprint[] {
  checkKeys('footprints', value, ['version', 'footprints']);
  const { version, footprints } = value as Partial<Footprints>;
  if (version !== 1) throw invalidOption('footprints.version', '1', version);
  if (!Array.isArray(footprints)) throw invalidOption('footprints.footprints', 'an array', footprints);
  return footprints.map((footprint: Footprint, i) => {
    const where = `footprints.footprints[${i}]`;
    checkKeys(where, footprint, ['servable', 'device', 'estimated', 'measured']);
    const { servable, device } = footprint;
    if (typeof servable !== 'string' || servable === '') {
      throw invalidOption(`${where}.servable`, 'a non-empty string', servable);
    }
    if (device !== 'ram' && device !== 'cuda') throw invalidOption(`${where}.device`, "'ram' or 'cuda'", device);
    return [
      servable,
      device === 'ram' ? 'main' : 'cuda',
      checkInteger(`${where}.estimated`, footprint.estimated, Number.NaN, 0),
      checkInteger(`${where}.measured`, footprint.measured, Number.NaN, 0),
    ];
  });
}
