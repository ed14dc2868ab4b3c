// Counts of what a manager keeps, to see that it keeps nothing.
import type { AspiredVersionsManager } from 'aspired';

interface Internals {
  readonly registry: { readonly streams: Map<string, unknown>; readonly draining: Set<unknown> };
  readonly runner: { readonly records: Map<number, unknown> };
  readonly transitions: { readonly pending: Map<number, unknown> };
}

/** Everything that is left, by kind; empty when nothing is. */
export function leftovers(manager: AspiredVersionsManager): string[] {
  const { registry, runner, transitions } = manager as unknown as Internals;
  const counts = {
    streams: [...registry.streams.values()].filter((stream) => !isIntentOnly(stream)).length,
    'draining entries': registry.draining.size,
    loaders: runner.records.size,
    transitions: transitions.pending.size,
  };
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`);
}

// Labels and a primary outlive the versions on purpose.
function isIntentOnly(stream: unknown): boolean {
  const { entries, aspired } = stream as { entries: unknown[]; aspired: unknown[] };
  return entries.length === 0 && aspired.length === 0;
}
