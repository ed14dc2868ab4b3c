/**
 * aspired/fleet: rollouts over many hosts, through Redis and BullMQ.
 * @packageDocumentation
 */
export { type AgentStatus, FleetAgent } from './agent/fleet-agent.js';
export type { AgentStoreOption, FleetAgentOptions, FleetLoaderFactory, FleetPrefetch } from './agent/options.js';
export type { AgentState } from './agent/session.js';
export { FleetClient, type VerbDone } from './controller/fleet-client.js';
export { type ControllerStatus, FleetController } from './controller/fleet-controller.js';
export type { IntentOptions } from './controller/intent.js';
export type { HostView, RolloutView } from './controller/inventory.js';
export type { Notification } from './controller/notifier.js';
export type {
  FleetClientOptions,
  FleetConnectionOptions,
  FleetControllerOptions,
  StoreChoice,
} from './controller/options.js';
export { type PlannedStart, PlannedStarts } from './controller/planned-starts.js';
export type { RestoreOptions } from './controller/restore.js';
export { examine, type Finding } from './doctor.js';
export type * from './gates/types.js';
export type * from './rollout/types.js';
export { MAX_WRITES, SEEN, TOLD } from './rollout/types.js';
export { RedisStore, type RedisStoreOptions } from './store/redis-store.js';
export type * from './store/types.js';
export type * from './types.js';
export { FLEET_SCHEMA } from './types.js';
