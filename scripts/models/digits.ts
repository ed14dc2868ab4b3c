// The task of the example models: read a digit from 8x8 noisy pixels. The glyph sits anywhere in the frame, varies in
// brightness and loses some strokes, so a linear model does modestly and one hidden layer does clearly better.
import { Random } from './random.js';

/** Pixels of one sample. */
export const DIGIT_PIXELS = 64;
/** Number of classes. */
export const DIGIT_CLASSES = 10;

/** Samples in rows of {@link DIGIT_PIXELS}, and the digit of each. */
export interface DigitSet {
  readonly size: number;
  readonly pixels: Float32Array;
  readonly labels: Uint8Array;
}

const SIDE = 8;
const GLYPHS = [
  '.###./#...#/#..##/#.#.#/##..#/#...#/.###.',
  '..#../.##../..#../..#../..#../..#../.###.',
  '.###./#...#/....#/...#./..#../.#.../#####',
  '#####/...#./..#../...#./....#/#...#/.###.',
  '...#./..##./.#.#./#..#./#####/...#./...#.',
  '#####/#..../####./....#/....#/#...#/.###.',
  '..##./.#.../#..../####./#...#/#...#/.###.',
  '#####/....#/...#./..#../.#.../.#.../.#...',
  '.###./#...#/#...#/.###./#...#/#...#/.###.',
  '.###./#...#/#...#/.####/....#/...#./.##..',
].map((rows) => rows.replaceAll('/', ''));

/** A set of `size` samples; the same seed gives the same set. */
export function makeDigits(size: number, seed: number): DigitSet {
  const random = new Random(seed);
  const pixels = new Float32Array(size * DIGIT_PIXELS);
  const labels = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    const label = random.below(DIGIT_CLASSES);
    labels[i] = label;
    draw(pixels.subarray(i * DIGIT_PIXELS, (i + 1) * DIGIT_PIXELS), GLYPHS[label] as string, random);
  }
  return { size, pixels, labels };
}

/** The samples that no model was trained on: what accuracy is measured with. */
export function holdoutDigits(size = 2000): DigitSet {
  return makeDigits(size, 2_000_003);
}

function draw(pixels: Float32Array, glyph: string, random: Random): void {
  const left = random.below(4);
  const top = random.below(2);
  const brightness = 0.7 + 0.5 * random.uniform();
  for (let i = 0; i < pixels.length; i++) pixels[i] = 0.28 * random.normal();
  for (let cell = 0; cell < glyph.length; cell++) {
    if (glyph[cell] !== '#' || random.uniform() < 0.06) continue;
    const at = (top + Math.floor(cell / 5)) * SIDE + left + (cell % 5);
    pixels[at] = (pixels[at] as number) + brightness;
  }
}
