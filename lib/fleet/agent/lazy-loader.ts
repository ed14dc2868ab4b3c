// The loader that the manager gets for a version: one object for as long as a cell names the version, whatever the factory of
// the host's owner does. The factory is asked by the first attempt, so that what it throws is a failed load, retried and
// reported like any other, and a factory that hangs holds back no other version.
import { AspiredError, messageOf } from '../../errors.js';
import type { Loader, ServableId } from '../../index.js';
import { describe } from '../../options.js';
import type { FleetLoaderFactory } from './options.js';

type Contexts = readonly unknown[];

export class LazyLoader implements Loader {
  private made: Promise<Loader> | undefined;
  private loader: Loader | undefined;

  /** @param fetched Resolves when a prefetch of the version that is under way has ended. */
  constructor(
    private readonly id: ServableId,
    private readonly factory: FleetLoaderFactory,
    private readonly fetched: (id: ServableId) => Promise<void> | undefined,
  ) {}

  // The manager hands its threads to native loaders in arguments of its own: all are passed on as they came.
  async estimateResources(...args: Contexts): Promise<object> {
    const loader = await this.ready();
    return (await call(loader, 'estimateResources', args)) ?? {};
  }

  async load(...args: Parameters<Loader['load']>): Promise<unknown> {
    const loader = await this.ready();
    args[0].signal.throwIfAborted();
    return loader.load(...args);
  }

  async warmup(...args: Contexts): Promise<void> {
    if (this.loader) await call(this.loader, 'warmup', args);
  }

  async validate(...args: Contexts): Promise<unknown> {
    return this.loader && (await call(this.loader, 'validate', args));
  }

  async unload(...args: Contexts): Promise<void> {
    if (this.loader) await call(this.loader, 'unload', args);
  }

  private async ready(): Promise<Loader> {
    await this.fetched(this.id);
    this.made ??= this.make();
    try {
      this.loader = await this.made;
      return this.loader;
    } catch (error) {
      this.made = undefined; // the next attempt asks again
      throw error;
    }
  }

  private async make(): Promise<Loader> {
    const { name, version } = this.id;
    let loader: Loader | undefined;
    try {
      loader = await this.factory({ name, version });
    } catch (cause) {
      if (cause instanceof AspiredError) throw cause;
      const message = `The loader of ${name}/${version} could not be made: ${messageOf(cause)}`;
      throw new AspiredError('ERR_LOAD_FAILED', message, { cause, servable: this.id });
    }
    if (typeof loader?.load === 'function') return loader;
    const message = `Expected a loader of ${name}/${version} with load(), but received ${describe(loader)}.`;
    throw new AspiredError('ERR_INVALID_LOADER', message, { servable: this.id });
  }
}

function call(loader: Loader, method: keyof Loader, args: Contexts): unknown {
  const run = loader[method] as ((...args: Contexts) => unknown) | undefined;
  return run?.apply(loader, args as unknown[]);
}
