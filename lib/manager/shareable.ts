// Servables that one thread loads and every thread uses.

/**
 * Under this symbol a servable gives away an opaque native value of which another thread makes its own servable over the
 * same thing in memory.
 */
export const kShared: unique symbol = Symbol.for('aspired.shared') as never;

/** What the servable gives away; undefined for one that belongs to its thread. */
export function shareableOf(servable: unknown): unknown {
  if (typeof servable !== 'object' || servable === null) return undefined;
  try {
    return (servable as { readonly [kShared]?: unknown })[kShared];
  } catch {
    return undefined; // a proxy that refuses
  }
}
