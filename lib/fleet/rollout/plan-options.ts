// The options of a plan that stand for themselves: checked, with their defaults.

import { parseDuration } from '../../duration.js';
import { AspiredError } from '../../errors.js';
import { checkBoolean, checkInteger, checkKeys, checkVersion, invalidOption } from '../../options.js';
import { checkGates } from '../gates/index.js';
import { checkFleetName } from '../names.js';
import type { HostCount, RolloutPlan, RolloutPlanOptions } from './types.js';

const KEYS = [
  'model',
  'version',
  'waves',
  'maxUnavailable',
  'readyQuorum',
  'minAlive',
  'bake',
  'gates',
  'deadline',
  'progressDeadline',
  'onDeadline',
  'onFailure',
  'bytes',
  'surgeBytes',
  'prefetch',
  'keepWarm',
  'force',
] as const satisfies readonly (keyof RolloutPlanOptions)[];

/** What of a plan does not depend on the fleet. */
export type PlanSettings = Omit<RolloutPlan, 'hosts' | 'zoneOf' | 'zones' | 'waveOf' | 'waves'>;

/**
 * The settings of a plan, with defaults.
 *
 * @throws AspiredError ERR_UNKNOWN_OPTION, ERR_INVALID_ARGUMENT, ERR_FLEET_INVALID_NAME, ERR_INVALID_VERSION, ERR_PLAN_INVALID
 */
export function planSettings(options: unknown): PlanSettings {
  checkKeys('the plan', options, KEYS);
  const given = options as Partial<RolloutPlanOptions>;
  const settings: PlanSettings = {
    model: checkFleetName('the model', given.model),
    version: checkVersion('version', given.version),
    maxUnavailable: checkHostCount('maxUnavailable', given.maxUnavailable ?? '10%'),
    readyQuorum: checkPercent('readyQuorum', given.readyQuorum ?? 100, 1),
    minAlive: checkPercent('minAlive', given.minAlive ?? 80, 0),
    bakeMs: parseDuration('bake', given.bake ?? '1m'),
    gates: checkGates(given.gates),
    deadlineMs: parseDuration('deadline', given.deadline ?? '1h', 1),
    progressDeadlineMs: parseDuration('progressDeadline', given.progressDeadline ?? '10m', 1),
    onDeadline: checkWord('onDeadline', given.onDeadline, ['abort', 'freeze']),
    onFailure: checkWord('onFailure', given.onFailure, ['rollback', 'freeze']),
    bytes: checkInteger('bytes', given.bytes, 0, 0),
    surgeBytes: checkInteger('surgeBytes', given.surgeBytes, 0, 0),
    prefetch: checkBoolean('prefetch', given.prefetch, true),
    keepWarm: checkWord('keepWarm', given.keepWarm, ['rollout', 'wave']),
  };
  checkBoolean('force', given.force, false);
  if (settings.bakeMs >= settings.deadlineMs) {
    throw new AspiredError(
      'ERR_PLAN_INVALID',
      `The bake of one wave (${settings.bakeMs} ms) does not fit into the deadline of the rollout (${settings.deadlineMs} ms).`,
    );
  }
  return settings;
}

/** The first of the words is the default. */
function checkWord<W extends string>(name: string, value: unknown, words: readonly [W, ...W[]]): W {
  if (value === undefined) return words[0];
  const found = words.find((word) => word === value);
  if (found === undefined) throw invalidOption(name, words.map((word) => `'${word}'`).join(' or '), value);
  return found;
}

function checkPercent(name: string, value: unknown, min: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= 100)) {
    throw invalidOption(name, `a percentage from ${min} to 100, without a sign`, value);
  }
  return value;
}

function checkHostCount(name: string, value: unknown): HostCount {
  if (typeof value === 'string') {
    const percent = /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(value);
    if (percent && Number(percent[1]) <= 100) return value as HostCount;
  } else if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalidOption(name, "a number of hosts or a percentage such as '10%'", value);
}
