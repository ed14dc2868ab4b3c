// What a reservation of device memory means to the CUDA execution provider.
import type { NativeLoadRequest } from './native.js';

type Providers = NativeLoadRequest['executionProviders'];

/** Device memory that was reserved for a model. */
export interface CudaReservation {
  /** CUDA's ordinal of the device. */
  readonly device: number;
  /** Bytes, of the provider's arena. */
  readonly bytes: number;
}

/**
 * How far the provider's arena may grow: what is reserved, without the part that is meant for what it takes beside the arena.
 * `weights`: what the arena needs at least. A reservation that is smaller than both together was not made from our estimate.
 */
export function arenaLimit(reserved: number, base: number, weights: number): number {
  return Math.min(reserved, Math.max(reserved - base, weights));
}

/**
 * The providers with `device_id` and `gpu_mem_limit` of the reservation in the CUDA provider, where the user did not set
 * them: the user's own value wins. The limit is that of the provider's arena; the CUDA context and the libraries take
 * memory beside it. Pure: `providers` are not changed, and without a CUDA provider they are the answer.
 */
export function withCudaReservation(providers: Providers, { device, bytes }: CudaReservation): Providers {
  const wanted: readonly (readonly [string, string])[] = [
    ['device_id', String(device)],
    // Digits, whatever the number: the provider reads no exponents.
    ['gpu_mem_limit', BigInt(Math.floor(bytes)).toString()],
  ];
  return providers.map((provider) => {
    if (provider.name !== 'cuda') return provider;
    const missing = wanted.filter(([key]) => !provider.options.some(([given]) => given === key));
    return missing.length === 0 ? provider : { ...provider, options: [...provider.options, ...missing] };
  });
}
