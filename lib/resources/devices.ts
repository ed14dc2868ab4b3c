// The devices of one manager: main memory, then its GPUs. What options, estimates and reservations mean in them.
import { AspiredError } from '../errors.js';
import { type NativeAllocation, native } from '../native/binding.js';
import { checkKeys, describe, invalidOption } from '../options.js';
import { parseBytes } from './bytes.js';
import { type CudaDevice, type CudaInfo, getCudaDevices } from './cuda.js';
import type {
  CudaAllocation,
  CudaLimit,
  MemoryLimit,
  ResourceAllocation,
  ResourceReservation,
  ResourcesOptions,
} from './types.js';

/** A GPU of the ledger; its index there is its instance. */
interface Gpu {
  readonly uuid: string;
  readonly ordinal: number;
  readonly total: number;
}

const RAM_KEYS = ['ram', 'cuda', 'cudaPath', 'nvmlPath'];

/** The devices of one manager, in the order of its ledger. */
export class Devices {
  readonly paths: { readonly cudaPath: string | undefined; readonly nvmlPath: string | undefined };
  private readonly gpus: readonly Gpu[];
  private readonly first: readonly number[];

  /** @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_DEVICE_NOT_FOUND */
  constructor(value: unknown = {}) {
    checkKeys('resources', value, RAM_KEYS);
    const options = value as ResourcesOptions;
    this.paths = {
      cudaPath: checkPath('resources.cudaPath', options.cudaPath),
      nvmlPath: checkPath('resources.nvmlPath', options.nvmlPath),
    };
    const limits: number[] = [limitOf('resources.ram', options.ram, hostBytes)];
    this.gpus = this.findGpus(options.cuda, limits);
    this.first = limits;
  }

  private findGpus(value: ResourcesOptions['cuda'], limits: number[]): Gpu[] {
    if (value === undefined) return [];
    if (value !== 'auto' && !Array.isArray(value)) {
      throw invalidOption('resources.cuda', "'auto' or an array of { device, limit }", value);
    }
    const info = getCudaDevices(this.paths);
    const usable = info.available ? info.devices.filter(({ ordinal }) => ordinal !== undefined) : [];
    if (value === 'auto') {
      for (const { totalBytes } of usable) limits.push(totalBytes);
      return usable.map(toGpu);
    }
    return value.map((entry: CudaLimit, i: number) => {
      const where = `resources.cuda[${i}]`;
      checkKeys(where, entry, ['device', 'limit']);
      const gpu = toGpu(findDevice(`${where}.device`, entry.device, usable, info));
      if (value.slice(0, i).some((other) => usable.length > 0 && sameDevice(other.device, gpu))) {
        throw namedTwice(where, entry.device);
      }
      limits.push(limitOf(`${where}.limit`, entry.limit, () => gpu.total));
      return gpu;
    });
  }

  /** UUIDs of the GPUs. */
  get uuids(): string[] {
    return this.gpus.map(({ uuid }) => uuid);
  }

  /** The limits at first, as the core takes them. */
  get nativeLimits(): NativeAllocation {
    return this.first.map((bytes, i) => (i === 0 ? ['main', 0, bytes] : ['cuda', i - 1, bytes]));
  }

  /** New limits by device; what is not given stays. */
  changedLimits(current: readonly number[], value: unknown): number[] {
    checkKeys('limits', value, ['ram', 'cuda']);
    const { ram, cuda } = value as Pick<ResourcesOptions, 'ram' | 'cuda'>;
    const limits = [...current];
    if (ram !== undefined) limits[0] = limitOf('limits.ram', ram, hostBytes);
    if (cuda === undefined) return limits;
    if (!Array.isArray(cuda)) throw invalidOption('limits.cuda', 'an array of { device, limit }', cuda);
    cuda.forEach((entry: CudaLimit, i: number) => {
      const where = `limits.cuda[${i}]`;
      checkKeys(where, entry, ['device', 'limit']);
      const index = this.indexOf(`${where}.device`, entry.device);
      const gpu = this.gpus[index] as Gpu;
      if (cuda.slice(0, i).some((other) => sameDevice(other.device, gpu))) throw namedTwice(where, entry.device);
      limits[index + 1] = limitOf(`${where}.limit`, entry.limit, () => gpu.total);
    });
    return limits;
  }

  private indexOf(name: string, device: unknown): number {
    const index = this.gpus.findIndex((gpu) => sameDevice(device, gpu));
    if (index >= 0) return index;
    const known = this.gpus.map(({ ordinal, uuid }) => `${ordinal} (${uuid})`).join(', ');
    throw new AspiredError(
      'ERR_DEVICE_NOT_FOUND',
      `${name} is ${describe(device)}, which this manager does not account. ${known === '' ? 'It accounts no GPU: give resources.cuda.' : `It accounts ${known}.`}`,
    );
  }

