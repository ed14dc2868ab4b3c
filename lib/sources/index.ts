// Where aspired versions come from, and the way from there to the manager.
export { injectErrors, mapItems, prefixPaths, type SourceAdapter } from './adapters.js';
export type { SourceClock } from './clock.js';
export type { ContentDigest } from './content-digest.js';
export type {
  FileSystemServable,
  FileSystemSourceConfig,
  FileSystemSourceOptions,
  ServableVersionPolicy,
} from './file-system-options.js';
export { type FileSystemServableStatus, FileSystemSource, type PollOptions } from './file-system-source.js';
export type { PendingVersion, VersionProblem } from './listing.js';
export { toLoaders } from './loader-stage.js';
export type { ServablePollResult } from './servable-poller.js';
export type {
  ErroredItem,
  LoaderFactory,
  SourceConnection,
  SourceItem,
  SourceTarget,
  SourceVersion,
} from './source.js';
export { DynamicSourceRouter, noRoute, type Routes, SourceRouter, StaticSourceRouter } from './source-router.js';
export { StaticSource, type StaticVersion } from './static-source.js';
