// The vocabulary of the fleet: hosts, what they are to have, what they report. Everything here is plain data.
import type { MetricsSnapshot } from '../manager/metrics.js';
import type { ManagerState } from '../types.js';

/** Of documents, reports and records: what is written with another number is refused, what has more fields is read. */
export const FLEET_SCHEMA = 1;

/** What a host says of itself when it joins. */
export interface HostInfo {
  readonly id: string;
  /** Failure domain. @default 'default' */
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Bytes of main memory that models may take; 0: not known, and not counted. */
  readonly capacityBytes: number;
  /** Version of this package. */
  readonly agentVersion: string;
  readonly schema: number;
}

/**
 * What one host is to have of one model: one cell of its desired document. A cell is replaced as a whole.
 *
 * Written as text by encodeCell(): at most 30 bytes for the usual case.
 */
export interface DesiredCell {
  /** Of the model, counts up with each change that any rollout makes. A host never goes back to a lower one. */
  readonly generation: number;
  /** Aspired versions, ascending. Empty: the model is removed, explicitly. */
  readonly versions: readonly number[];
  /** The version that a plain name resolves to. */
  readonly primary?: number;
  /** To be fetched to disk, and not loaded yet. */
  readonly prefetch?: number;
  /** Old and new do not fit together here: the old one goes first. */
  readonly resourcePreserving?: boolean;
  /** The versions that this generation took back as bad: what a host that saw it can testify after lost writes. */
  readonly rolledBack?: readonly number[];
  /** The model is in a rollout: report its traffic often. */
  readonly watch?: boolean;
}

/** All cells of one host. */
export interface DesiredDocument {
  /** Counts up with each write to this host's document, in jumps: it is never used again, also after lost writes. */
  readonly revision: number;
  readonly cells: ReadonlyMap<string, DesiredCell>;
}

/** One version of one model on one host, as reported. */
export interface VersionReport {
  readonly version: number;
  readonly managerState: ManagerState | 'Prefetching' | 'Prefetched';
  /** Last failure, while it matters. */
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly attempts: number;
    readonly permanent: boolean;
  };
  /** Bytes of main memory: reserved or measured, whichever is more. */
  readonly ramBytes?: number;
  /** From Loading to Available. */
  readonly loadMs?: number;
  /** Since the version was loaded on this host: requests, errors, a histogram of latency that can be merged. */
  readonly traffic?: MetricsSnapshot;
}

/** What a host reports of one model. */
export interface ModelReport {
  /** The generation that it accepted last. */
  readonly generation: number;
  /** Versions that a generation up to the accepted one rolled back, and none since asked for; see DesiredCell. At most 10. */
  readonly rolledBack?: readonly number[];
  readonly primary?: number;
  readonly versions: readonly VersionReport[];
}

/** Of the host as a whole. */
export interface HostStatus {
  /** Random, anew with each start of the agent. */
  readonly bootId: string;
  /** Counts up with each report of this boot. */
  readonly sequence: number;
  /** Revision of the document that it accepted last. */
  readonly revision: number;
  /** Of models: reserved or measured, whichever is more. */
  readonly usedBytes: number;
  /** Its own clock, in milliseconds since the epoch: for a finding of doctor, never for a decision. */
  readonly clock: number;
  /** Cells or documents that it refused: ERR_DOCUMENT_STALE, ERR_DOCUMENT_UNDECODABLE, ERR_DOCUMENT_MISSING, ... */
  readonly findings?: readonly { readonly code: string; readonly message: string }[];
}

/** The last report of a host. */
export interface HostReport {
  readonly info: HostInfo;
  readonly status: HostStatus;
  readonly models: ReadonlyMap<string, ModelReport>;
}

/** A host that the fleet knows. */
export interface FleetHost {
  /** Dense, from 0, never reused. */
  readonly index: number;
  readonly info: HostInfo;
  /** Out of rollouts until it is uncordoned: neither told nor counted. */
  readonly cordoned: boolean;
}

/** Who did it and why: of each verb and each change. */
export interface Intent {
  /** 'ops@example.com', 'ci'. */
  readonly actor: string;
  readonly reason: string;
  /** Unique per intent: the same one again changes nothing and gets the same answer. @default random */
  readonly operation: string;
}
