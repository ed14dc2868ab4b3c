// The tree of commands.
import { Command } from 'commander';
import { Actions, type Result } from './commands/context.js';
import { addHosts } from './commands/hosts.js';
import { addLists } from './commands/lists.js';
import { addProcesses } from './commands/processes.js';
import { addRolloutVerbs } from './commands/rollout.js';
import { addStore } from './commands/store.js';
import { addRolloutLooks } from './commands/watch.js';
import type { CliIo } from './io.js';
import { addGlobalOptions } from './options.js';

const EXIT_CODES = `
Exit codes: 0 done; of rollout status 0 promoted, 1 rolled back or aborted, 2 timeout, 3 frozen;
64 usage, 65 refused, 66 not found, 69 the store does not answer, 70 a fault of ours, 77 denied, 130 interrupted.
`;

/** All commands. An action leaves its exit code in `result`. */
export function makeProgram(io: CliIo, result: Result, version: string): Command {
  const program = new Command('aspired').description('Promotes and rolls back model versions.').version(version);
  const settle = (command: Command): Command =>
    command
      .exitOverride()
      .configureHelp({ showGlobalOptions: true, ...(io.stdout.columns ? { helpWidth: io.stdout.columns } : {}) })
      .configureOutput({
        writeOut: (text) => io.stdout.write(text),
        writeErr: (text) => io.stderr.write(text),
        getOutHasColors: () => false,
        getErrHasColors: () => false,
      });
  settle(program);
  const fleet = addGlobalOptions(program.command('fleet')).description('rollouts over many hosts');
  fleet.addHelpText('after', EXIT_CODES);
  const actions = new Actions(io, result);
  addProcesses(fleet, actions);
  const rollout = fleet.command('rollout').description('one rollout: start it, look at it, change its way');
  addRolloutVerbs(rollout, actions);
  addRolloutLooks(rollout, actions);
  addLists(fleet, actions);
  addHosts(fleet, actions);
  addStore(fleet, actions);
  return program;
}
