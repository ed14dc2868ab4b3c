import type { Suite } from '../suite.js';
import { acquire } from './acquire.js';
import { admission } from './admission.js';
import { bake } from './bake.js';
import { idle } from './idle.js';
import { loadStorm } from './load-storm.js';
import { metrics } from './metrics.js';
import { onnxInference } from './onnx-inference.js';
import { onnxLoad } from './onnx-load.js';
import { onnxMemory } from './onnx-memory.js';
import { standby } from './standby.js';
import { versionSwitch } from './version-switch.js';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [
  acquire,
  metrics,
  loadStorm,
  admission,
  versionSwitch,
  standby,
  bake,
  idle,
  onnxInference,
  onnxLoad,
  onnxMemory,
];
