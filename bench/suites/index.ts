import type { Suite } from '../suite.js';
import { acquire } from './acquire.js';
import { idle } from './idle.js';
import { loadStorm } from './load-storm.js';
import { onnxInference } from './onnx-inference.js';
import { onnxLoad } from './onnx-load.js';
import { onnxMemory } from './onnx-memory.js';
import { versionSwitch } from './version-switch.js';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [acquire, loadStorm, versionSwitch, idle, onnxInference, onnxLoad, onnxMemory];
