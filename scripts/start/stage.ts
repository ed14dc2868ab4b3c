import { once } from 'node:events';
import { copyFile, link, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AspiredVersionPolicyOption,
  AspiredVersionsManager,
  type FileSystemServable,
  FileSystemSource,
  type LoadContext,
  type Loader,
  type OnnxServable,
  onnxLoader,
  type ServableVersionPolicy,
} from 'aspired';
import { holdoutDigits } from '../models/digits.js';
import { EventLog } from './event-log.js';
import { digitOf, feedOf } from './traffic.js';

/** The servable that gets the traffic. */
export const DIGITS = 'digits';
/** A version of {@link DIGITS} that answers as well as the others, and late. */
export const SLOW_VERSION = 4;
/** The servable that takes long to load. */
export const LARGE = 'large';
/** What a version of {@link DIGITS} must reach in its warm-up. */
export const REQUIRED_ACCURACY = 0.6;

const SLOW_BY_MS = 25;
const LARGE_WIDTH = 2048;
const VALIDATION_SAMPLES = 500;
const DRAIN_TIMEOUT_MS = 4000;

/**
 * The set-up that the scenario plays on: a model directory in a temp folder, a source that watches it, a manager that
 * follows the source, and the record of what happened.
 */
export class Stage {
  readonly manager: AspiredVersionsManager;
  readonly events: EventLog;
  /** The directory that the source watches: `<directory>/<name>/<version>`. */
  readonly directory: string;
  readonly #models: string;
  readonly #source: FileSystemSource;
  readonly #connection: Disposable;
  readonly #policies = new Map<string, ServableVersionPolicy>([[DIGITS, { latest: 1 }]]);
  readonly #validation = holdoutDigits(VALIDATION_SAMPLES);
  readonly #held = new Map<number, () => void>();
  readonly #loads = new Map<string, number>();

