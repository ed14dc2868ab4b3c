// Where the ONNX Runtime library is.
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { AspiredError } from '../errors.js';

const LIBRARY_NAMES: Readonly<Record<string, readonly string[]>> = {
  linux: ['libonnxruntime.so.1', 'libonnxruntime.so'],
  darwin: ['libonnxruntime.dylib', 'libonnxruntime.1.dylib'],
  win32: ['onnxruntime.dll'],
};

/** `napi-v6` before `napi-v3`. */
function newestFirst(folders: readonly string[]): string[] {
  const number = (folder: string): number => Number(folder.slice('napi-v'.length));
  return folders.filter((folder) => /^napi-v\d+$/.test(folder)).sort((a, b) => number(b) - number(a));
}

function isLibrary(file: string, platform: string): boolean {
  const names = LIBRARY_NAMES[platform] ?? LIBRARY_NAMES.linux ?? [];
  return names.includes(file) || (platform === 'darwin' && /^libonnxruntime\.[\d.]+\.dylib$/.test(file));
}

/** The library inside a folder of onnxruntime-node, or undefined; `tried` gets the folders that were looked into. */
export function libraryIn(
  packageFolder: string,
  tried: string[],
  platform: string = process.platform,
  arch: string = process.arch,
): string | undefined {
  const bin = join(packageFolder, 'bin');
  if (!existsSync(bin)) {
    tried.push(bin);
    return undefined;
  }
  for (const napi of newestFirst(readdirSync(bin))) {
    const folder = join(bin, napi, platform, arch);
    tried.push(folder);
    if (!existsSync(folder)) continue;
    const file = readdirSync(folder)
      .sort()
      .find((name) => isLibrary(name, platform));
    if (file !== undefined) return join(folder, file);
  }
  return undefined;
}

let found: string | undefined;

/**
 * Path of the library: the one given, or the one that the onnxruntime-node nearest to this package, or to the working
 * directory, brings.
 *
 * @throws AspiredError ERR_ONNX_RUNTIME_NOT_FOUND, which says where was looked and what to type.
 */
export function findRuntime(runtimePath: string | undefined): string {
  if (runtimePath !== undefined) return runtimePath;
  if (found !== undefined) return found;
  const tried: string[] = [];
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    let manifest: string;
    try {
      manifest = createRequire(from).resolve('onnxruntime-node/package.json');
    } catch {
      tried.push(`onnxruntime-node, as seen from ${from}`);
      continue;
    }
    found = libraryIn(dirname(manifest), tried);
    if (found !== undefined) return found;
  }
  throw new AspiredError(
    'ERR_ONNX_RUNTIME_NOT_FOUND',
    [
      `No ONNX Runtime library for ${process.platform}-${process.arch} was found. Looked for:`,
      ...[...new Set(tried)].map((place) => `  - ${place}`),
      'What to do: npm install onnxruntime-node --ignore-scripts (its install script only fetches CUDA files),',
      'or give the path of a library, version 1.17 or later, as option runtimePath.',
    ].join('\n'),
  );
}
