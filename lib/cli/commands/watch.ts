// aspired fleet rollout get | status | explain: looking at one rollout.
import type { Command } from 'commander';
import type { RolloutView } from '../../fleet/index.js';
import { EXIT, exitCodeOfRollout } from '../exit-codes.js';
import { follow, type Look } from '../follow.js';
import { JSON_SCHEMA, rolloutJson } from '../json.js';
import { durationArgument } from '../options.js';
import { momentKey, rolloutLine } from '../render/plain.js';
import { dim, type Line, styled } from '../render/text.js';
import { rolloutTree } from '../render/tree.js';
import { Screen } from '../screen.js';
import type { FleetTool } from '../tool.js';
import type { Actions, Context } from './context.js';

type FleetContext = Context & { readonly tool: FleetTool };

/** Adds the commands that look. */
export function addRolloutLooks(rollout: Command, actions: Actions): void {
  const argument = ['<rollout>', 'id of a rollout, or a model: its active rollout, else its last one'] as const;
  rollout
    .command('get')
    .argument(...argument)
    .description('show a rollout: waves, zones, hosts that need attention, gates, what it waits for')
    .option('-w, --watch', 'go on until it has ended')
    .action(actions.fleet<[string], { readonly watch?: true }>(get));
  rollout
    .command('status')
    .argument(...argument)
    .description('wait for the end: exit code 0 promoted, 1 rolled back or aborted, 2 timeout, 3 frozen')
    .option('--timeout <duration>', 'how long to wait', durationArgument)
    .action(actions.fleet<[string], { readonly timeout?: number }>(status));
  rollout
    .command('explain')
    .argument(...argument)
    .description('say in a sentence what it does or waits for, since when, and which hosts it is for')
    .action(
      actions.fleet<[string], object>(async ({ tool, printer }, _options, id) => {
        const text = await tool.explain(id);
        if (printer.isJson) printer.json({ schema: JSON_SCHEMA, rollout: id, explanation: text });
        else printer.text(text);
        return EXIT.OK;
      }),
    );
}

async function get(context: FleetContext, options: { readonly watch?: true }, id: string): Promise<number> {
  const { tool, printer } = context;
  if (options.watch) return watch(context, id);
  const view = await tool.view(id);
  if (printer.isJson) printer.json(rolloutJson(view));
  else printer.lines(rolloutTree(view));
  return EXIT.OK;
}

/** Until the rollout has ended: a tree that is drawn in place, or a line per change. */
async function watch({ tool, printer, io }: FleetContext, id: string): Promise<number> {
  const tell = teller({ io, printer });
  for await (const look of follow(tool, id, { pollMs: io.pollMs, signal: io.signal })) {
    tell(look);
    if (look.view?.record.state.phase === 'Ended') return EXIT.OK;
  }
  return EXIT.INTERRUPTED;
}

async function status(context: FleetContext, { timeout }: { readonly timeout?: number }, id: string): Promise<number> {
  const { tool, printer, io } = context;
  const limit = timeout === undefined ? io.signal : AbortSignal.any([io.signal, AbortSignal.timeout(timeout)]);
  let last: RolloutView | undefined;
  for await (const { view } of follow(tool, id, { pollMs: io.pollMs, signal: limit })) {
    if (view === undefined) continue;
    last = view;
    const code = exitCodeOfRollout(view.record.state);
    // Without a time to wait it answers at once, as a look.
    if (code === undefined && timeout !== undefined) continue;
    printStatus(printer, view);
    return code ?? EXIT.TIMEOUT;
  }
  if (last) printStatus(printer, last);
  return io.signal.aborted ? EXIT.INTERRUPTED : EXIT.TIMEOUT;
}

function printStatus(printer: Context['printer'], view: RolloutView): void {
  if (printer.isJson) printer.json(rolloutJson(view));
  else printer.text(rolloutLine(view));
}

/** How looks are told, one after the other. */
function teller({ io, printer }: Pick<Context, 'io' | 'printer'>): (look: Look) => void {
  if (printer.isLive) return drawing({ io, printer });
  let key = '';
  let wasAway = false;
  return ({ view, away }) => {
    if (away) {
      if (!wasAway) io.stderr.write(`${away.code}: ${away.message}\n`);
      wasAway = true;
      return;
    }
    wasAway = false;
    const moment = momentKey(view);
    if (moment === key) return;
    key = moment;
    printStatus(printer, view);
  };
}

function drawing({ io, printer }: Pick<Context, 'io' | 'printer'>): (look: Look) => void {
  const screen = new Screen(io.stdout);
  let tree: readonly Line[] = [];
  return ({ view, away }) => {
    if (view) tree = rolloutTree(view);
    const below: readonly Line[] = away
      ? [[styled('⚠ ', 'warn'), dim(`${away.code}: ${away.message} What is above is what was seen last.`)]]
      : [];
    screen.draw(printer.painted([...tree, ...below]));
  };
}
