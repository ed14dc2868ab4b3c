// Options that several commands have, and how their texts are read.

import { randomUUID } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../duration.js';
import { AspiredError } from '../errors.js';
import type { Intent } from '../fleet/index.js';
import { UsageError } from './exit-codes.js';
import { type CliIo, type FleetAddress, type Printing, wantsColor } from './io.js';

export const DEFAULT_REDIS = 'redis://127.0.0.1:6379';
export const DEFAULT_FLEET = 'default';

/** Options that every command of the fleet takes. */
export interface GlobalOptions {
  readonly redis?: string;
  readonly fleet?: string;
  readonly minReplicas?: number;
  readonly output: 'text' | 'json';
  readonly color: boolean;
}

/** Options of commands that change something. */
export interface IntentOptions {
  readonly reason?: string;
  readonly actor?: string;
  readonly operation?: string;
}

/** Adds them; commander finds them before and after the name of a command. */
export function addGlobalOptions(command: Command): Command {
  return command
    .option('--redis <url>', `where the fleet's Redis is (ASPIRED_REDIS; default ${DEFAULT_REDIS})`)
    .option('--fleet <name>', `which fleet (ASPIRED_FLEET; default ${DEFAULT_FLEET})`)
    .option(
      '--min-replicas <n>',
      'replicas that must have a write before a rollout goes forward (ASPIRED_MIN_REPLICAS; default 0)',
      integerArgument(0),
    )
    .addOption(new Option('--output <form>', 'how to print').choices(['text', 'json']).default('text'))
    .option('--no-color', 'no colour on a terminal (NO_COLOR)');
}

export function addIntentOptions(command: Command, operation = 'default random'): Command {
  return command
    .option('--reason <text>', 'why, for the audit trail (required)')
    .option('--actor <name>', 'who, for the audit trail (ASPIRED_ACTOR; default the user)')
    .option(
      '--operation <id>',
      `unique id: the same one again changes nothing and gets the same answer (${operation})`,
    );
}

/** @throws UsageError when ASPIRED_MIN_REPLICAS is no number. */
export function addressOf({ redis, fleet, minReplicas }: GlobalOptions, { env }: CliIo): FleetAddress {
  const replicas = minReplicas ?? replicasOf(env.ASPIRED_MIN_REPLICAS);
  return {
    redis: redis ?? (env.ASPIRED_REDIS || DEFAULT_REDIS),
    fleet: fleet ?? (env.ASPIRED_FLEET || DEFAULT_FLEET),
    ...(replicas === undefined ? {} : { minReplicas: replicas }),
  };
}

function replicasOf(text: string | undefined): number | undefined {
  if (!text) return undefined;
  try {
    return integerArgument(0)(text);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new UsageError(`ASPIRED_MIN_REPLICAS is ${JSON.stringify(text)}. ${error.message}`);
  }
}

export function printingOf({ output, color }: GlobalOptions, io: CliIo): Printing {
  return { json: output === 'json', color: wantsColor(io, color) };
}

/** @throws UsageError without a reason, or when nobody can be named. */
export function intentOf({ reason, actor, operation }: IntentOptions, io: CliIo): Intent {
  const why = reason?.trim();
  if (!why) throw new UsageError('Say why, for the audit trail: --reason "..."');
  const who = (actor ?? (io.env.ASPIRED_ACTOR || io.user()))?.trim();
  if (!who) throw new UsageError('Say who you are: --actor NAME, or ASPIRED_ACTOR');
  return { reason: why, actor: who, operation: operation ?? randomUUID() };
}

/** '30m' or '90s' as milliseconds, for commander. */
export function durationArgument(text: string): number {
  try {
    return parseDuration('this', text);
  } catch (error) {
    if (error instanceof AspiredError) throw new InvalidArgumentError("Expected a duration like '90s', '30m' or '2h'.");
    throw error;
  }
}

/** An integer of at least `min`, for commander. */
export function integerArgument(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`Expected an integer >= ${min}.`);
    }
    return value;
  };
}

/** 'key=value', given once or more often, for commander. */
export function labelArgument(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError('Expected key=value.');
  return { ...before, [key]: value };
}
