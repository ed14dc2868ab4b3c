// All scripts: the connection defines each as a command.
import * as changes from './changes.js';
import * as hosts from './hosts.js';
import type { Script } from './shared.js';

export * from './changes.js';
export * from './hosts.js';
export type { Script } from './shared.js';

export const SCRIPTS: readonly Script[] = [...Object.values(changes), ...Object.values(hosts)];
