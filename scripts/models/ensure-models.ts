import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chunksOf, type Message } from './protobuf.js';
import type { Recipe, RecipeOptions } from './recipe.js';
import { allRecipes } from './recipes.js';

/** Where the models of one call of {@link ensureModels} stand. */
export interface ModelProgress {
  readonly model: string;
  /** Models that are done, of `total`. */
  readonly done: number;
  readonly total: number;
  /** Bytes written of the file that is being written. */
  readonly bytes: number;
}

/** Options of {@link ensureModels}. */
export interface EnsureModelsOptions {
  /** Directory that gets one directory per model: `<out>/<name>/<version>/model.onnx`. */
  readonly out: string;
  /** Names of the models; when not given all but those that are made on demand. */
  readonly only?: readonly string[];
  /** Size of the models `large…` in MB; 300 when not given. */
  readonly largeMb?: number;
  readonly onProgress?: (progress: ModelProgress) => void;
}

const STAMP = 'stamp.json';
const DEFAULT_LARGE_MB = 300;

/**
 * Makes the models that are not there yet or were made by another version of the generator. A model appears as a whole
 * (it is written aside and renamed), so several processes may call this at once. Returns the models that were made.
 *
 * @throws Error when a name is unknown or the directory cannot be written.
 */
export async function ensureModels(options: EnsureModelsOptions): Promise<readonly string[]> {
  const recipes = chooseRecipes(options.only);
  const largeMb = options.largeMb ?? DEFAULT_LARGE_MB;
  if (!(largeMb > 0 && largeMb <= 1900))
    throw new RangeError(`largeMb must be above 0 and at most 1900, not ${largeMb}`);
  await mkdir(options.out, { recursive: true });
  const generator = await generatorHash();
  const made: string[] = [];
  for (const [done, recipe] of recipes.entries()) {
    const stamp = JSON.stringify({ generator, ...(recipe.usesLargeMb ? { largeMb } : {}) });
    if (await isStamped(join(options.out, recipe.name), stamp)) continue;
    const report = (bytes: number): void =>
      options.onProgress?.({ model: recipe.name, done, total: recipes.length, bytes });
    report(0);
    await makeModel(recipe, { largeMb }, options.out, stamp, report);
    made.push(recipe.name);
  }
  return made;
}

/** The models whose size is chosen. */
export type LargeModelName = 'large' | 'large_external' | 'large_lookup' | 'large_whole' | 'large_pieces';

/**
 * A large model of this size, beside those of other sizes. Makes it unless it is there; resolves with
 * the path of its file.
 */
export async function ensureLargeModel(
  out: string,
  megabytes: number,
  name: LargeModelName = 'large',
): Promise<string> {
  const directory = join(out, `${megabytes}-mb`);
  await ensureModels({ out: directory, only: [name], largeMb: megabytes });
  return modelPath(directory, name);
}

/** Path of a model file that {@link ensureModels} wrote. */
export function modelPath(out: string, name: string, version = 1): string {
  return join(out, name, String(version), 'model.onnx');
}

/** Where the models are kept between runs: in the root of the checkout, ignored by git. */
export function defaultModelsDirectory(): string {
  return fileURLToPath(new URL('../../../.cache/models', import.meta.url));
}

function chooseRecipes(only: readonly string[] | undefined): readonly Recipe[] {
  const recipes = allRecipes();
  if (!only) return [...recipes.values()].filter(({ onDemand }) => !onDemand);
  return only.map((name) => {
    const recipe = recipes.get(name);
    if (!recipe) throw new Error(`No model is called ${name}; there are ${[...recipes.keys()].join(', ')}`);
    return recipe;
  });
}

/** The generator's version is what its compiled files are. */
async function generatorHash(): Promise<string> {
  const directory = fileURLToPath(new URL('.', import.meta.url));
  const hash = createHash('sha256');
  for (const file of (await readdir(directory)).filter((name) => name.endsWith('.js')).sort()) {
    hash.update(file).update(await readFile(join(directory, file)));
  }
  return hash.digest('hex').slice(0, 16);
}

async function isStamped(directory: string, stamp: string): Promise<boolean> {
  try {
    return (await readFile(join(directory, STAMP), 'utf8')) === stamp;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function makeModel(
  recipe: Recipe,
  options: RecipeOptions,
  out: string,
  stamp: string,
  report: (bytes: number) => void,
): Promise<void> {
  const aside = join(out, `.making-${recipe.name}-${process.pid}`);
  const target = join(out, recipe.name);
  await rm(aside, { recursive: true, force: true });
  try {
    for (const file of recipe.files(options)) {
      const path = join(aside, file.path);
      await mkdir(dirname(path), { recursive: true });
      const content = file.make();
      if (typeof content === 'string') await writeFile(path, content);
      else await writeMessage(path, content, report);
    }
    await writeFile(join(aside, STAMP), stamp);
    await moveInto(aside, target, stamp);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function writeMessage(path: string, content: Message, report: (bytes: number) => void): Promise<void> {
  const file = await open(path, 'wx');
  try {
    let bytes = 0;
    for (const chunk of chunksOf(content)) {
      await file.writeFile(chunk);
      bytes += chunk.length;
      if (bytes > 0) report(bytes);
    }
    if (bytes !== content.length)
      throw new Error(`${path}: ${bytes} bytes were made, ${content.length} were announced`);
  } finally {
    await file.close();
  }
}

/** Replaces `target`; when another process was faster with the same model, that one stays. */
async function moveInto(aside: string, target: string, stamp: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await rename(aside, target);
      return;
    } catch (error) {
      if (await isStamped(target, stamp)) return;
      if (attempt === 5) throw error;
      await rm(target, { recursive: true, force: true });
    }
  }
}
