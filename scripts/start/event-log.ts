import type { AspiredVersionsManager, ManagerState, ServableStateEvent } from 'aspired';

/** An event, with its time as of performance.now(). */
export interface LoggedEvent {
  readonly at: number;
  readonly event: ServableStateEvent;
}

/** Keeps every event of a manager and lets the scenario wait for one. */
export class EventLog {
  readonly events: LoggedEvent[] = [];
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #reading: Promise<void>;

  constructor(manager: AspiredVersionsManager) {
    this.#reading = this.#read(manager);
  }

  /** Number of the first event by which `name/version` became `state`, from event number `from` on; -1 if none. */
  indexOf(name: string, version: number, state: ManagerState, from: number): number {
    return this.events.findIndex(
      ({ event: { id, managerState } }, i) =>
        i >= from && id.name === name && id.version === version && managerState === state,
    );
  }

  /** The event that {@link indexOf} finds. */
  find(name: string, version: number, state: ManagerState, from: number): LoggedEvent | undefined {
    return this.events[this.indexOf(name, version, state, from)];
  }

  /** Resolves with what {@link find} finds, as soon as it finds something; rejects when the signal fires first. */
  reached(name: string, version: number, state: ManagerState, from: number, signal: AbortSignal): Promise<LoggedEvent> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#listeners.delete(look);
        signal.removeEventListener('abort', giveUp);
      };
      const look = (): void => {
        const found = this.find(name, version, state, from);
        if (!found) return;
        done();
        resolve(found);
      };
      const giveUp = (): void => {
        done();
        reject(new Error(`${name}/${version} did not become ${state} in time`));
      };
      signal.addEventListener('abort', giveUp);
      this.#listeners.add(look);
      if (signal.aborted) giveUp();
      else look();
    });
  }

  /** Stops listening. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }

  async #read(manager: AspiredVersionsManager): Promise<void> {
    try {
      for await (const event of manager.events({ signal: this.#stop.signal })) {
        this.events.push({ at: event.at - performance.timeOrigin, event });
        for (const listener of [...this.#listeners]) listener();
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }
}
