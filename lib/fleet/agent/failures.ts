// How a failure of a version is reported.
import { AspiredError, type AspiredErrorCode, messageOf } from '../../errors.js';
import type { VersionReport } from '../types.js';

/** Failures that come again however often it is tried: they are about the version, or about this host as it is built. */
const PERMANENT: ReadonlySet<AspiredErrorCode> = new Set([
  'ERR_MODEL_INVALID',
  'ERR_VALIDATION_FAILED',
  'ERR_BAKE_FAILED',
  'ERR_INVALID_LOADER',
  'ERR_INVALID_ESTIMATE',
  'ERR_RESOURCE_EXHAUSTED',
]);

/** Characters of a message in a report. */
const MOST_CHARACTERS = 500;

/** @param final No retry will come. */
export function failureOf(error: unknown, attempts: number, final: boolean): NonNullable<VersionReport['error']> {
  const code = error instanceof AspiredError ? error.code : 'ERR_LOAD_FAILED';
  return {
    code,
    message: messageOf(error).slice(0, MOST_CHARACTERS),
    attempts,
    permanent: final || PERMANENT.has(code),
  };
}
