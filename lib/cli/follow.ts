import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError } from '../errors.js';
import type { RolloutView } from '../fleet/index.js';
import type { FleetTool } from './tool.js';

/** What one look gave: the view, or why the store did not answer this time. */
export type Look =
  | { readonly view: RolloutView; readonly away?: undefined }
  | { readonly view?: undefined; readonly away: AspiredError };

/**
 * Looks at a rollout again and again, until the signal fires. A store that does not answer is told and asked again: whoever
 * watches a rollout wants to see it through an outage.
 */
export async function* follow(
  tool: FleetTool,
  rollout: string,
  { pollMs, signal }: { readonly pollMs: number; readonly signal: AbortSignal },
): AsyncGenerator<Look, void> {
  // The id, once it is known: the model may have another rollout later.
  let id = rollout;
  while (!signal.aborted) {
    try {
      const view = await tool.view(id);
      id = view.record.id;
      yield { view };
    } catch (error) {
      if (!isAway(error)) throw error;
      yield { away: error };
    }
    await sleep(pollMs, undefined, { signal }).catch(() => {});
  }
}

function isAway(error: unknown): error is AspiredError {
  return error instanceof AspiredError && error.code === 'ERR_STORE_UNAVAILABLE';
}
