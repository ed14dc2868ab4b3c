import type { Suite } from '../../suite.js';
import { change, growth } from './change.js';
import { idle } from './idle.js';
import { outage } from './outage.js';
import { rollout } from './rollout.js';
import { state } from './state.js';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [change, idle, state, rollout, outage, growth];
