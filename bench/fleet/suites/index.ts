import type { Suite } from '../../suite.js';
import { change, growth } from './change.js';
import { state } from './state.js';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [change, state, growth];
