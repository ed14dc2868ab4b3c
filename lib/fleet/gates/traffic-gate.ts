// Error rate and p99 of a new version against hosts of the same zone that still have the old one.
//
// To fail and to pass both take proof: that the limit is exceeded, with a chance of error of 1 % at most over the whole
// wave, and that it is not, with one of 5 % for each of the two limits. What lies between is insufficient data. Both hold
// however often one looks; see error-rate.ts and latency.ts.
//
// What a zone is compared with: hosts without the new version, over the same time; where too few requests go to such
// hosts, the old version's own figures on the hosts that were flipped. Where there are none either, the absolute rule: the
// errors are held against a control group that never fails, and the latency of that zone cannot be judged. If that is so in
// all zones, the gate never passes, unless there has never been an old version.
//
// Requests are taken as independent of each other. A stall that makes a hundred of them slow at once is one event to a
// person, and a hundred to this gate.
import { type MetricsSnapshot, mergeSnapshots, quantile } from '../../manager/metrics.js';
import { deviation, evidenceOfExcess, evidenceOfNoExcess, type Stratum } from './error-rate.js';
import { checkNumber, checkWord, count, type GateKind, milliseconds, percent } from './kind.js';
import { evidenceOfSlowness, evidenceOfSpeed, type LatencyPair } from './latency.js';
import type { GateInput, GateResult, TrafficGate } from './types.js';

/**
 * Chance that a version at both limits fails: four times this, for errors and latency, and for a zone whose control group
 * gets so small on the way that it is compared with the old figures instead. In latency.ts it is needed twice.
 */
const FAIL_RISK = 0.0025;
/** Chance that a version at a limit passes. */
const PASS_RISK = 0.05;
/** Standard deviations (95 %, one-sided) at which a zone looks bad enough by itself to keep the gate from passing. */
const DOUBT = 1.645;

const DEFAULTS = {
  minRequests: 100,
  maxErrorRateIncrease: 0.01,
  maxLatencyIncrease: 1.5,
  onInsufficientData: 'hold',
} as const;

/** Error rate and latency against a control group. */
export const trafficGate: GateKind<TrafficGate> = {
  keys: ['minRequests', 'maxErrorRateIncrease', 'maxLatencyIncrease', 'onInsufficientData'],
  check: (options, where) => ({
    kind: 'traffic',
    minRequests: checkNumber(`${where}.minRequests`, options.minRequests, DEFAULTS.minRequests, {
      min: 1,
      max: 1e9,
      whole: true,
    }),
    // Neither no increase at all nor a factor of 1 can be shown by counting.
    maxErrorRateIncrease: checkNumber(
      `${where}.maxErrorRateIncrease`,
      options.maxErrorRateIncrease,
      DEFAULTS.maxErrorRateIncrease,
      { above: 0, max: 0.9 },
    ),
    maxLatencyIncrease: checkNumber(
      `${where}.maxLatencyIncrease`,
      options.maxLatencyIncrease,
      DEFAULTS.maxLatencyIncrease,
      { above: 1, max: 1e6 },
    ),
    onInsufficientData: checkWord(`${where}.onInsufficientData`, options.onInsufficientData, ['hold', 'pass', 'fail']),
  }),
  judge(gate, input) {
    const limits = { ...DEFAULTS, ...gate };
    const broken = brokenZone(input);
    if (broken !== undefined) {
      const message = `What was counted in zone ${broken} makes no sense: negative, or more errors than requests.`;
      return { verdict: 'insufficient-data', message };
    }
    const zones = compare(input, limits.minRequests);
    return judgeZones(zones, limits, input.first === true);
  },
};

interface Zone {
  readonly name: string;
  readonly current: MetricsSnapshot;
  readonly control: MetricsSnapshot | undefined;
}

/** Each zone where the new version had requests, with what it is compared with. */
function compare({ canary, control, before, first }: GateInput, minRequests: number): Zone[] {
  const zones: Zone[] = [];
  for (const [name, current] of canary) {
    if (current.requests === 0) continue;
    const beside = control.get(name);
    const earlier = before?.get(name);
    const isEnough = beside !== undefined && beside.requests >= minRequests;
    const chosen = isEnough || (beside?.requests ?? 0) >= (earlier?.requests ?? 0) ? beside : earlier;
    zones.push({ name, current, control: first || !chosen?.requests ? undefined : chosen });
  }
  return zones;
}

type Limits = Required<Pick<TrafficGate, 'minRequests' | 'maxErrorRateIncrease' | 'maxLatencyIncrease'>>;

