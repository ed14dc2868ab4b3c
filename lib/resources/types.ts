// The vocabulary of memory: what a loader says it takes, what a manager may use, and the ledger of both.
import type { AspiredError } from '../errors.js';
import type { HarnessState, ServableId } from '../types.js';
import type { Bytes } from './bytes.js';

/** A limit: an amount, or a share of what there is. */
export type MemoryLimit = Bytes | { readonly fraction: number };

/** What the manager may use of one GPU. */
export interface CudaLimit {
  /** The CUDA ordinal, or the UUID ('GPU-…', 'MIG-…'). */
  readonly device: number | string;
  /** @default all of its memory */
  readonly limit?: MemoryLimit;
}

/** Option `resources` of a manager. */
export interface ResourcesOptions {
  /**
   * How much main memory all versions together may reserve. A fraction is one of the limit of the process: the smallest of
   * its cgroups' (v1 and v2), of the address space (ulimit -v) and of the memory of the machine.
   *
   * Whatever it is: a load also has to fit into what that limit has left just now, after what all processes in it use.
   * @default { fraction: 1 }
   */
  readonly ram?: MemoryLimit;
  /**
   * The GPUs whose memory is accounted; 'auto': all that CUDA shows this process, none when there is no driver. Estimates
   * that name a GPU which is not among them fail their load. @default none
   */
  readonly cuda?: readonly CudaLimit[] | 'auto';
  /** Path of the driver library. @default libcuda.so.1, as the system finds it */
  readonly cudaPath?: string;
  /** Path of the management library. @default libnvidia-ml.so.1, as the system finds it */
  readonly nvmlPath?: string;
}

/** Memory of one GPU. */
export interface CudaAllocation {
  /** The CUDA ordinal or the UUID; without one the manager chooses the GPU with the most room. */
  readonly device?: number | string;
  readonly memory: Bytes;
}

/** What a servable will take at most. An amount alone for `cuda` is memory of one GPU, whichever has room. */
export interface ResourceAllocation {
  readonly ram?: Bytes;
  readonly cuda?: Bytes | readonly CudaAllocation[];
}

/** What is reserved for a load, in bytes. */
export interface ResourceReservation {
  readonly ram: number;
  readonly cuda: readonly { readonly ordinal: number; readonly uuid: string; readonly memory: number }[];
}

/** The ledger of one device, in bytes. */
export interface DeviceResources {
  /** 'ram', 'cuda:0' (the CUDA ordinal). */
  readonly device: string;
  readonly uuid?: string;
  /** Infinity: none but the device itself. */
  readonly limit: number;
  /** What the loaders of all versions said. */
  readonly estimated: number;
  /** What is set aside for them; never above the limit, unless that was lowered. */
  readonly reserved: number;
  /** What the process grew by during their loads: by its RSS, or by what NVML says. */
  readonly measured: number;
  /**
   * 'ram' only: what the memory cgroup of the process was charged more during their loads, without the inactive page cache.
   * Also counts what is in no process (files in tmpfs, memory of the kernel, active page cache), and what other processes in
   * the cgroup took meanwhile, unless `aloneInCgroup`. Undefined in the root cgroup, and where there are none.
   */
  readonly measuredCgroup?: number;
  /**
   * No other process is in the cgroup, and no cgroup below it: then what it keeps corrects estimates, too, where that is more
   * than the RSS.
   */
  readonly aloneInCgroup?: boolean;
  /** What the device, or the limit of the process, has in all, and what everybody uses of it. */
  readonly total?: number;
  readonly used?: number;
  /** What is used and was not measured for any version: other processes, and the rest of this one. */
  readonly usedByOthers?: number;
  /** The largest load that would be admitted now. */
  readonly available: number;
  /** measured - reserved of the loaded versions: above 0, their loaders estimate too little. */
  readonly drift: number;
  /** The device is lost, or cannot be read. */
  readonly error?: AspiredError;
}

/** The share of one version in one device, in bytes. */
export interface ResourceShare {
  readonly device: string;
  readonly estimated: number;
  readonly reserved: number;
  readonly measured: number;
  /** See {@link DeviceResources.measuredCgroup}. */
  readonly measuredCgroup?: number;
}

/** The shares of one version. */
export interface VersionResources {
  readonly id: ServableId;
  readonly state: HarnessState;
  readonly standby: boolean;
  /**
   * Not the version, but a load of it that was given up (`cancelGraceMs`) and still runs: what it took comes back when its
   * promise has settled and what it brought is unloaded.
   */
  readonly givenUp?: boolean;
  /** Why it waits for memory, with the arithmetic. */
  readonly waiting?: string;
  readonly shares: readonly ResourceShare[];
}

/** The whole ledger: {@link AspiredVersionsManager.resources}. */
export interface ResourcesReport {
  readonly devices: readonly DeviceResources[];
  /** Those that have a share or wait for one; small versions without an estimate are not counted one by one. */
  readonly versions: readonly VersionResources[];
}

/** One remembered load: what was estimated and what was measured, in bytes. */
export interface Footprint {
  readonly servable: string;
  readonly device: 'ram' | 'cuda';
  readonly estimated: number;
  readonly measured: number;
}

/** What versions really took: see {@link AspiredVersionsManager.exportFootprints}. Plain JSON. */
export interface Footprints {
  readonly version: 1;
  readonly footprints: readonly Footprint[];
}
