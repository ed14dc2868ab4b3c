import type { ManagerState, ServableStateEvent } from 'aspired';
import type { LoggedEvent } from './event-log.js';
import type { StepResult } from './measured-step.js';
import type { RequestLog } from './request-log.js';

/** A stretch of time in which a version was in one state. Times are milliseconds from the start of the timeline. */
export interface Span {
  readonly state: Exclude<ManagerState, 'End'>;
  readonly from: number;
  readonly to: number;
  /** The incarnation ended here, and not because it was done with. */
  readonly broken?: 'failed' | 'cancelled';
}

/** One version over time. */
export interface Lane {
  readonly name: string;
  readonly version: number;
  readonly spans: readonly Span[];
}

/** A bucket of the traffic curves. */
export interface TrafficPoint {
  readonly at: number;
  /** Answers per second, by version. */
  readonly rate: ReadonlyMap<number, number>;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
  readonly right: number;
}

/** Everything that the picture shows. */
export interface Timeline {
  readonly title: string;
  readonly subtitle: string;
  readonly lengthMs: number;
  readonly lanes: readonly Lane[];
  readonly traffic: readonly TrafficPoint[];
  readonly bucketMs: number;
  readonly steps: readonly StepResult[];
  /** Turns a time as of performance.now() into one of the timeline. */
  readonly origin: number;
}

/** Width of a bucket of the traffic curves. */
export const BUCKET_MS = 100;

/** Puts the record of a run together. */
export function makeTimeline(
  record: {
    events: readonly LoggedEvent[];
    requests: RequestLog;
    steps: readonly StepResult[];
    from: number;
    to: number;
  },
  text: { title: string; subtitle: string },
): Timeline {
  const { events, requests, steps, from, to } = record;
  const lengthMs = Math.floor((to - from) / BUCKET_MS) * BUCKET_MS;
  const buckets = requests.buckets(from, from + lengthMs, BUCKET_MS);
  return {
    ...text,
    lengthMs,
    lanes: makeLanes(events, from, lengthMs),
    traffic: buckets.map((bucket, i) => ({
      at: (i + 0.5) * BUCKET_MS,
      rate: new Map([...bucket.byVersion].map(([version, count]) => [version, (count * 1000) / BUCKET_MS])),
      failed: bucket.failed,
      p50: bucket.p50,
      p99: bucket.p99,
      right: bucket.right,
    })),
    bucketMs: BUCKET_MS,
    steps,
    origin: from,
  };
}

function makeLanes(events: readonly LoggedEvent[], origin: number, lengthMs: number): readonly Lane[] {
  const lanes = new Map<
    string,
    { name: string; version: number; spans: Span[]; open?: { state: Span['state']; from: number } }
  >();
  for (const { at, event } of events) {
    const { name, version } = event.id;
    const key = `${name}/${version}`;
    const lane = lanes.get(key) ?? { name, version, spans: [] };
    lanes.set(key, lane);
    const time = Math.min(Math.max(0, at - origin), lengthMs);
    if (lane.open) lane.spans.push({ ...lane.open, to: time, ...howItBroke(event) });
    delete lane.open;
    if (event.managerState !== 'End') lane.open = { state: event.managerState, from: time };
  }
  for (const lane of lanes.values()) {
    if (lane.open) lane.spans.push({ ...lane.open, to: lengthMs });
  }
  return [...lanes.values()]
    .sort((a, b) => (a.name === b.name ? a.version - b.version : a.name < b.name ? -1 : 1))
    .map(({ name, version, spans }) => ({
      name,
      version,
      spans: spans.filter(({ from, to }) => to > 0 && from < lengthMs),
    }));
}

function howItBroke({ managerState, error }: ServableStateEvent): Pick<Span, 'broken'> {
  if (managerState !== 'End' || error === undefined) return {};
  return { broken: error.status === 'CANCELLED' ? 'cancelled' : 'failed' };
}
