import { AspiredError } from '../errors.js';
import { checkFunction, checkKeys, checkName, checkVersion, invalidOption } from '../options.js';
import type { AspiredVersion, AspiredVersionsTarget } from '../types.js';
import { checkTarget } from './adapters.js';
import { Connection } from './connection.js';
import { LoaderStage } from './loader-stage.js';
import type { LoaderFactory, SourceConnection, SourceItem, SourceTarget } from './source.js';

/** A version of a {@link StaticSource}. */
export interface StaticVersion {
  readonly name: string;
  readonly version: number;
  /** Handed to the loader factory as it is. */
  readonly path?: string | undefined;
}

/** Aspires to a fixed set of versions: one list per name, pushed while it is connected to a target, and never again. */
export class StaticSource {
  readonly #lists = new Map<string, SourceItem<string | undefined>[]>();
  #connection: SourceConnection | undefined;

  /** Throws ERR_INVALID_ARGUMENT, ERR_INVALID_NAME, ERR_INVALID_VERSION, ERR_DUPLICATE_VERSION. */
  constructor(versions: readonly StaticVersion[]) {
    if (!Array.isArray(versions)) throw invalidOption('versions', 'an array', versions);
    for (const [i, given] of (versions as readonly unknown[]).entries()) {
      checkKeys(`versions[${i}]`, given, ['name', 'version', 'path']);
      const name = checkName(given.name);
      const version = checkVersion(`versions[${i}].version`, given.version);
      const { path } = given;
      if (path !== undefined && typeof path !== 'string') throw invalidOption(`versions[${i}].path`, 'a string', path);
      const list = this.#lists.get(name) ?? [];
      if (list.some((item) => item.version === version)) {
        throw new AspiredError('ERR_DUPLICATE_VERSION', `The option versions names ${name}/${version} twice.`);
      }
      this.#lists.set(name, [...list, { version, payload: path }]);
    }
  }

  /**
   * Pushes all lists to `target` before it returns, or, where the factory is asynchronous, when the loaders are there.
   * An error that the target throws is thrown from here, with the connection ended.
   *
   * Without a factory the target gets the paths. One connection at a time (ERR_SOURCE_CONNECTED).
   */
  connect<T>(
    target: AspiredVersionsTarget<T>,
    factory: LoaderFactory<T, { readonly name: string; readonly version: number; readonly path: string | undefined }>,
  ): SourceConnection;
  connect(target: SourceTarget<SourceItem<string | undefined>>): SourceConnection;
  connect<T>(
    target: AspiredVersionsTarget<T> | SourceTarget<SourceItem<string | undefined>>,
    factory?: LoaderFactory<T, StaticVersion & { readonly path: string | undefined }>,
  ): SourceConnection {
    checkTarget('target', target);
    checkFunction('factory', factory);
    if (this.#connection !== undefined) {
      throw new AspiredError('ERR_SOURCE_CONNECTED', 'The source is connected already; dispose its connection first.');
    }
    const connection = new Connection(target as SourceTarget<unknown>, () => {
      this.#connection = undefined;
    });
    this.#connection = connection;
    connection.open();
    const stage: SourceTarget<SourceItem<string | undefined>> =
      factory === undefined
        ? connection
        : new LoaderStage<string | undefined, T>(connection as SourceTarget<AspiredVersion<T>>, (path, id) =>
            factory({ ...id, path }),
          );
    this.#push(stage, connection);
    return connection;
  }

  #push(stage: SourceTarget<SourceItem<string | undefined>>, connection: SourceConnection): void {
    try {
      for (const [name, items] of this.#lists) {
        const answer = stage.setAspiredVersions(name, items);
        if (answer instanceof Promise) {
          answer.catch((error: unknown) => {
            if (!connection.closed) process.emitWarning(warningOf(name, error), { type: 'AspiredSourceWarning' });
          });
        }
      }
    } catch (error) {
      connection.dispose();
      throw error;
    }
  }
}

function warningOf(name: string, error: unknown): string {
  return `The target did not take the versions of ${JSON.stringify(name)}: ${String(error)}`;
}
