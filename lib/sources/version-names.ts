// Which names under a base path are versions, by the rules of TensorFlow Serving, and which of them a policy wants.

/** What a name in a base path stands for. */
export type ParsedName =
  | { readonly kind: 'version'; readonly version: number }
  /** A whole number that no version can have: negative, or beyond the safe integers. */
  | { readonly kind: 'out-of-range' }
  | { readonly kind: 'other' };

/** `7`, `007`, `+7` and ` 7` are version 7; `v7`, `7.0`, `1e3`, `0x10`, `1_000` and the empty name are no versions. */
export function parseVersionName(name: string): ParsedName {
  const digits = /^\s*([+-]?)([0-9]+)\s*$/.exec(name);
  if (digits === null) return { kind: 'other' };
  const version = Number(digits[2]);
  if (digits[1] === '-' || !Number.isSafeInteger(version)) return { kind: 'out-of-range' };
  return { kind: 'version', version };
}

/** By code units, as TensorFlow Serving sorts names: "10" before "9". */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
