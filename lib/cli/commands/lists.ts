// aspired fleet list | history | audit: what there is and what was.
import type { Command } from 'commander';
import type { RolloutRecord } from '../../fleet/index.js';
import { EXIT } from '../exit-codes.js';
import { auditJson, JSON_SCHEMA, summaryJson } from '../json.js';
import { integerArgument } from '../options.js';
import { isoTime, table } from '../render/text.js';
import { phaseName } from '../render/tree.js';
import { countStates, goesBack } from '../view.js';
import type { Actions } from './context.js';

const DEFAULT_COUNT = 20;
const DEFAULT_AUDIT_COUNT = 100;

export function addLists(fleet: Command, actions: Actions): void {
  fleet
    .command('list')
    .description('active rollouts')
    .action(
      actions.fleet<[], object>(async ({ tool, printer }) => {
        const views = await tool.list();
        if (printer.isJson)
          printer.json({ schema: JSON_SCHEMA, rollouts: views.map(({ record }) => summaryJson(record)) });
        else if (views.length === 0) printer.text('no rollout is active');
        else {
          const rows = views.map((view) => {
            const counts = countStates(view, view.record.plan.hosts.keys());
            const done = goesBack(view.record.state) ? counts.back : counts.serving;
            return [
              ...cells(view.record),
              `${done}/${view.record.plan.hosts.length}`,
              view.record.state.hold?.message ?? '',
            ];
          });
          printer.lines(table(['ROLLOUT', 'MODEL', 'VERSION', 'PHASE', 'WAVE', 'HOSTS', 'WAITS FOR'], rows));
        }
        return EXIT.OK;
      }),
    );
  fleet
    .command('history')
    .argument('<model>', 'name of a model')
    .description('rollouts of a model, the latest first')
    .option('--count <n>', 'how many', integerArgument(1), DEFAULT_COUNT)
    .action(
      actions.fleet<[string], { readonly count: number }>(async ({ tool, printer }, { count }, model) => {
        const records = await tool.history(model, count);
        if (printer.isJson) printer.json({ schema: JSON_SCHEMA, model, rollouts: records.map(summaryJson) });
        else {
          const rows = records.map((record) => [...cells(record), isoTime(record.stamps.startedAt), whoAndWhy(record)]);
          printer.lines(table(['ROLLOUT', 'MODEL', 'VERSION', 'PHASE', 'WAVE', 'STARTED', 'BY'], rows));
        }
        return EXIT.OK;
      }),
    );
  addAudit(fleet, actions);
}

function addAudit(fleet: Command, actions: Actions): void {
  fleet
    .command('audit')
    .argument('<model>', 'name of a model')
    .description('who did what, when and why: the audit trail of a model, oldest first')
    .option('--count <n>', 'at most so many, the latest ones', integerArgument(1), DEFAULT_AUDIT_COUNT)
    .action(
      actions.fleet<[string], { readonly count: number }>(async ({ tool, printer }, { count }, model) => {
        const entries = await tool.audit(model, count);
        if (printer.isJson) for (const entry of entries) printer.json(auditJson(entry));
        else {
          const rows = entries.map(({ at, rollout, revision, event, actor, hosts, message }) => [
            isoTime(at),
            rollout,
            revision === undefined ? '' : String(revision),
            event,
            actor,
            String(hosts),
            message,
          ]);
          printer.lines(table(['AT', 'ROLLOUT', 'REV', 'EVENT', 'ACTOR', 'HOSTS', 'MESSAGE'], rows));
        }
        return EXIT.OK;
      }),
    );
}

function cells({ id, model, plan, state }: RolloutRecord): readonly string[] {
  return [id, model, `v${plan.version}`, phaseName(state), `${state.wave + 1}/${plan.waves.length}`];
}

function whoAndWhy({ state }: RolloutRecord): string {
  return `${state.actor}: ${state.rollback?.reason ?? state.reason}`;
}
