// The options of a plan that stand for themselves: checked, with their defaults.

import { parseDuration } from '../../duration.js';
import { AspiredError } from '../../errors.js';
import { checkBoolean, checkInteger, checkKeys, checkVersion, invalidOption } from '../../options.js';
import type { Gate } from '../gates/types.js';
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

const GATE_KEYS = {
  load: ['kind', 'maxErrors'],
  traffic: ['kind', 'minRequests', 'maxErrorRateIncrease', 'maxLatencyIncrease', 'onInsufficientData'],
  webhook: ['kind', 'url', 'when', 'timeoutMs', 'attempts'],
} as const satisfies Record<Gate['kind'], readonly string[]>;

const DEFAULT_GATES: readonly Gate[] = [{ kind: 'load' }, { kind: 'traffic' }];
/** Of a timer. */
const LONGEST_MS = 2 ** 31 - 1;

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
    gates: checkGates(given.gates ?? DEFAULT_GATES),
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

function checkGates(value: unknown): readonly Gate[] {
  if (!Array.isArray(value)) throw invalidOption('gates', 'an array', value);
  return value.map((gate: unknown, index) => checkGate(`gates[${index}]`, gate));
}

function checkGate(name: string, value: unknown): Gate {
  const kind = (value as Partial<Gate> | null | undefined)?.kind as Gate['kind'];
  const known = Object.hasOwn(GATE_KEYS, String(kind)) ? GATE_KEYS[kind] : undefined;
  if (!known) throw invalidOption(`${name}.kind`, "'load', 'traffic' or 'webhook'", kind);
  checkKeys(name, value, known);
  const gate = value as Record<string, unknown>;
  if (kind === 'load') {
    checkInteger(`${name}.maxErrors`, gate.maxErrors, 0, 0);
  } else if (kind === 'traffic') {
    checkInteger(`${name}.minRequests`, gate.minRequests, 100, 1);
    checkShare(`${name}.maxErrorRateIncrease`, gate.maxErrorRateIncrease, 0, 1);
    checkShare(`${name}.maxLatencyIncrease`, gate.maxLatencyIncrease, 1, Number.MAX_VALUE);
    checkWord(`${name}.onInsufficientData`, gate.onInsufficientData, ['hold', 'pass', 'fail']);
  } else {
    checkUrl(`${name}.url`, gate.url);
    checkWord(`${name}.when`, gate.when, ['after-bake', 'before-wave']);
    checkInteger(`${name}.timeoutMs`, gate.timeoutMs, 10_000, 1, LONGEST_MS);
    checkInteger(`${name}.attempts`, gate.attempts, 5, 1);
  }
  return structuredClone(gate) as unknown as Gate;
}

function checkShare(name: string, value: unknown, min: number, max: number): void {
  if (value === undefined || (typeof value === 'number' && value >= min && value <= max)) return;
  throw invalidOption(name, max === 1 ? `a number from ${min} to 1` : `a number >= ${min}`, value);
}

function checkUrl(name: string, value: unknown): void {
  const protocol = typeof value === 'string' && URL.canParse(value) ? new URL(value).protocol : '';
  if (protocol !== 'http:' && protocol !== 'https:') throw invalidOption(name, 'an http or https URL', value);
}
