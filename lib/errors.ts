import { type AspiredErrorCode, ERROR_CODES } from './error-codes.js';
import type { ServableId } from './types.js';

export type { AspiredErrorCode } from './error-codes.js';

/** Canonical status of an error, as gRPC and TensorFlow Serving name them. */
export type CanonicalStatus =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

const brand = Symbol.for('aspired.error');

/**
 * Every error of this package. Match on {@link AspiredError.code}; the message is for people and may change.
 * `instanceof AspiredError` also holds for errors made by another copy of the package.
 */
export class AspiredError extends Error {
  /** Stable code, a key of {@link ERROR_CODES}. */
  readonly code: AspiredErrorCode;
  /** Canonical status that belongs to the code. */
  readonly status: CanonicalStatus;
  /** The version it is about, where there is one. */
  readonly servable?: ServableId;

  constructor(code: AspiredErrorCode, message: string, options: { cause?: unknown; servable?: ServableId } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    // A newer copy of the package may know codes that this one does not.
    this.status = ERROR_CODES[code]?.status ?? 'UNKNOWN';
    if (options.servable) this.servable = options.servable;
  }

  static {
    Object.defineProperty(AspiredError.prototype, 'name', {
      value: 'AspiredError',
      configurable: true,
      writable: true,
    });
    Object.defineProperty(AspiredError.prototype, brand, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
  }
}

/** The message of anything that was thrown; an object may refuse to become a string. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown);
  } catch {
    return Object.prototype.toString.call(thrown);
  }
}
