// aspired fleet hosts, aspired fleet host describe | cordon | uncordon | remove
import type { Command } from 'commander';
import { AspiredError } from '../../errors.js';
import type { DesiredCell, HostView, ModelReport } from '../../fleet/index.js';
import { formatBytes } from '../../resources/bytes.js';
import { EXIT } from '../exit-codes.js';
import { hostJson, JSON_SCHEMA } from '../json.js';
import { addIntentOptions, type IntentOptions, intentOf } from '../options.js';
import { dim, type Line, plain, strong, styled, table } from '../render/text.js';
import type { Actions } from './context.js';

interface HostsOptions {
  readonly zone?: string;
  readonly model?: string;
}

export function addHosts(fleet: Command, actions: Actions): void {
  fleet
    .command('hosts')
    .description('hosts of the fleet, what they have and what they should have')
    .option('--zone <name>', 'only of this zone')
    .option('--model <name>', 'only this model')
    .action(
      actions.fleet<[], HostsOptions>(async ({ tool, printer }, { zone, model }) => {
        const all = await tool.hosts();
        const hosts = zone === undefined ? all : all.filter(({ host }) => host.info.zone === zone);
        if (printer.isJson)
          printer.json({ schema: JSON_SCHEMA, hosts: hosts.map((host) => ofModel(hostJson(host), model)) });
        else
          printer.lines(
            table(
              ['HOST', 'ZONE', 'STATE', 'USED', 'CAPACITY', 'MODELS'],
              hosts.map((host) => row(host, model)),
            ),
          );
        return EXIT.OK;
      }),
    );
  const host = fleet.command('host').description('one host');
  host
    .command('describe')
    .argument('<host>', 'id of a host')
    .description('desired and reported, model by model')
    .action(
      actions.fleet<[string], object>(async ({ tool, printer }, _options, id) => {
        const found = (await tool.hosts()).find((candidate) => candidate.host.info.id === id);
        if (!found) throw new AspiredError('ERR_HOST_NOT_FOUND', `No host of the fleet is called ${id}.`);
        if (printer.isJson) printer.json(hostJson(found));
        else printer.lines(describeHost(found));
        return EXIT.OK;
      }),
    );
  addCordon(host, actions, 'cordon', 'keep a host out of rollouts: neither told nor counted');
  addCordon(host, actions, 'uncordon', 'let a host take part again; it catches up');
  addRemove(host, actions);
}

function addCordon(parent: Command, actions: Actions, verb: 'cordon' | 'uncordon', description: string): void {
  addIntentOptions(parent.command(verb).argument('<host>', 'id of a host').description(description)).action(
    actions.fleet<[string], IntentOptions>(async ({ tool, io, printer }, options, id) => {
      await tool.setCordoned(id, verb === 'cordon', intentOf(options, io));
      if (printer.isJson) printer.json({ schema: JSON_SCHEMA, host: id, cordoned: verb === 'cordon' });
      else printer.text(`${id} is ${verb}ed`);
      return EXIT.OK;
    }),
  );
}

function addRemove(parent: Command, actions: Actions): void {
  const command = parent.command('remove').argument('<host>', 'id of a host');
  addIntentOptions(command.description('forget a host that is gone for good')).action(
    actions.fleet<[string], IntentOptions>(async ({ tool, io, printer }, options, id) => {
      await tool.removeHost(id, intentOf(options, io));
      if (printer.isJson) printer.json({ schema: JSON_SCHEMA, host: id, removed: true });
      else printer.text(`${id} is removed`);
      return EXIT.OK;
    }),
  );
}

function ofModel(json: Record<string, unknown>, model: string | undefined): Record<string, unknown> {
  if (model === undefined) return json;
  return {
    ...json,
    models: (json.models as readonly { readonly model: string }[]).filter((entry) => entry.model === model),
  };
}

