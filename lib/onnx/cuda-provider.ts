// What a reservation of device memory means to the CUDA execution provider.
import type { NativeLoadRequest } from './native.js';

type Providers = NativeLoadRequest['executionProviders'];

/** Device memory that was reserved for a model. */
export interface CudaReservation {
  /** CUDA's ordinal of the device. */
  readonly device: number;
  /** Bytes. */
  readonly bytes: number;
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
