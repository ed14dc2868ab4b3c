// The NVIDIA devices of this machine, for people and for option values.
import type { AspiredErrorCode } from '../error-codes.js';
import { AspiredError } from '../errors.js';
import { type NativeCudaDevice, native } from '../native/binding.js';
import { checkKeys, invalidOption } from '../options.js';

/** Options of {@link getCudaDevices}. */
export interface CudaOptions {
  /**
   * Path of the driver library; no other is tried then. Setting `LD_LIBRARY_PATH` inside the process has no effect.
   * @default `libcuda.so.1` or `nvcuda.dll`, where the system finds it
   */
  readonly cudaPath?: string | undefined;
  /**
   * Path of NVIDIA's management library (NVML), which tells the memory in use; no other is tried then.
   * @default `libnvidia-ml.so.1` or `nvml.dll`, where the system finds it
   */
  readonly nvmlPath?: string | undefined;
}

/** An NVIDIA device: a GPU, or an instance of a GPU in MIG mode. The GPU of instances is not a device itself. */
export interface CudaDevice {
  /**
   * CUDA's number for it in this process: what `device_id` of the CUDA execution provider means. Absent when
   * `CUDA_VISIBLE_DEVICES` hides the device. Where `init-failed` it is a guess by the order of the PCI bus.
   */
  readonly ordinal?: number;
  /** `GPU-…` or `MIG-…`: the name that stays. */
  readonly uuid: string;
  readonly name: string;
  /** Bytes. Includes what the driver keeps for itself; 0 when unknown. */
  readonly totalBytes: number;
  /** Bytes that cannot be allocated now, whoever took them. Absent when it cannot be read: see `error`. */
  readonly usedBytes?: number;
  /**
   * Bytes of those that this process took. Absent unless the driver lists this process: not before it has a context
   * there, and often not in a container.
   */
  readonly selfBytes?: number;
  readonly isMig: boolean;
  /** UUID of the GPU that an instance is part of, where it is known. */
  readonly parentUuid?: string;
  /** Why the memory in use is unknown: `ERR_DEVICE_LOST` or `ERR_DEVICE_UNREADABLE`. */
  readonly error?: AspiredError;
}

/**
 * Why CUDA has no device for this process: there is no driver (`no-driver`), the driver is older than CUDA 9.2
 * (`driver-too-old`), it lacks a function (`missing-symbol`), it does not start (`init-failed`), or it shows no device,
 * perhaps because `CUDA_VISIBLE_DEVICES` hides them (`no-devices`).
 */
export type CudaAbsence = 'no-driver' | 'driver-too-old' | 'missing-symbol' | 'init-failed' | 'no-devices';

/** The answer of {@link getCudaDevices}. */
export type CudaInfo =
  | {
      readonly available: true;
      /** The newest CUDA that the driver supports, for example `12.2`. */
      readonly cudaVersion: string;
      /** For example `550.54.15`; absent without NVML. */
      readonly driverVersion?: string;
      /** Those with an ordinal, in its order; then the hidden ones. */
      readonly devices: readonly CudaDevice[];
    }
  | {
      readonly available: false;
      readonly reason: CudaAbsence;
      /** What was tried, for people. */
      readonly message: string;
      /** Devices that NVML knows of all the same. */
      readonly devices: readonly CudaDevice[];
    };

function checkPath(name: string, value: unknown): string {
  if (value === undefined) return '';
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw invalidOption(name, 'a path', value);
  return value;
}

function toDevice([
  ordinal,
  uuid,
  name,
  totalBytes,
  isMig,
  parentUuid,
  used,
  self,
  status,
]: NativeCudaDevice): CudaDevice {
  return {
    ...(ordinal !== undefined && { ordinal }),
    uuid,
    name,
    totalBytes,
    ...(used !== undefined && { usedBytes: used }),
    ...(self !== undefined && { selfBytes: self }),
    isMig,
    ...(parentUuid !== undefined && { parentUuid }),
    ...(status !== undefined && { error: new AspiredError(status.code as AspiredErrorCode, status.message) }),
  };
}

/**
 * The NVIDIA devices of this machine and their memory, now. The driver is found at run time; that there is none is a
 * normal answer. No CUDA context is made, so no device memory is taken.
 *
 * Blocks the event loop while the driver answers: milliseconds, but up to seconds for the first call where no process
 * keeps the driver loaded. The first call settles what `CUDA_VISIBLE_DEVICES` means for the whole process.
 *
 * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION.
 */
export function getCudaDevices(options: CudaOptions = {}): CudaInfo {
  checkKeys('options', options, ['cudaPath', 'nvmlPath']);
  const given: CudaOptions = options;
  const [absence, message, cudaVersion, driverVersion, found] = native.readCudaDevices(
    checkPath('cudaPath', given.cudaPath),
    checkPath('nvmlPath', given.nvmlPath),
  );
  const devices = found.map(toDevice);
  if (absence !== '') return { available: false, reason: absence as CudaAbsence, message, devices };
  return {
    available: true,
    cudaVersion: cudaVersion ?? '',
    ...(driverVersion !== undefined && { driverVersion }),
    devices,
  };
}
