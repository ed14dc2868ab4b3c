// Gates: what must hold before a wave counts as good. One interface, whoever judges.
import type { MetricsSnapshot } from '../../manager/metrics.js';

/** Errors of loads in the waves so far. */
export interface LoadGate {
  readonly kind: 'load';
  /** More hosts than this with a failed new version fail the gate; a permanent failure on one does. @default 0 */
  readonly maxErrors?: number;
}

/**
 * Error rate and latency of the new version, against hosts of the same zones that are not updated yet, in the same
 * minutes. Where there is none left (the last wave), against the old version's figures before the flip.
 *
 * It passes when it is shown, with 95 %, that neither limit is exceeded: mostly after one to five thousand requests, more
 * where the margin is small beside the usual error rate. It fails when it is shown, with 99 % over the whole wave, that one
 * is: 50 % errors take about twenty requests, 5 % some hundred, 2 % some thousand.
 */
export interface TrafficGate {
  readonly kind: 'traffic';
  /** Requests of the new version before it can pass. @default 100 */
  readonly minRequests?: number;
  /** By how much the error rate may exceed that of the control group, as a share of all requests. @default 0.01 */
  readonly maxErrorRateIncrease?: number;
  /** By how much p99 may exceed that of the control group, as a factor. @default 1.5 */
  readonly maxLatencyIncrease?: number;
  /** What happens when the bake is over and the data is not enough. @default 'hold' */
  readonly onInsufficientData?: 'hold' | 'pass' | 'fail';
}

/** POSTs { rollout, model, version, wave, phase } as JSON; the answer is { verdict: 'pass' | 'fail' | 'insufficient-data', message? }. */
export interface WebhookGate {
  readonly kind: 'webhook';
  readonly url: string;
  /** Before anything of the wave is touched, or after its bake. @default 'after-bake' */
  readonly when?: 'before-wave' | 'after-bake';
  /** Per attempt. @default 10_000 */
  readonly timeoutMs?: number;
  /** @default 5 */
  readonly attempts?: number;
}

export type Gate = LoadGate | TrafficGate | WebhookGate;

export type Verdict = 'pass' | 'fail' | 'insufficient-data';

export interface GateResult {
  readonly verdict: Verdict;
  /** One sentence with the figures. */
  readonly message: string;
  /** For machines: what was compared. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** What a gate that judges by itself is given. Traffic is what was counted since the wave flipped. */
export interface GateInput {
  /** Of hosts that were flipped, summed by zone. */
  readonly canary: ReadonlyMap<string, MetricsSnapshot>;
  /** Of hosts that were not, same zones, old version, same time. */
  readonly control: ReadonlyMap<string, MetricsSnapshot>;
  /**
   * Of hosts that were flipped, by zone: everything that their old version has counted. Stands in for the control group
   * of a zone that has too few hosts left: without it the last wave of a rollout has nothing to be compared with.
   */
  readonly before?: ReadonlyMap<string, MetricsSnapshot>;
  /**
   * True: the model had no version before, so there is nothing to compare with, for good. Then the errors alone decide,
   * held against a control group that never fails.
   * @default false
   */
  readonly first?: boolean;
  /** Hosts with a failed new version, and those whose failure is permanent. */
  readonly loadErrors: readonly { readonly host: string; readonly message: string; readonly permanent: boolean }[];
}

/** What a webhook is told, as JSON. */
export interface GateCall {
  readonly rollout: string;
  readonly model: string;
  readonly version: number;
  /** From 0. */
  readonly wave: number;
  readonly phase: 'before-wave' | 'after-bake';
  /** The same for each attempt at one answer, and for no other: sent as the header Idempotency-Key, not in the body. */
  readonly key: string;
}
