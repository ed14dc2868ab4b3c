// What a recipe is: how the files of one model come about, without keeping them in memory.
import { encodeModel, type OnnxModel } from './onnx.js';
import type { Message } from './protobuf.js';

/** What the sizes of the models depend on. */
export interface RecipeOptions {
  /** Size of the models `large…`, in MB (10^6 bytes). */
  readonly largeMb: number;
}

/** One file of a model: its path below the model's directory, and how to make its content. */
export interface RecipeFile {
  readonly path: string;
  make(): Message | string;
}

/** One model with all its versions. */
export interface Recipe {
  readonly name: string;
  /** For what it is there. */
  readonly purpose: string;
  /** True when the files depend on `largeMb`. */
  readonly usesLargeMb?: boolean;
  /** True for one that is made only when it is named. */
  readonly onDemand?: boolean;
  files(options: RecipeOptions): readonly RecipeFile[];
}

/** The file `model.onnx` of one version. */
export function onnxFile(version: number, make: () => OnnxModel): RecipeFile {
  return { path: `${version}/model.onnx`, make: () => encodeModel(make()) };
}