function judgeZones(zones: readonly Zone[], limits: Limits, first: boolean): GateResult {
  const { minRequests, maxErrorRateIncrease: margin, maxLatencyIncrease: factor } = limits;
  const strata = zones.map(toStratum);
  const pairs = zones.flatMap(({ current, control }): LatencyPair[] => (control ? [{ current, control }] : []));
  const figures = figuresOf(zones, strata);
  const answer = (verdict: GateResult['verdict'], text: string): GateResult => ({ verdict, message: text, figures });
  const { requests, controlRequests } = figures;

  const errors = errorText(figures, first || pairs.length === 0, margin);
  if (evidenceOfExcess(strata, margin) >= Math.log(1 / FAIL_RISK)) return answer('fail', `${errors}.`);
  const latency = latencyText(figures, pairs.length, factor, first);
  if (evidenceOfSlowness(pairs, factor, FAIL_RISK / 2) >= Math.log(2 / FAIL_RISK)) return answer('fail', `${latency}.`);

  if (requests < minRequests) {
    return answer(
      'insufficient-data',
      `The new version had ${count(requests)} requests, ${count(minRequests)} are needed.`,
    );
  }
  if (!first && pairs.length === 0) return answer('insufficient-data', `${errors}; ${latency}.`);
  if (!first && controlRequests < minRequests) {
    const text = `There are ${count(controlRequests)} requests to compare with, ${count(minRequests)} are needed.`;
    return answer('insufficient-data', text);
  }
  const doubtful = zones.filter((_, i) => deviation(strata[i] as Stratum, margin) >= DOUBT).map(({ name }) => name);
  if (doubtful.length > 0) {
    const where = `zone${doubtful.length === 1 ? '' : 's'} ${doubtful.join(', ')}`;
    return answer('insufficient-data', `${errors}; it looks worse in ${where}, which is not certain yet.`);
  }
  const unsure = [];
  if (evidenceOfNoExcess(strata, margin) < Math.log(1 / PASS_RISK)) unsure.push('errors');
  if (pairs.length > 0 && evidenceOfSpeed(pairs, factor, PASS_RISK / 2) < Math.log(2 / PASS_RISK)) {
    unsure.push('latency');
  }
  if (unsure.length === 0) return answer('pass', `${errors}; ${latency}.`);
  return answer('insufficient-data', `${errors}; ${latency}: too few to be sure of ${unsure.join(' and ')}.`);
}

function toStratum({ current, control }: Zone): Stratum {
  const { requests, errors } = current;
  if (!control) return { requests, errors };
  return { requests, errors, control: { requests: control.requests, errors: control.errors } };
}

type Figures = ReturnType<typeof figuresOf>;

// The control group's rate is that of its zones, weighted with the traffic of the new version: an increase in a zone that
// got more of it than others is no increase of the version.
function figuresOf(zones: readonly Zone[], strata: readonly Stratum[]) {
  const current = mergeSnapshots(zones.map((zone) => zone.current));
  const control = mergeSnapshots(zones.flatMap((zone) => zone.control ?? []));
  const weight = (sum: number, { requests, control: group }: Stratum): number =>
    sum + (group && group.requests > 0 ? (requests * group.errors) / group.requests : 0);
  const p99 = quantile(current, 0.99);
  const controlP99 = quantile(control, 0.99);
  return {
    requests: current.requests,
    errors: current.errors,
    errorRate: current.requests === 0 ? 0 : current.errors / current.requests,
    controlRequests: control.requests,
    controlErrors: control.errors,
    controlErrorRate: current.requests === 0 ? 0 : strata.reduce(weight, 0) / current.requests,
    p99,
    controlP99,
    latencyRatio: controlP99 === 0 ? 0 : p99 / controlP99,
  };
}

function errorText(figures: Figures, isAbsolute: boolean, margin: number): string {
  const { requests, errors, errorRate, controlErrorRate, controlRequests } = figures;
  const rate = `${count(errors)} of ${count(requests)} requests failed (${percent(errorRate)}`;
  if (isAbsolute) return `${rate}; at most ${percent(margin)} may, for there is no control group)`;
  const control = `${percent(controlErrorRate)} of ${count(controlRequests)} in the control group`;
  return `${rate}, ${control}; at most ${percent(margin)} of all requests more may)`;
}

function latencyText({ p99, controlP99 }: Figures, pairs: number, factor: number, first: boolean): string {
  if (first) return `p99 is ${milliseconds(p99)}, there is no earlier version to compare it with`;
  if (pairs === 0) return `p99 is ${milliseconds(p99)}, which cannot be judged without a control group`;
  const control = `${milliseconds(controlP99)} in the control group`;
  return `p99 is ${milliseconds(p99)}, ${control} (at most ${factor} times that is allowed)`;
}

function brokenZone({ canary, control, before = new Map() }: GateInput): string | undefined {
  for (const zones of [canary, control, before]) {
    for (const [name, { requests, errors, counts }] of zones) {
      // Comparisons with NaN are false.
      const isSound = errors >= 0 && requests >= errors && Number.isFinite(requests);
      if (!isSound || !counts.every((n: number) => n >= 0 && Number.isFinite(n))) return name;
    }
  }
  return undefined;
}
