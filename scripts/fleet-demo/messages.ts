// What the demonstration and its host processes say to each other.

/** What a host process is told when it starts. */
export interface HostTask {
  readonly fleet: string;
  readonly redis: string;
  readonly id: string;
  readonly zone: string;
  /** Directory of models, <name>/<version>/model.onnx. */
  readonly models: string;
  readonly stateDir: string;
  readonly model: string;
  /** Requests per second. */
  readonly rate: number;
}

/** What a controller process is told when it starts. */
export interface ControllerTask {
  readonly fleet: string;
  readonly redis: string;
}

/** Requests of one version on one host since it began. */
export interface VersionCount {
  readonly version: number;
  readonly answered: number;
  readonly failed: number;
}

/** What a host counted by itself: nothing of it comes through Redis. */
export interface HostCount {
  readonly versions: readonly VersionCount[];
  /** Requests that reached no version at all. */
  readonly lost: number;
  /** The first failure that was not one of a version's own, for people. */
  readonly firstLost?: string;
  /** The version that gave the latest answer. */
  readonly latest?: number;
  /** Versions that are loaded, being loaded or being unloaded. */
  readonly resident: readonly number[];
}

/** From the demonstration to a process. */
export type Command = { readonly do: 'count'; readonly id: number } | { readonly do: 'stop' };

/** From a process to the demonstration. */
export type Message =
  | { readonly said: 'ready' }
  | { readonly said: 'count'; readonly id: number; readonly count: HostCount }
  | { readonly said: 'error'; readonly message: string };