function row({ host, lease, report, desired }: HostView, only: string | undefined): readonly string[] {
  const { id, zone, capacityBytes } = host.info;
  const names = [...new Set([...desired.keys(), ...(report?.models.keys() ?? [])])].sort();
  const models = names
    .filter((name) => only === undefined || name === only)
    .map((name) => `${name} ${difference(desired.get(name), report?.models.get(name))}`);
  return [
    id,
    zone,
    host.cordoned ? 'cordoned' : lease ? 'alive' : 'away',
    report ? formatBytes(report.status.usedBytes) : '',
    capacityBytes > 0 ? formatBytes(capacityBytes) : 'not told',
    models.join(', '),
  ];
}

/** `v2`, or `v1 (should be v1+v2)`. The primary comes first. */
function difference(desired: DesiredCell | undefined, reported: ModelReport | undefined): string {
  const available = (reported?.versions ?? []).filter(({ managerState }) => managerState === 'Available');
  const has = versionsText(
    available.map(({ version }) => version),
    reported?.primary,
  );
  if (!desired) return `${has} (nothing is desired)`;
  const wanted = versionsText(desired.versions, desired.primary);
  return has === wanted ? has : `${has} (should be ${wanted})`;
}

function versionsText(versions: readonly number[], primary: number | undefined): string {
  if (versions.length === 0) return 'none';
  const latest = Math.max(...versions);
  const first = primary !== undefined && versions.includes(primary) ? primary : latest;
  return [first, ...versions.filter((version) => version !== first).sort((a, b) => a - b)]
    .map((v) => `v${v}`)
    .join('+');
}

function describeHost(view: HostView): readonly Line[] {
  const { host, lease, report, desired } = view;
  const { id, zone, labels, capacityBytes, agentVersion } = host.info;
  const state = host.cordoned ? styled('cordoned', 'warn') : lease ? styled('alive', 'good') : styled('away', 'warn');
  const lines: Line[] = [
    [strong(id), plain(`  zone ${zone}  `), state, dim(`  agent ${agentVersion}, boot ${lease?.bootId ?? 'none'}`)],
    [
      plain(
        `labels    ${
          Object.entries(labels)
            .map(([key, value]) => `${key}=${value}`)
            .join(' ') || 'none'
        }`,
      ),
    ],
    [
      plain(
        `memory    ${formatBytes(report?.status.usedBytes ?? 0)} of ${capacityBytes > 0 ? formatBytes(capacityBytes) : 'what it has'}`,
      ),
    ],
    [plain(`revision  ${report?.status.revision ?? 'none'} accepted`)],
  ];
  for (const { code, message } of report?.status.findings ?? []) lines.push([styled(`⚠ ${code}: ${message}`, 'warn')]);
  const rows = [...new Set([...desired.keys(), ...(report?.models.keys() ?? [])])].sort().flatMap((name) => {
    const wanted = desired.get(name);
    const has = report?.models.get(name);
    const goal = wanted ? versionsText(wanted.versions, wanted.primary) : 'nothing';
    const versions = has?.versions ?? [];
    if (versions.length === 0) return [[name, goal, '', 'none', '', '', '', '']];
    return versions.map((version, index) => [
      index === 0 ? name : '',
      index === 0 ? goal : '',
      `v${version.version}`,
      version.managerState,
      version.ramBytes === undefined ? '' : formatBytes(version.ramBytes),
      version.loadMs === undefined ? '' : `${Math.round(version.loadMs)} ms`,
      version.traffic === undefined ? '' : `${version.traffic.requests}, ${version.traffic.errors} failed`,
      version.error ? `${version.error.code}: ${version.error.message}` : '',
    ]);
  });
  const head = ['MODEL', 'DESIRED', 'VERSION', 'STATE', 'MEMORY', 'LOADED IN', 'REQUESTS', 'ERROR'];
  return rows.length > 0 ? [...lines, ...table(head, rows)] : lines;
}
