// aspired fleet rollout start | pause | resume | promote | abort | undo | retry | freeze
import type { Command } from 'commander';
import type { RolloutVerb, VerbDone } from '../../fleet/index.js';
import { EXIT } from '../exit-codes.js';
import { verbJson } from '../json.js';
import { addIntentOptions, type GlobalOptions, type IntentOptions, intentOf } from '../options.js';
import { addPlanOptions, type PlanFlags, planOptionsOf } from '../plan-options.js';
import type { Actions, Context } from './context.js';

const ROLLOUT = 'id of a rollout, or a model: its active rollout, else its last one';

const VERBS: readonly (readonly [RolloutVerb, string])[] = [
  ['pause', 'stop where it is; deadlines go on'],
  ['resume', 'go on after pause or freeze'],
  ['promote', 'let the current wave go on without its bake and gates'],
  ['abort', 'go back on all hosts'],
  ['undo', 'go back to the version before, also after the end'],
  ['retry', 'start the same plan anew, after one that was aborted or rolled back'],
  [
    'freeze',
    'hold all hosts as they are, until resume or abort; at the deadline it goes back, unless --on-deadline freeze',
  ],
];

/** Adds start and the verbs. */
export function addRolloutVerbs(rollout: Command, actions: Actions): void {
  addIntentOptions(addPlanOptions(rollout.command('start').argument('<model@version>', 'what to roll out')))
    .description('start a rollout')
    .action(
      actions.fleet<[string], PlanFlags & IntentOptions>(async ({ tool, io, printer }, options, target) => {
        const intent = intentOf(options, io);
        const plan = await planOptionsOf(target, planFlagsOf(options));
        return say(printer, 'start', await tool.start(plan, intent));
      }),
    );
  for (const [verb, description] of VERBS) addVerb(rollout, actions, verb, description);
}

function addVerb(rollout: Command, actions: Actions, verb: RolloutVerb, description: string): void {
  const command = rollout.command(verb).argument('<rollout>', ROLLOUT).description(description);
  if (verb === 'promote') command.option('--full', 'no wave waits for bake and gates any more');
  if (verb === 'retry') command.option('--force', 'although the version was rolled back as bad');
  addIntentOptions(command).action(
    actions.fleet<[string], IntentOptions & { readonly full?: true; readonly force?: true }>(
      async ({ tool, io, printer }, options, id) => {
        const intent = intentOf(options, io);
        const meant = options.full ? 'promote-full' : verb;
        return say(printer, meant, await tool.verb(id, meant, intent, { force: options.force === true }));
      },
    ),
  );
}

/** Only what belongs to a plan: the other options of the command line are no options of it. */
function planFlagsOf(options: PlanFlags & IntentOptions & GlobalOptions): PlanFlags {
  const { output, color, redis, fleet, minReplicas, reason, actor, operation, ...flags } = options;
  return flags;
}

/** Prints what became of a verb. One that was refused fails, and one that no controller has looked at in time. */
function say(printer: Context['printer'], verb: string, done: VerbDone): number {
  if (printer.isJson) printer.json(verbJson(verb, done));
  else {
    const { rollout, outcome, message, revision, replicated, replicas } = done;
    printer.text(`${rollout}: ${verb} ${outcome}: ${message}`);
    printer.text(`revision ${revision}, replicated ${replicated} of ${replicas}`);
  }
  if (done.outcome === 'pending') return EXIT.TIMEOUT;
  return done.outcome === 'refused' ? EXIT.REFUSED : EXIT.OK;
}
