// Models that another thread loaded.
import { adoptSession } from './engine.js';
import { NativeOnnxServable } from './servable.js';
import type { OnnxServable } from './types.js';

/**
 * The servable of this thread over a model that another one loaded, and will unload; undefined when `shared` is not of a
 * model. After the unload it answers ERR_SERVABLE_UNLOADED.
 */
export function adoptServable(shared: unknown): OnnxServable | undefined {
  const session = adoptSession(shared);
  return session && new NativeOnnxServable(session, session.path, false);
}
