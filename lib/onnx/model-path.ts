// From a path that a user gives to the file of a model.
import { constants, type Stats } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AspiredError } from '../errors.js';

function unreadable(path: string, cause: unknown): AspiredError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new AspiredError('ERR_MODEL_NOT_FOUND', `There is no model at ${path}.`, { cause });
  }
  return new AspiredError('ERR_MODEL_UNREADABLE', `The model at ${path} cannot be read: ${message}`, { cause });
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function modelIn(directory: string): Promise<string> {
  let files: string[];
  try {
    files = await readdir(directory);
  } catch (cause) {
    throw unreadable(directory, cause);
  }
  const models = files.filter((file) => file.toLowerCase().endsWith('.onnx'));
  if (models.includes('model.onnx')) return join(directory, 'model.onnx');
  if (models.length === 1) return join(directory, models[0] as string);
  throw new AspiredError(
    'ERR_MODEL_NOT_FOUND',
    models.length === 0
      ? `The directory ${directory} holds no .onnx file.`
      : `The directory ${directory} holds ${models.length} .onnx files and none is model.onnx: ${models.sort().join(', ')}.`,
  );
}

/**
 * The model file at `path`: the file itself; in a directory `model.onnx`, or the one .onnx file.
 *
 * @throws AspiredError ERR_MODEL_NOT_FOUND, ERR_MODEL_UNREADABLE, ERR_MODEL_INVALID (no bytes).
 */
export async function resolveModel(path: string): Promise<string> {
  let model = path;
  let stats = await statOf(path);
  if (stats.isDirectory()) {
    model = await modelIn(path);
    stats = await statOf(model);
  }
  if (!stats.isFile()) throw new AspiredError('ERR_MODEL_NOT_FOUND', `${model} is no file.`);
  try {
    await access(model, constants.R_OK);
  } catch (cause) {
    throw unreadable(model, cause);
  }
  if (stats.size === 0) throw new AspiredError('ERR_MODEL_INVALID', `The model file ${model} is empty.`);
  return model;
}

/**
 * Bytes on disk that belong to the model: the file, and, when a directory was given, what lies beside it, because weights
 * may be in files of their own.
 */
export async function modelBytes(path: string): Promise<number> {
  const stats = await statOf(path);
  if (!stats.isDirectory()) return stats.size;
  await modelIn(path);
  let bytes = 0;
  for (const file of await readdir(path)) {
    const beside = await statOf(join(path, file));
    if (beside.isFile()) bytes += beside.size;
  }
  return bytes;
}
