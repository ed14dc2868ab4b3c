// A manager for one test: events are checked, close() is checked, and the crank is turned where there is no thread.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  AspiredError,
  AspiredVersionsManager,
  type AspiredVersionsManagerOptions,
  type ServableRequest,
  type Transition,
  type TransitionResult,
} from 'aspired';
import { deadline } from './deadline.js';
import { EventRecorder } from './events.js';

/** Numbers of load and unload threads, as TensorFlow Serving's own tests vary them. */
export const THREAD_SHAPES = [
  [0, 0],
  [2, 0],
  [0, 2],
  [4, 4],
] as const;

export interface TestManagerOptions extends AspiredVersionsManagerOptions {
  /** Versions that close() may have to abandon: true when the test leaves some. */
  readonly abandons?: boolean;
}

/** A manager, its events, and a way to wait that turns the crank if nobody else does. */
export class TestManager {
  readonly manager: AspiredVersionsManager;
  readonly events: EventRecorder;
  /** What onError was told. */
  readonly errors: AspiredError[] = [];
  readonly steps: boolean;

  constructor(t: TestContext, options: TestManagerOptions = {}) {
    const { abandons = false, ...rest } = options;
    this.steps = rest.manageStateIntervalMs === 0;
    this.manager = new AspiredVersionsManager({
      onError: (error) => void this.errors.push(error),
      slowRetryIntervalMs: 3_600_000,
      ...rest,
    });
    this.events = new EventRecorder(this.manager);
    t.after(async () => {
      const { abandoned } = await deadline(this.manager.close({ drainTimeoutMs: abandons ? 0 : 10_000 }), 'close()');
      if (!abandons) assert.deepEqual(abandoned, [], 'close() abandoned something');
      await this.events.finish();
    });
  }

  /** `promise`, with a deadline, while the crank is turned. */
  async until<T>(promise: PromiseLike<T>, what: string): Promise<T> {
    if (!this.steps) {
      const result = await deadline(promise, what);
      await nextTurn(); // the recorder reads what came before
      return result;
    }
    let pending = true;
    const done = (): void => {
      pending = false;
    };
    promise.then(done, done);
    const crank = async (): Promise<void> => {
      while (pending && !this.isClosed) {
        this.manager.step();
        await nextTurn();
      }
    };
    const cranking = crank();
    try {
      return await deadline(promise, what);
    } finally {
      pending = false;
      await cranking;
    }
  }

  private get isClosed(): boolean {
    try {
      this.manager.listServableNames();
      return false;
    } catch {
      return true;
    }
  }

  settled(transition: Transition): Promise<TransitionResult> {
    return this.until(transition.settled, `the transition of ${transition.name}`);
  }

  /** Sets the list and waits until it has settled. */
  aspire(...list: Parameters<AspiredVersionsManager['setAspiredVersions']>): Promise<TransitionResult> {
    return this.settled(this.manager.setAspiredVersions(...list));
  }

  /** Waits until the version is in the state, by its events. */
  saw(...what: Parameters<EventRecorder['saw']>): ReturnType<EventRecorder['saw']> {
    return this.until(this.events.saw(...what), what.join(' '));
  }

  /** 'name/version' of what the request resolves to, or the code of the error. */
  resolve(request: ServableRequest): string {
    try {
      using handle = this.manager.getServableHandle(request);
      return `${handle.id.name}/${handle.id.version}`;
    } catch (error) {
      assert.ok(error instanceof AspiredError);
      return error.code;
    }
  }

  /** 'name/version' of all that is available, in order. */
  available(): string[] {
    return this.manager
      .listAvailableServableIds()
      .map(({ name, version }) => `${name}/${version}`)
      .sort();
  }
}

/** Checks code and, where given, status of an AspiredError. */
export function coded(code: string, status?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AspiredError, String(error));
    assert.equal(error.code, code, error.message);
    if (status !== undefined) assert.equal(error.status, status);
    return true;
  };
}