  /**
   * An estimate as the core takes it.
   *
   * @throws AspiredError ERR_INVALID_ESTIMATE, ERR_DEVICE_NOT_FOUND
   */
  toNative(estimate: ResourceAllocation): NativeAllocation {
    if (typeof estimate !== 'object' || estimate === null || Array.isArray(estimate)) {
      throw badEstimate('an object', estimate);
    }
    const entries: [string, number | undefined, number][] = [];
    for (const key of Object.keys(estimate)) {
      if (key !== 'ram' && key !== 'cuda') throw badEstimate("'ram' and 'cuda'", key);
    }
    if (estimate.ram !== undefined) entries.push(['main', undefined, bytesOf('ram', estimate.ram)]);
    for (const { device, memory } of gpuEntries(estimate.cuda)) {
      const bytes = bytesOf('cuda', memory);
      // Also without a device: that there is no GPU is said here, in words.
      const index = device === undefined ? undefined : this.indexOf('cuda.device', device);
      if (this.gpus.length === 0) this.indexOf('cuda', 'any');
      entries.push(['cuda', index, bytes]);
    }
    return entries;
  }

  /** What the core reserved, for the loader. */
  toReservation(reserved: NativeAllocation): ResourceReservation {
    let ram = 0;
    const cuda: { ordinal: number; uuid: string; memory: number }[] = [];
    for (const [device, instance, memory] of reserved) {
      const gpu = device === 'cuda' ? this.gpus[instance ?? 0] : undefined;
      if (gpu) cuda.push({ ordinal: gpu.ordinal, uuid: gpu.uuid, memory });
      else ram += memory;
    }
    return { ram, cuda };
  }

  /** How many GPUs are accounted. */
  get numGpus(): number {
    return this.gpus.length;
  }

  /** 'ram', 'cuda:1'. */
  nameOf(device: string, instance: number): { readonly device: string; readonly uuid?: string } {
    const gpu = device === 'cuda' ? this.gpus[instance] : undefined;
    return gpu ? { device: `cuda:${gpu.ordinal}`, uuid: gpu.uuid } : { device: 'ram' };
  }
}

function gpuEntries(cuda: ResourceAllocation['cuda']): readonly CudaAllocation[] {
  if (cuda === undefined) return [];
  if (!Array.isArray(cuda)) return [{ memory: cuda as number }];
  for (const entry of cuda) {
    if (typeof entry !== 'object' || entry === null) throw badEstimate('{ device, memory }', entry);
    const other = Object.keys(entry).find((key) => key !== 'device' && key !== 'memory');
    if (other !== undefined) throw badEstimate("'device' and 'memory'", other);
  }
  return cuda;
}

function badEstimate(expected: string, value: unknown): AspiredError {
  return new AspiredError(
    'ERR_INVALID_ESTIMATE',
    `Expected ${expected} in a resource estimate, but received ${describe(value)}.`,
  );
}

function bytesOf(key: string, value: unknown): number {
  try {
    return parseBytes(key, value);
  } catch (cause) {
    throw new AspiredError('ERR_INVALID_ESTIMATE', `A resource estimate is no amount. ${(cause as Error).message}`, {
      cause,
    });
  }
}

function namedTwice(where: string, device: unknown): AspiredError {
  return invalidOption(`${where}.device`, 'devices that are named once', device);
}

function checkPath(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw invalidOption(name, 'a path', value);
  return value;
}

function hostBytes(): number {
  return native.hostMemory().bytes;
}

/** Undefined: all there is. */
function limitOf(name: string, value: MemoryLimit | undefined, total: () => number): number {
  if (value === undefined) return total();
  if (typeof value !== 'object' || value === null) return parseBytes(name, value);
  checkKeys(name, value, ['fraction']);
  const { fraction } = value as { fraction: unknown };
  if (typeof fraction !== 'number' || !(fraction > 0 && fraction <= 1)) {
    throw invalidOption(`${name}.fraction`, 'a number above 0, at most 1', fraction);
  }
  return Math.floor(total() * fraction);
}

function toGpu({ uuid, ordinal, totalBytes }: CudaDevice): Gpu {
  return { uuid, ordinal: ordinal ?? 0, total: totalBytes };
}

function sameDevice(device: unknown, gpu: Gpu): boolean {
  return device === gpu.ordinal || device === gpu.uuid;
}

function findDevice(name: string, device: unknown, usable: readonly CudaDevice[], info: CudaInfo): CudaDevice {
  const found = usable.find(({ ordinal, uuid }) => device === ordinal || device === uuid);
  if (found) return found;
  const there = usable.map(({ ordinal, uuid }) => `${ordinal} (${uuid})`).join(', ');
  const why = info.available ? `There is ${there}.` : `CUDA has no device for this process: ${info.message}`;
  throw new AspiredError('ERR_DEVICE_NOT_FOUND', `${name} is ${describe(device)}, which was not found. ${why}`);
}
