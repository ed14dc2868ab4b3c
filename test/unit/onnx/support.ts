// What the tests of the ONNX engine share: models, a load context, an error check.
import assert from 'node:assert/strict';
import type { AspiredErrorCode } from '#lib/error-codes.js';
import { AspiredError } from '#lib/errors.js';
import type { OnnxLoaderOptions, OnnxServable } from '#lib/onnx/index.js';
import { onnxLoader } from '#lib/onnx/index.js';
import type { LoadContext, Loader } from '#lib/types.js';
import { defaultModelsDirectory, ensureModels, modelPath } from '../../../scripts/models/ensure-models.js';

/** Path of a test model, made when it is not there. */
export async function model(name: string): Promise<string> {
  await ensureModels({ out: defaultModelsDirectory(), only: [name] });
  return modelPath(defaultModelsDirectory(), name);
}

/** A context as the manager passes it. */
export function contextFor(signal: AbortSignal = new AbortController().signal): LoadContext {
  return { id: { name: 'test', version: 1 }, signal, attempt: 1 };
}

/** A loaded model, and its loader for the unload. */
export async function loaded(
  name: string,
  options: OnnxLoaderOptions = {},
): Promise<{ servable: OnnxServable; loader: Loader<OnnxServable> }> {
  const loader = onnxLoader(await model(name), options);
  return { servable: await loader.load(contextFor()), loader };
}

/** A check for assert.throws and assert.rejects: an AspiredError with this code whose message matches. */
export function coded(code: AspiredErrorCode, message: RegExp = /./): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof AspiredError, `not an AspiredError: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

/** A float32 tensor as a plain object. */
export function floats(values: readonly number[], dims: readonly number[] = [values.length]) {
  return { type: 'float32', data: Float32Array.from(values), dims } as const;
}
