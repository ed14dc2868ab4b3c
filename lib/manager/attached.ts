import { AspiredError, messageOf } from '../errors.js';
import { checkFunction, checkInteger, checkKeys, invalidOption } from '../options.js';
import type { Loader, ServableId } from '../types.js';
import { AttachedVersions } from './attached-versions.js';
import { type AspiredVersionsManagerOptions, checkManagerOptions } from './manager-options.js';
import { Registry } from './registry.js';
import { ServableReader } from './servable-reader.js';

/** Options of {@link AspiredVersionsManager.attach}. */
export interface AttachOptions
  extends Pick<
    AspiredVersionsManagerOptions,
    'cancelGraceMs' | 'leakDetection' | 'metrics' | 'onError' | 'unloadTimeoutMs'
  > {
  /**
   * How this thread makes its own copy of a version whose servable cannot be shared (anything but an ONNX model). The
   * loader is used as a manager uses it, in this thread. Without the function, or when it answers undefined, such a
   * version is not available in this thread; a warning says so once per servable.
   */
  readonly loaders?: (id: ServableId) => Loader | undefined;
  /**
   * A load of an own copy that takes longer has failed. Until the first one ended, one way or the other, this thread keeps
   * the version that the new one replaces, if the name, or a label, would have none otherwise; so this also bounds how long
   * it may hold up the unload of that version. @default 60000
   */
  readonly loadTimeoutMs?: number;
  /**
   * Pause before a failed load of an own copy is tried again, for as long as the version is available in the manager;
   * doubles up to 8 times that. @default 60000
   */
  readonly loadRetryIntervalMs?: number;
}

const KEYS = [
  'cancelGraceMs',
  'leakDetection',
  'loaders',
  'loadRetryIntervalMs',
  'loadTimeoutMs',
  'metrics',
  'onError',
  'unloadTimeoutMs',
] as const satisfies readonly (keyof AttachOptions)[];

function checkAttachOptions(value: unknown) {
  checkKeys('options', value, KEYS);
  const { loaders, loadRetryIntervalMs, loadTimeoutMs, ...shared } = value as AttachOptions;
  const { settings } = checkManagerOptions({
    ...shared,
    loadTimeoutMs: checkInteger('loadTimeoutMs', loadTimeoutMs, 60_000, 1),
  });
  return {
    settings,
    loaders: checkFunction('loaders', loaders),
    loadRetryIntervalMs: checkInteger('loadRetryIntervalMs', loadRetryIntervalMs, 60_000, 1, (2 ** 31 - 1) / 8),
  };
}

/**
 * A manager of another thread, as this thread reads it: made by {@link AspiredVersionsManager.attach}. What the manager
 * opens, closes, labels and aspires to arrives here by messages, in its order; a postMessage() may overtake them. A version
 * is unloaded when no thread holds it any more; a thread that ends, however it ends, holds nothing.
 *
 * Requests are counted in the metrics of the manager, too, and so in its bakes.
 *
 * It keeps no thread alive. After its manager closed, or close(), nothing is found any more (ERR_MANAGER_CLOSED); handles
 * that are held stay good until they are released, unless the drain deadline of the manager's close() passes.
 */
export class AttachedVersionsManager extends ServableReader implements Disposable, AsyncDisposable {
  /** Resolves when nothing can be acquired here any more: the manager is closing, its thread ended, or close(). */
  readonly ended: Promise<void>;
  private readonly versions: AttachedVersions;
  private onEnded: () => void = () => {};

  /** @internal */
  constructor(token: string, options: AttachOptions) {
    if (typeof token !== 'string' || token === '') throw invalidOption('token', 'an attach token', token);
    const { settings, loaders, loadRetryIntervalMs } = checkAttachOptions(options);
    const registry = new Registry(
      (entry) => this.versions.drained(entry),
      (entry) => this.versions.makeMetrics(entry),
    );
    super(registry, settings.leakMask, settings.metrics);
    this.ended = new Promise((resolve) => {
      this.onEnded = resolve;
    });
    this.versions = new AttachedVersions(this.registry, settings, {
      loaderFor: loaders,
      loadRetryIntervalMs,
      report: (error) => report(settings.onError, error),
      ended: () => {
        this.closed = true;
        this.onEnded();
      },
    });
    if (!this.versions.attach(token)) {
      throw new AspiredError(
        'ERR_ATTACH_FAILED',
        'No manager of this process that is open has this attach token; was it closed, or made in another process?',
      );
    }
  }

  /**
   * Resolves when every version that was available in the manager at the attach is available here, or its load in this
   * thread has failed, or it was closed. At once where every servable is shared, unless attach() had waited for a second for
   * another thread that is telling of them: it goes on then, and this waits (and keeps the thread alive) until all is told.
   */
  get ready(): Promise<void> {
    return this.versions.ready;
  }

  /**
   * Ends the attachment: nothing is found here any more, at once; what is held stays good until it is released. Resolves
   * when the last handle is back and this thread's own copies are unloaded. A second call returns the same promise.
   */
  close(): Promise<void> {
    return this.versions.end();
  }

  /** close(), without waiting. */
  [Symbol.dispose](): void {
    void this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function report(onError: (error: AspiredError) => void, error: AspiredError): void {
  try {
    onError(error);
  } catch (thrown) {
    process.emitWarning(`onError threw: ${messageOf(thrown)}`, { type: 'AspiredWarning' });
  }
}
