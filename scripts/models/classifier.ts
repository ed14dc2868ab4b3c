// A small trainer: fully connected layers with ReLU between them, softmax cross-entropy, mini-batch Adam. Plain loops
// over typed arrays; a few seconds of one core are enough for the example models.
import { DIGIT_CLASSES, DIGIT_PIXELS, type DigitSet } from './digits.js';
import { Random } from './random.js';

/** One layer: `weights` in rows of `outputs`, one row per input, as an ONNX MatMul wants them. */
export interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly weights: Float32Array;
  readonly bias: Float32Array;
}

/** How to train. */
export interface TrainingOptions {
  /** Sizes of the hidden layers; none is a softmax regression. */
  readonly hidden: readonly number[];
  readonly epochs: number;
  readonly learningRate: number;
  readonly seed: number;
}

interface Trainable extends Layer {
  /** Activations of the layer, and the loss's gradient by them. */
  readonly out: Float32Array;
  readonly delta: Float32Array;
  readonly parameters: readonly Parameter[];
}

interface Parameter {
  readonly value: Float32Array;
  readonly gradient: Float32Array;
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

const BATCH = 32;

/** Trains a classifier on `set`. The same options and set give the same weights. */
export function train(set: DigitSet, options: TrainingOptions): readonly Layer[] {
  const random = new Random(options.seed);
  const sizes = [DIGIT_PIXELS, ...options.hidden, DIGIT_CLASSES];
  const layers = sizes.slice(1).map((outputs, i) => makeLayer(sizes[i] as number, outputs, random));
  const order = Uint32Array.from({ length: set.size }, (_, i) => i);
  const steps = Math.ceil(set.size / BATCH) * options.epochs;
  let step = 0;
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    random.shuffle(order);
    for (let start = 0; start < set.size; start += BATCH) {
      const batch = order.subarray(start, start + BATCH);
      for (const sample of batch) learn(layers, pixelsOf(set, sample), set.labels[sample] as number);
      step++;
      const rate = options.learningRate * (1 - step / (steps + 1));
      for (const layer of layers) for (const parameter of layer.parameters) adam(parameter, batch.length, rate, step);
    }
  }
  return layers.map(({ inputs, outputs, weights, bias }) => ({ inputs, outputs, weights, bias }));
}

/** The share of `set` that the classifier gets right. */
export function accuracy(layers: readonly Layer[], set: DigitSet): number {
  let right = 0;
  for (let i = 0; i < set.size; i++) {
    if (argmax(logits(layers, pixelsOf(set, i))) === set.labels[i]) right++;
  }
  return right / set.size;
}

/** What the classifier answers for one sample, in plain TypeScript: the reference for the exported model. */
export function logits(layers: readonly Layer[], pixels: Float32Array): Float32Array {
  let input = pixels;
  layers.forEach((layer, i) => {
    const out = new Float32Array(layer.outputs);
    forward(layer, input, out, i < layers.length - 1);
    input = out;
  });
  return input;
}

/** Pixels of one sample, not copied. */
export function pixelsOf(set: DigitSet, sample: number): Float32Array {
  return set.pixels.subarray(sample * DIGIT_PIXELS, (sample + 1) * DIGIT_PIXELS);
}

/** Index of the greatest value, the first one if there are several. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

function makeLayer(inputs: number, outputs: number, random: Random): Trainable {
  const weights = new Float32Array(inputs * outputs);
  const scale = Math.sqrt(2 / inputs);
  for (let i = 0; i < weights.length; i++) weights[i] = scale * random.normal();
  const bias = new Float32Array(outputs);
  return {
    inputs,
    outputs,
    weights,
    bias,
    out: new Float32Array(outputs),
    delta: new Float32Array(outputs),
    parameters: [parameter(weights), parameter(bias)],
  };
}

function parameter(value: Float32Array): Parameter {
  const zeros = (): Float32Array => new Float32Array(value.length);
  return { value, gradient: zeros(), mean: zeros(), variance: zeros() };
}

function forward(layer: Layer, input: Float32Array, out: Float32Array, relu: boolean): void {
  const { outputs, weights } = layer;
  out.set(layer.bias);
  for (let i = 0; i < layer.inputs; i++) {
    const x = input[i] as number;
    if (x === 0) continue;
    const row = i * outputs;
    for (let o = 0; o < outputs; o++) out[o] = (out[o] as number) + x * (weights[row + o] as number);
  }
  if (relu) for (let o = 0; o < outputs; o++) if ((out[o] as number) < 0) out[o] = 0;
}

/** Adds the gradient of one sample to that of the batch. */
function learn(layers: readonly Trainable[], pixels: Float32Array, label: number): void {
  const last = layers.length - 1;
  layers.forEach((layer, i) => {
    forward(layer, i === 0 ? pixels : (layers[i - 1] as Trainable).out, layer.out, i < last);
  });
  const top = layers[last] as Trainable;
  softmaxGradient(top.out, top.delta, label);
  for (let i = last; i >= 0; i--) {
    const below = layers[i - 1];
    backward(layers[i] as Trainable, below ? below.out : pixels, below?.delta);
  }
}

function softmaxGradient(scores: Float32Array, delta: Float32Array, label: number): void {
  const max = scores.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (let o = 0; o < scores.length; o++) {
    delta[o] = Math.exp((scores[o] as number) - max);
    sum += delta[o] as number;
  }
  for (let o = 0; o < scores.length; o++) delta[o] = (delta[o] as number) / sum - (o === label ? 1 : 0);
}

function backward(layer: Trainable, input: Float32Array, deltaBelow: Float32Array | undefined): void {
  const { outputs, weights, delta } = layer;
  const weightGradient = (layer.parameters[0] as Parameter).gradient;
  const biasGradient = (layer.parameters[1] as Parameter).gradient;
  for (let o = 0; o < outputs; o++) biasGradient[o] = (biasGradient[o] as number) + (delta[o] as number);
  for (let i = 0; i < layer.inputs; i++) {
    const x = input[i] as number;
    const row = i * outputs;
    let back = 0;
    for (let o = 0; o < outputs; o++) {
      const d = delta[o] as number;
      back += d * (weights[row + o] as number);
      weightGradient[row + o] = (weightGradient[row + o] as number) + x * d;
    }
    if (deltaBelow) deltaBelow[i] = x > 0 ? back : 0;
  }
}

function adam({ value, gradient, mean, variance }: Parameter, batch: number, rate: number, step: number): void {
  const meanBias = 1 - 0.9 ** step;
  const varianceBias = 1 - 0.999 ** step;
  for (let i = 0; i < value.length; i++) {
    const g = (gradient[i] as number) / batch;
    const m = 0.9 * (mean[i] as number) + 0.1 * g;
    const v = 0.999 * (variance[i] as number) + 0.001 * g * g;
    mean[i] = m;
    variance[i] = v;
    value[i] = (value[i] as number) - (rate * (m / meanBias)) / (Math.sqrt(v / varianceBias) + 1e-8);
    gradient[i] = 0;
  }
}
