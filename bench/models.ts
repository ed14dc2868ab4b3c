// The models that the ONNX suites need. They are made once, beside those of the tests: the large one has another size.
import { fileURLToPath } from 'node:url';
import { ensureModels } from '../scripts/models/ensure-models.js';

const LARGE_MB = 500;
const QUICK_LARGE_MB = 60;

/** Where the models of a run are. */
export function modelsDirectory(quick: boolean): string {
  return fileURLToPath(new URL(`../../.cache/bench-models${quick ? '-quick' : ''}`, import.meta.url));
}

/** Makes the models with these names unless they are there. */
export async function makeModels(
  names: readonly string[],
  quick: boolean,
  onProgress: (text: string) => void,
): Promise<void> {
  await ensureModels({
    out: modelsDirectory(quick),
    only: names,
    largeMb: quick ? QUICK_LARGE_MB : LARGE_MB,
    onProgress: ({ model, bytes }) => onProgress(`making model ${model}: ${Math.round(bytes / 1e6)} MB`),
  });
}
