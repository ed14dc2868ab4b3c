import { invalidOption } from './options.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const FORM = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/;

/**
 * Milliseconds of a duration option: a number of milliseconds, or a text such as '500ms', '60s', '30m', '1.5h', '2d'.
 * Whole, rounded up.
 *
 * @param minMs The shortest that is allowed.
 * @throws AspiredError ERR_INVALID_ARGUMENT
 */
export function parseDuration(name: string, value: unknown, minMs = 0): number {
  const ms = Math.ceil(toMs(value));
  if (!Number.isSafeInteger(ms) || ms < minMs) {
    const least = minMs > 0 ? `, at least ${minMs} ms` : '';
    throw invalidOption(name, `a duration like '500ms', '60s', '30m', '1h' or '2d', or milliseconds${least}`, value);
  }
  return ms;
}

function toMs(value: unknown): number {
  if (typeof value === 'number') return value >= 0 ? value : Number.NaN;
  const [, count, unit] = (typeof value === 'string' && FORM.exec(value)) || [];
  // Thousandths first: 0.07 s is 70 ms, and not 70.00000000000001.
  return Math.round(Number(count) * (UNITS[unit ?? ''] ?? Number.NaN) * 1000) / 1000;
}