  private constructor(models: string, directory: string) {
    this.#models = models;
    this.directory = directory;
    this.manager = new AspiredVersionsManager({
      aspiredVersionPolicy: 'availability-preserving',
      numLoadThreads: 2,
      numUnloadThreads: 1,
      // A model that its validation refused is refused again, so it is not worth a quick retry.
      shouldRetryModelLoad: () => false,
    });
    this.events = new EventLog(this.manager);
    this.#source = new FileSystemSource({
      servables: this.#servables(),
      pollIntervalMs: 200,
      // Versions are renamed into place when they are complete, so there is nothing to wait for.
      stabilityWindowMs: 0,
    });
    this.#connection = this.#source.connect(this.#target(), (path) => this.#loader(path));
  }

  /** Makes the stage with version 1 of {@link DIGITS} in place; resolves when it is available. */
  static async create(models: string, signal: AbortSignal): Promise<Stage> {
    const directory = await mkdtemp(join(tmpdir(), 'aspired-start-'));
    await mkdir(join(directory, LARGE));
    await putVersion(models, directory, DIGITS, 1, 1);
    const stage = new Stage(models, directory);
    try {
      await stage.manager.waitUntilServablesReachState([{ name: DIGITS, version: 1 }], 'Available', { signal });
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** Drops a version into the model directory: complete under another name, then renamed. */
  async drop(name: string, version: number, made = version): Promise<void> {
    await putVersion(this.#models, this.directory, name, version, made);
  }

  /** Takes a version out of the model directory. */
  async withdraw(name: string, version: number): Promise<void> {
    await rm(join(this.directory, name, String(version)), { recursive: true });
  }

  /** Changes which versions are aspired; the source applies it at once. */
  async aspire(name: string, policy: ServableVersionPolicy): Promise<void> {
    this.#policies.set(name, policy);
    await this.#source.updateConfig({ servables: this.#servables() });
  }

  /** How often a version was loaded so far. */
  loads(name: string, version: number): number {
    return this.#loads.get(`${name}/${version}`) ?? 0;
  }

  /**
   * The next validation of a version of {@link DIGITS} goes on until the load is given up. Resolves when that validation
   * begins: the version is in memory, and neither available nor able to become so before somebody changes his mind.
   */
  holdValidation(version: number): Promise<void> {
    return new Promise((resolve) => this.#held.set(version, resolve));
  }

  /** Closes everything and removes the directory. Throws when the manager had to leave a version behind. */
  async close(): Promise<void> {
    try {
      this.#connection[Symbol.dispose]();
      const { abandoned } = await this.manager.close({ drainTimeoutMs: DRAIN_TIMEOUT_MS });
      await this.events.close();
      if (abandoned.length > 0)
        throw new Error(`Left behind: ${abandoned.map(({ name, version }) => `${name}/${version}`).join(', ')}`);
    } finally {
      await rm(this.directory, { recursive: true, force: true });
    }
  }

  #servables(): FileSystemServable[] {
    return [...this.#policies].map(([name, versionPolicy]) => ({
      name,
      basePath: join(this.directory, name),
      versionPolicy,
    }));
  }

  /** The manager, with another policy for {@link LARGE}: two of it shall never be in memory at once. */
  #target(): Pick<AspiredVersionsManager, 'setAspiredVersions'> {
    return {
      setAspiredVersions: (name, versions, options) => {
        const policy: { aspiredVersionPolicy?: AspiredVersionPolicyOption } =
          name === LARGE ? { aspiredVersionPolicy: 'resource-preserving' } : {};
        return this.manager.setAspiredVersions(name, versions, { ...options, ...policy });
      },
    };
  }

  #loader({ name, version, path }: { name: string; version: number; path: string }): Loader<OnnxServable> {
    const loader =
      name === LARGE
        ? onnxLoader(path, { intraOpNumThreads: 1, warmupInputs: [largeFeed()] })
        : onnxLoader(path, {
            intraOpNumThreads: 1,
            warmupInputs: [feedOf(this.#validation, 0)],
            warmup: (servable, context) => this.#validate(servable, context),
          });
    const load = loader.load.bind(loader);
    loader.load = async (context) => {
      this.#loads.set(`${name}/${version}`, this.loads(name, version) + 1);
      const servable = await load(context);
      return name === DIGITS && version === SLOW_VERSION ? slowed(servable) : servable;
    };
    return loader;
  }

  /** Asks the new version what nobody trained on, and refuses it when too few answers are right. */
  async #validate(servable: OnnxServable, { id, signal }: Pick<LoadContext, 'id' | 'signal'>): Promise<void> {
    const begun = this.#held.get(id.version);
    if (begun) {
      this.#held.delete(id.version);
      begun();
      if (!signal.aborted) await once(signal, 'abort');
    }
    const samples = this.#validation;
    let right = 0;
    for (let i = 0; i < samples.size; i++) {
      signal.throwIfAborted();
      if (digitOf(await servable.run(feedOf(samples, i))) === samples.labels[i]) right++;
    }
    const accuracy = right / samples.size;
    if (accuracy < REQUIRED_ACCURACY) {
      throw new Error(`validation: ${percent(accuracy)} right, ${percent(REQUIRED_ACCURACY)} required`);
    }
  }
}

/** The same model, which passes its validation and has a bad day afterwards. */
function slowed(servable: OnnxServable): OnnxServable {
  const run = servable.run.bind(servable);
  let runs = 0;
  return Object.assign(servable, {
    run: async (...args: Parameters<OnnxServable['run']>) => {
      if (++runs > VALIDATION_SAMPLES) await sleep(SLOW_BY_MS);
      return run(...args);
    },
  });
}

function largeFeed() {
  return { x: { type: 'float32' as const, data: new Float32Array(LARGE_WIDTH).fill(0.1), dims: [1, LARGE_WIDTH] } };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

async function putVersion(
  models: string,
  directory: string,
  name: string,
  version: number,
  made: number,
): Promise<void> {
  const from = join(models, name, String(made));
  const aside = join(directory, `.incoming-${name}-${version}`);
  await mkdir(aside);
  for (const file of await readdir(from)) await linkOrCopy(join(from, file), join(aside, file));
  await mkdir(join(directory, name), { recursive: true });
  await rename(aside, join(directory, name, String(version)));
}

/** A link is enough where both are on one file system: nobody writes to these files. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to);
  }
}
