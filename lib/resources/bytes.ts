import { invalidOption } from '../options.js';

/** An amount of memory: bytes, or a text like '512MiB', '1.5GiB', '70GB'. */
export type Bytes = number | string;

const FORM = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?\s*$/i;
const PREFIXES = ['', 'k', 'm', 'g', 't', 'p'];

/**
 * Whole bytes, rounded up. KiB, MiB, GiB, TiB are powers of 1024; kB, MB, GB, TB of 1000; a unit without B or i ('12G') is
 * refused, because people read it both ways.
 *
 * @throws AspiredError ERR_INVALID_ARGUMENT
 */
export function parseBytes(name: string, value: unknown): number {
  const bytes = toBytes(value);
  // The comparison is false for NaN.
  if (!(bytes >= 0 && bytes <= Number.MAX_SAFE_INTEGER)) {
    throw invalidOption(name, "bytes, or a text like '512MiB', '1.5GiB' or '70GB'", value);
  }
  return Math.ceil(bytes) || 0; // never -0
}

function toBytes(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string') return Number.NaN;
  const [, count, prefix = '', binary] = FORM.exec(value) ?? [];
  if (count === undefined) return Number.NaN;
  if (prefix !== '' && !/b\s*$/i.test(value)) return Number.NaN;
  if (prefix === '' && binary) return Number.NaN;
  const power = PREFIXES.indexOf(prefix.toLowerCase());
  return Number(count) * (binary ? 1024 : 1000) ** power;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** '1.50 GiB', '512 B', 'no limit': for people. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return 'no limit';
  let unit = 0;
  let value = Math.abs(bytes);
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const sign = bytes < 0 ? '-' : '';
  return `${sign}${unit === 0 ? value : value.toFixed(2)} ${UNITS[unit]}`;
}
