// Decisions that are made in JavaScript: policies of one's own, and an order of one's own over all actions.
import { AspiredError, messageOf } from '../errors.js';
import { harnessStates, type NativeAction, type NativeManager } from '../native/binding.js';
import { describe } from '../options.js';
import type { AspiredServableStateSnapshot, AspiredVersionPolicy, HarnessState, ServableAction } from '../types.js';

export class Decisions {
  /** Servables with a policy of their own; undefined: a native one. */
  private readonly policies = new Map<string, AspiredVersionPolicy | undefined>();

  constructor(
    private readonly native: () => NativeManager,
    private readonly managerPolicy: AspiredVersionPolicy | undefined,
    private readonly compare: ((a: ServableAction, b: ServableAction) => number) | undefined,
    private readonly report: (error: AspiredError) => void,
  ) {}

  /** The servable decides by this policy from now on; undefined: by a native one that the core knows. */
  setPolicy(name: string, policy: AspiredVersionPolicy | undefined): void {
    this.policies.set(name, policy);
  }

  /** Decides about the streams, and has it done. */
  decide(names: readonly string[]): void {
    const actions: ServableAction[] = [];
    for (const name of names) {
      const policy = this.policies.has(name) ? this.policies.get(name) : this.managerPolicy;
      if (policy) {
        this.ask(name, policy, actions);
        continue;
      }
      for (const [action, , version] of this.native().collectActions(name)) {
        actions.push({ action, id: { name, version } });
      }
    }
    // One that is refused came too late: the change that overtook it brings the next decision.
    this.native().performActions(
      this.sorted(actions).map(({ action, id }): NativeAction => [action, id.name, id.version]),
    );
  }

  // Asks until the policy has nothing more to say, with the state that each answer would lead to.
  private ask(name: string, policy: AspiredVersionPolicy, actions: ServableAction[]): void {
    const snapshots = this.native()
      .getPolicySnapshots(name)
      .map(
        ([version, state, isAspired]): AspiredServableStateSnapshot => ({
          id: { name, version },
          state: harnessStates[state] as HarnessState,
          isAspired,
        }),
      );
    if (snapshots.length === 0) return;
    // Each accepted answer takes a version out of New or Ready, so this ends.
    while (true) {
      let answer: unknown;
      try {
        answer = policy.getNextAction(snapshots);
        if (answer === undefined || answer === null) return;
        actions.push(this.accept(name, answer as ServableAction, snapshots));
      } catch (thrown) {
        const error =
          thrown instanceof AspiredError
            ? thrown
            : new AspiredError('ERR_INVALID_POLICY_ACTION', `The policy of ${name} threw: ${messageOf(thrown)}`, {
                cause: thrown,
              });
        this.report(error);
        return;
      }
    }
  }

  private accept(name: string, answer: ServableAction, snapshots: AspiredServableStateSnapshot[]): ServableAction {
    const refuse = (why: string): AspiredError =>
      new AspiredError('ERR_INVALID_POLICY_ACTION', `The policy of ${name} answered ${why}.`);
    if (typeof answer !== 'object') throw refuse(`${describe(answer)}, which is no action`);
    if (answer.action !== 'load' && answer.action !== 'unload') {
      throw refuse(`the action ${describe(answer.action)} instead of 'load' or 'unload'`);
    }
    const index = snapshots.findIndex(({ id }) => id.name === answer.id?.name && id.version === answer.id?.version);
    const snapshot = snapshots[index];
    if (!snapshot) throw refuse(`an action for ${answer.id?.name}/${answer.id?.version}, which is not managed`);
    const needed = answer.action === 'load' ? 'New' : 'Ready';
    if (snapshot.state !== needed) {
      throw refuse(`to ${answer.action} version ${snapshot.id.version}, which is ${snapshot.state}, not ${needed}`);
    }
    snapshots[index] = { ...snapshot, state: answer.action === 'load' ? 'LoadRequested' : 'UnloadRequested' };
    return { action: answer.action, id: snapshot.id };
  }

  private sorted(actions: readonly ServableAction[]): readonly ServableAction[] {
    const rank = (a: ServableAction): number => (a.action === 'unload' ? 0 : 1);
    const ranked = [...actions].sort((a, b) => rank(a) - rank(b));
    const { compare } = this;
    if (!compare) return ranked;
    try {
      return [...ranked].sort((a, b) => rank(a) - rank(b) || compare(a, b) || 0);
    } catch (thrown) {
      const message = `customSortActions threw: ${messageOf(thrown)}`;
      this.report(new AspiredError('ERR_INVALID_POLICY_ACTION', message, { cause: thrown }));
      return ranked;
    }
  }
}
