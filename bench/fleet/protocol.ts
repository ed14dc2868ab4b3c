// What a trial and its host processes say to each other.

/** Which hosts a process has: host-<from> to host-<from + count - 1>. */
export interface HostsStart {
  readonly url: string;
  readonly fleet: string;
  readonly from: number;
  readonly count: number;
  /** Of these the first so many have a real manager and traffic; the others have a stub. */
  readonly real: number;
  readonly heartbeatIntervalMs: number;
  readonly stateDir: string;
}

/** A change to be waited for. `epoch` is process.hrtime.bigint() as text: the clock of all processes of a machine. */
export interface Expect {
  readonly model: string;
  readonly version: number;
  readonly epoch: string;
}

export interface TrafficCount {
  readonly requests: number;
  readonly failures: number;
  /** Messages of the first failures. */
  readonly examples: readonly string[];
}

/** Each request, by name, with what it takes and what comes back. */
export interface Requests {
  /** Starts agents, and waits until all have joined. */
  start: { take: HostsStart; give: null };
  /** Starts hosts that report nothing instead. */
  startLight: { take: HostsStart; give: null };
  /** Starts a BullMQ worker per host instead. */
  startQueues: { take: HostsStart; give: null };
  /** Milliseconds from the epoch to the moment when each host had accepted the version and acted on it. */
  expect: { take: Expect; give: readonly number[] };
  /** Processor time of the process so far, in microseconds. */
  cpu: { take: null; give: number };
  /** Begins to send requests to the hosts with a real manager: every 10 ms one to each. */
  traffic: { take: { readonly model: string }; give: null };
  counted: { take: null; give: TrafficCount };
  close: { take: null; give: null };
}

/** How hosts are started. */
export type HostKind = 'start' | 'startLight' | 'startQueues';
export type RequestName = keyof Requests;
export type RequestMessage = { readonly id: number; readonly name: RequestName; readonly take: unknown };
export type AnswerMessage = { readonly id: number; readonly give?: unknown; readonly error?: string };

/** Zones of the fleet. */
export const ZONES = 3;

/** `host-00042` */
export function hostId(index: number): string {
  return `host-${String(index).padStart(5, '0')}`;
}

/** Prefix and queue of a host, in the comparison with a queue per host. */
export const QUEUE_PREFIX = '{bench}';
/** The desired document of a host there. */
export function queueDocument(host: string): string {
  return `${QUEUE_PREFIX}:document:${host}`;
}
