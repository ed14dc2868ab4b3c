// From the flags of `rollout start` to a plan. What is checked here is the form of a text; what a plan may be is checked
// where plans are made.
import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { AspiredError, messageOf } from '../errors.js';
import type { Gate, HostCount, RolloutPlanOptions, WaveSelector } from '../fleet/index.js';
import { parseBytes } from '../resources/bytes.js';
import { UsageError } from './exit-codes.js';
import { durationArgument, integerArgument } from './options.js';

/** What the flags gave; what was not given is left to the file, and then to the defaults of a plan. */
export interface PlanFlags {
  readonly plan?: string;
  readonly waves?: readonly WaveSelector[];
  readonly gate?: readonly Gate[];
  readonly maxUnavailable?: HostCount;
  readonly readyQuorum?: number;
  readonly minAlive?: number;
  readonly bake?: number;
  readonly deadline?: number;
  readonly progressDeadline?: number;
  readonly onDeadline?: 'abort' | 'freeze';
  readonly onFailure?: 'rollback' | 'freeze';
  readonly keepWarm?: 'wave' | 'rollout';
  readonly bytes?: number;
  readonly surgeBytes?: number;
  /** commander's name for --no-prefetch: true unless it was given. */
  readonly prefetch?: boolean;
  readonly force?: boolean;
}

export function addPlanOptions(command: Command): Command {
  const percent = integerArgument(0);
  return command
    .option('--plan <file>', 'a plan as JSON; flags go before what it says')
    .option('--waves <list>', "'1,10%,zone=eu-1a,label=tier:canary,hosts=a+b,100%'", wavesArgument)
    .option(
      '--gate <gate>',
      "'load', 'traffic:minRequests=50', 'webhook:https://...' (again for more), 'none'",
      gateArgument,
    )
    .option('--bake <duration>', 'how long each wave is watched after its flip', durationArgument)
    .option(
      '--max-unavailable <count>',
      "hosts of a zone that may lack the model at once: '2' or '10%'",
      hostCountArgument,
    )
    .option('--ready-quorum <percent>', "share of a wave's living hosts that must have the version", percent)
    .option('--min-alive <percent>', "share of a wave's hosts that must be alive", percent)
    .option('--deadline <duration>', 'all of it, start to end', durationArgument)
    .option('--progress-deadline <duration>', 'no host more became ready for as long', durationArgument)
    .addOption(new Option('--on-deadline <what>', 'at a deadline').choices(['abort', 'freeze']))
    .addOption(new Option('--on-failure <what>', 'when a gate fails').choices(['rollback', 'freeze']))
    .addOption(new Option('--keep-warm <what>', 'when the old version goes').choices(['wave', 'rollout']))
    .option('--bytes <size>', "what the new version takes on a host: '1.5GiB'", bytesArgument)
    .option('--surge-bytes <size>', 'what a host may take above its capacity meanwhile', bytesArgument)
    .option('--no-prefetch', 'do not fetch artefacts first')
    .option('--force', 'start although the version was rolled back as bad before');
}

/** Plan options of a command line, with those of its file. */
export async function planOptionsOf(target: string, flags: PlanFlags): Promise<RolloutPlanOptions> {
  const { plan: file, gate, prefetch, ...rest } = flags;
  const given = file === undefined ? {} : await readPlan(file);
  return {
    ...given,
    ...rest,
    ...(gate === undefined ? {} : { gates: gate }),
    ...(prefetch === false ? { prefetch } : {}),
    ...targetOf(target),
  };
}

async function readPlan(file: string): Promise<Record<string, unknown>> {
  try {
    const plan: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof plan === 'object' && plan !== null && !Array.isArray(plan)) return { ...plan };
  } catch (error) {
    throw new UsageError(`The plan ${file} cannot be read: ${messageOf(error)}`);
  }
  throw new UsageError(`The plan ${file} is no JSON object`);
}

/** 'ranker@43'. */
export function targetOf(text: string): { readonly model: string; readonly version: number } {
  const [, model, digits] = /^(.+)@(\d+)$/.exec(text) ?? [];
  const version = Number(digits);
  if (model === undefined || !Number.isSafeInteger(version)) {
    throw new UsageError(`Expected MODEL@VERSION, such as ranker@43, but received ${JSON.stringify(text)}`);
  }
  return { model, version };
}

/** '1,10%,zone=eu-1a,label=tier:canary,hosts=a+b'. */
export function wavesArgument(text: string): readonly WaveSelector[] {
  return text.split(',').map((part) => waveOf(part.trim()));
}

function waveOf(text: string): WaveSelector {
  const [, count, percent] = /^(\d+)(%)?$/.exec(text) ?? [];
  if (count !== undefined) return percent ? { percent: Number(count) } : { hosts: Number(count) };
  const [, kind, value] = /^(zone|label|hosts)=(.+)$/.exec(text) ?? [];
  if (value !== undefined) {
    if (kind === 'zone') return { zone: value };
    if (kind === 'hosts') return { hosts: value.split('+') };
    const [, key, wanted] = /^([^:]+):(.*)$/.exec(value) ?? [];
    if (key !== undefined && wanted !== undefined) return { labels: { [key]: wanted } };
  }
  throw new InvalidArgumentError(
    `Expected 3, 10%, zone=NAME, label=KEY:VALUE or hosts=A+B for a wave, but received ${JSON.stringify(text)}.`,
  );
}

/** 'load', 'traffic:minRequests=50,onInsufficientData=pass', 'webhook:https://...': one more gate; 'none' alone: no gate. */
export function gateArgument(text: string, before: readonly Gate[] = []): readonly Gate[] {
  if (text === 'none') return [];
  const [, kind, rest] = /^(load|traffic|webhook)(?::(.*))?$/s.exec(text) ?? [];
  if (kind === 'webhook' && rest) return [...before, { kind, url: rest }];
  if (kind !== 'load' && kind !== 'traffic') {
    throw new InvalidArgumentError("Expected 'load', 'traffic', 'webhook:URL' or 'none'.");
  }
  // Which options a gate has is checked with the plan, which also suggests the nearest.
  return [...before, { kind, ...settingsOf(rest) } as Gate];
}

function settingsOf(text: string | undefined): Record<string, string | number> {
  if (text === undefined || text === '') return {};
  return Object.fromEntries(
    text.split(',').map((part) => {
      const [, key, value] = /^(\w+)=(.+)$/.exec(part.trim()) ?? [];
      if (key === undefined || value === undefined) {
        throw new InvalidArgumentError(`Expected NAME=VALUE, but received ${JSON.stringify(part)}.`);
      }
      return [key, Number.isNaN(Number(value)) ? value : Number(value)];
    }),
  );
}

function hostCountArgument(text: string): HostCount {
  if (/^\d+%$/.test(text)) return text as HostCount;
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Expected a count of hosts such as 2, or a share such as '10%'.");
}

export function bytesArgument(text: string): number {
  try {
    return parseBytes('this', text);
  } catch (error) {
    if (error instanceof AspiredError) throw new InvalidArgumentError("Expected a size like '512MiB' or '1.5GiB'.");
    throw error;
  }
}
