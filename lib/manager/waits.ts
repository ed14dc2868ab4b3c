import { AspiredError } from '../errors.js';
import type { NativeStatus } from '../native/binding.js';
import { managerStates, type NativeManager, type NativeState, WaitOutcome } from '../native/binding.js';
import { checkKeys, checkName, checkSignal, checkVersion, invalidOption } from '../options.js';
import type { ManagerState, ServableId, ServableRequest } from '../types.js';

interface PendingWait {
  resolve(ids: ServableId[]): void;
  reject(error: unknown): void;
  cleanup(): void;
}

/** Waits for states. They end when the state is reached, when a version ends instead, on abort and on close. */
export class Waits {
  private readonly pending = new Map<number, PendingWait>();
  private nextWait = 1;

  constructor(
    private readonly native: () => NativeManager,
    private readonly errorOf: (status: NativeStatus | undefined, id: ServableId) => AspiredError | undefined,
  ) {}

  wait(
    requests: readonly ServableRequest[],
    goal: ManagerState,
    options: { readonly signal?: AbortSignal },
  ): Promise<ServableId[]> {
    const targets = checkRequests(requests);
    const goalNumber = managerStates.indexOf(goal);
    if (goalNumber < 0) throw invalidOption('goal', `one of ${managerStates.join(', ')}`, goal);
    checkKeys('options', options, ['signal']);
    const signal = checkSignal('signal', options.signal);
    if (signal?.aborted) return Promise.reject(signal.reason);

    const wait = this.nextWait++;
    return new Promise<ServableId[]>((resolve, reject) => {
      const onAbort = (): void => {
        this.native().cancelWait(id);
        this.end(wait)?.reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.native().ref();
      const cleanup = (): void => {
        signal?.removeEventListener('abort', onAbort);
        this.native().unref();
      };
      this.pending.set(wait, { resolve, reject, cleanup });
      const id = this.native().wait(targets, goalNumber, wait);
    });
  }

  /** The core says how the wait came out. */
  done(wait: number, [outcome, states]: readonly [number, readonly NativeState[]]): void {
    const pending = this.end(wait);
    if (!pending) return;
    if (outcome === WaitOutcome.Reached) {
      pending.resolve(states.map(([version, , , , , name]) => ({ name, version })));
    } else if (outcome === WaitOutcome.Closed) {
      pending.reject(new AspiredError('ERR_MANAGER_CLOSED', 'The manager was closed during the wait.'));
    } else {
      pending.reject(this.endedError(states));
    }
  }

  private endedError(states: readonly NativeState[]): AspiredError {
    const ended = states.filter(([, state]) => managerStates[state] === 'End');
    const [version = 0, , status, , , name = ''] = ended[0] ?? [];
    const id = { name, version };
    const cause = this.errorOf(status, id);
    const names = ended.map(([v, , , , , n]) => `${n}/${v}`).join(', ');
    const why = cause ? `: ${cause.message}` : '.';
    return new AspiredError('ERR_SERVABLE_ENDED', `${names} ended before the state that was waited for${why}`, {
      servable: id,
      ...(cause ? { cause } : {}),
    });
  }

  private end(wait: number): PendingWait | undefined {
    const pending = this.pending.get(wait);
    this.pending.delete(wait);
    pending?.cleanup();
    return pending;
  }
}

function checkRequests(requests: readonly ServableRequest[]): (readonly [string, number | undefined])[] {
  if (!Array.isArray(requests)) throw invalidOption('requests', 'an array of servable requests', requests);
  return (requests as readonly ServableRequest[]).map((request, index) => {
    if (typeof request === 'string') return [checkName(request), undefined] as const;
    checkKeys(`requests[${index}]`, request, ['name', 'version']);
    const { name, version } = request;
    const any = version === undefined || version === 'latest' || version === 'earliest';
    return [checkName(name), any ? undefined : checkVersion(`requests[${index}].version`, version)] as const;
  });
}
