// aspired fleet create | export | restore | doctor: the fleet as a whole.
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../errors.js';
import type { Finding, FleetExport, FleetMeta, Intent } from '../../fleet/index.js';
import { EXIT, UsageError } from '../exit-codes.js';
import { JSON_SCHEMA } from '../json.js';
import { addIntentOptions, type IntentOptions, intentOf } from '../options.js';
import { type Line, plain, styled } from '../render/text.js';
import type { FleetTool } from '../tool.js';
import type { Actions } from './context.js';

export function addStore(fleet: Command, actions: Actions): void {
  fleet
    .command('create')
    .description('make the fleet where there is none; changes nothing otherwise')
    .action(
      actions.fleet<[], object>(async ({ tool, printer, io, globals }) => {
        const meta = await tool.create();
        if (printer.isJson) printer.json({ ...meta, schema: JSON_SCHEMA });
        else
          printer.text(`fleet ${globals.fleet ?? io.env.ASPIRED_FLEET ?? 'default'}, incarnation ${meta.incarnation}`);
        return EXIT.OK;
      }),
    );
  fleet
    .command('export')
    .description('write down what a new store needs to go on, as JSON')
    .option('-o, --out <file>', 'where to; default the output')
    .action(
      actions.fleet<[], { readonly out?: string }>(async ({ tool, io }, { out }) => {
        const text = `${JSON.stringify(await tool.exportAll())}\n`;
        if (out === undefined) io.stdout.write(text);
        else await writeFile(out, text);
        return EXIT.OK;
      }),
    );
  addRestore(fleet, actions);
  fleet
    .command('doctor')
    .description('look for what is wrong with the store and the fleet; exit code 1 when something is')
    .action(
      actions.fleet<[], object>(async ({ tool, printer }) => {
        const findings = await tool.doctor();
        if (printer.isJson) {
          const list = findings.map(({ level, code, message }) => ({ level, code: code ?? null, message }));
          printer.json({ schema: JSON_SCHEMA, findings: list });
        } else printer.lines(findings.map(findingLine));
        return findings.some(({ level }) => level === 'error') ? EXIT.FAILED : EXIT.OK;
      }),
    );
}

function addRestore(fleet: Command, actions: Actions): void {
  const command = fleet
    .command('restore')
    .argument('[file]', 'what export wrote')
    .option('--from-hosts', 'from what the hosts report instead')
    .description('fill an empty store again; refused where a fleet is');
  addIntentOptions(command, 'default made of the content of the file').action(
    actions.fleet<[string | undefined], IntentOptions & { readonly fromHosts?: true }>(
      async ({ tool, io, printer }, options, file) => {
        if ((file === undefined) === (options.fromHosts === undefined)) {
          throw new UsageError('Say from what: a FILE that export wrote, or --from-hosts');
        }
        const intent = intentOf(options, io);
        const meta = await (file === undefined
          ? tool.restoreFromHosts(intent)
          : restoreFile(tool, file, { ...intent, operation: options.operation }));
        if (printer.isJson) printer.json({ ...meta, schema: JSON_SCHEMA });
        // When: the same file again gets the answer of the first time.
        else printer.text(`restored at ${new Date(meta.createdAt).toISOString()}, incarnation ${meta.incarnation}`);
        return EXIT.OK;
      },
    ),
  );
}

async function restoreFile(
  tool: FleetTool,
  file: string,
  intent: Omit<Intent, 'operation'> & { readonly operation: string | undefined },
): Promise<FleetMeta> {
  let text: string;
  let data: FleetExport;
  try {
    text = await readFile(file, 'utf8');
    // What is in it is checked where it is put in.
    data = JSON.parse(text) as FleetExport;
  } catch (error) {
    throw new UsageError(`The export ${file} cannot be read: ${messageOf(error)}`);
  }
  // The same for the same file: a restore that was interrupted goes on when it is typed again.
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 32);
  return tool.restore(data, { ...intent, operation: intent.operation ?? `restore-${digest}` });
}

function findingLine({ level, code, message }: Finding): Line {
  const text = plain(code === undefined ? ` ${message}` : ` ${code}: ${message}`);
  if (level === 'ok') return [styled('✔', 'good'), text];
  return level === 'warning' ? [styled('⚠', 'warn'), text] : [styled('✖', 'bad'), text];
}
