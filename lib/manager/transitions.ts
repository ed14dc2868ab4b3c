import type { AspiredError } from '../errors.js';
import type { NativeStatus } from '../native/binding.js';
import { managerStates, type NativeManager, type NativeTransitionResult } from '../native/binding.js';
import type { ManagerState, ServableId, Transition, TransitionResult } from '../types.js';

/** A transition whose promise is made when it is first asked for, and keeps the process alive from then on. */
class PendingTransition implements Transition {
  readonly name: string;
  private readonly owner: Transitions;
  private result: TransitionResult | undefined = undefined;
  private promise: Promise<TransitionResult> | undefined = undefined;
  private resolve: ((result: TransitionResult) => void) | undefined = undefined;

  constructor(name: string, owner: Transitions) {
    this.name = name;
    this.owner = owner;
  }

  get settled(): Promise<TransitionResult> {
    if (!this.promise) {
      const result = this.result;
      if (result) {
        this.promise = Promise.resolve(result);
      } else {
        this.owner.native().ref();
        this.promise = new Promise((resolve) => {
          this.resolve = resolve;
        });
      }
    }
    return this.promise;
  }

  settle(result: TransitionResult): void {
    this.result = result;
    if (!this.resolve) return;
    this.owner.native().unref();
    this.resolve(result);
  }
}

/** The transitions of one manager that have not settled. */
export class Transitions {
  private readonly pending = new Map<number, PendingTransition>();

  constructor(
    readonly native: () => NativeManager,
    private readonly errorOf: (status: NativeStatus | undefined, id: ServableId) => AspiredError | undefined,
  ) {}

  add(id: number, name: string): Transition {
    const transition = new PendingTransition(name, this);
    this.pending.set(id, transition);
    return transition;
  }

  settle(id: number, [name, superseded, versions]: NativeTransitionResult): void {
    const transition = this.pending.get(id);
    this.pending.delete(id);
    transition?.settle({
      name,
      superseded,
      versions: versions.map(([version, state, status]) => {
        const error = this.errorOf(status, { name, version });
        const managerState = managerStates[state] as ManagerState;
        return error ? { version, managerState, error } : { version, managerState };
      }),
    });
  }
}
