import { harnessStates, native, Policy } from '../native/binding.js';
import { invalidOption } from '../options.js';
import type { AspiredServableStateSnapshot, AspiredVersionPolicy, ServableAction } from '../types.js';

const numberOfState = new Map<string, number>(harnessStates.map((state, number) => [state, number]));

function nextAction(policy: number, snapshots: readonly AspiredServableStateSnapshot[]): ServableAction | undefined {
  if (!Array.isArray(snapshots)) throw invalidOption('snapshots', 'an array of snapshots', snapshots);
  const states = snapshots.map((snapshot) => {
    const number = numberOfState.get(snapshot?.state);
    if (number === undefined) throw invalidOption('state', `one of ${harnessStates.join(', ')}`, snapshot?.state);
    return number;
  });
  const versions = snapshots.map((snapshot) => snapshot.id.version);
  const action = native.getNextAction(
    policy,
    versions,
    states,
    snapshots.map((s) => Boolean(s.isAspired)),
  );
  if (!action) return undefined;
  const [kind, version] = action;
  return { action: kind, id: { name: (snapshots[0] as AspiredServableStateSnapshot).id.name, version } };
}

/**
 * Never leaves a servable without a Ready version for the sake of a new one: the new version is loaded first. The price
 * is memory, old and new are resident together. Runs the native implementation.
 */
export class AvailabilityPreservingPolicy implements AspiredVersionPolicy {
  getNextAction(snapshots: readonly AspiredServableStateSnapshot[]): ServableAction | undefined {
    return nextAction(Policy.AvailabilityPreserving, snapshots);
  }
}

/**
 * Never has an un-aspired version and a new one resident together: the old version is unloaded first. The price is
 * availability, nothing is served while the new version loads. Runs the native implementation.
 */
export class ResourcePreservingPolicy implements AspiredVersionPolicy {
  getNextAction(snapshots: readonly AspiredServableStateSnapshot[]): ServableAction | undefined {
    return nextAction(Policy.ResourcePreserving, snapshots);
  }
}

/**
 * The number of a policy that the core can run by itself; undefined for any other value. A subclass is one's own policy
 * and runs in JavaScript.
 */
export function policyNumber(value: unknown): number | undefined {
  if (value === 'availability-preserving') return Policy.AvailabilityPreserving;
  if (value === 'resource-preserving') return Policy.ResourcePreserving;
  if (typeof value !== 'object' || value === null || Object.hasOwn(value, 'getNextAction')) return undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === AvailabilityPreservingPolicy.prototype) return Policy.AvailabilityPreserving;
  if (prototype === ResourcePreservingPolicy.prototype) return Policy.ResourcePreserving;
  return undefined;
}
