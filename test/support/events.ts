// Writes down the events of a manager and checks what holds for every run.
import assert from 'node:assert/strict';
import type { AspiredVersionsManager, EventStream, ManagerState, ServableStateEvent } from 'aspired';
import { deadline } from './deadline.js';

const ORDER: readonly ManagerState[] = ['Start', 'Loading', 'Available', 'Unloading', 'End'];

type Predicate = (event: ServableStateEvent) => boolean;

/** All events of a manager from now on. */
export class EventRecorder {
  readonly events: ServableStateEvent[] = [];
  private readonly stream: EventStream;
  private readonly reading: Promise<void>;
  private waiting: { readonly test: Predicate; readonly resolve: (event: ServableStateEvent) => void }[] = [];

  constructor(manager: AspiredVersionsManager) {
    this.stream = manager.events({ bufferSize: 1_000_000 });
    this.reading = this.read();
  }

  private async read(): Promise<void> {
    for await (const event of this.stream) {
      this.events.push(event);
      const [found, rest] = [
        this.waiting.filter(({ test }) => test(event)),
        this.waiting.filter(({ test }) => !test(event)),
      ];
      this.waiting = rest;
      for (const { resolve } of found) resolve(event);
    }
  }

  /** The first event, past or to come, that is so. */
  async first(test: Predicate, what: string): Promise<ServableStateEvent> {
    const found = this.events.find(test);
    if (found) return found;
    return deadline(new Promise<ServableStateEvent>((resolve) => this.waiting.push({ test, resolve })), what);
  }

  /** The first time that the version was in the state. */
  saw(name: string, version: number, state: ManagerState): Promise<ServableStateEvent> {
    return this.first(
      ({ id, managerState }) => id.name === name && id.version === version && managerState === state,
      `${name}/${version} ${state}`,
    );
  }

  /** The states of a version in the order in which they came, over all its incarnations. */
  statesOf(name: string, version: number): ManagerState[] {
    return this.events.filter(({ id }) => id.name === name && id.version === version).map((e) => e.managerState);
  }

  /** `name/version State` of every event. */
  lines(): string[] {
    return this.events.map(({ id, managerState }) => `${id.name}/${id.version} ${managerState}`);
  }

  /** Place of the first such event among all; -1: it did not come. */
  indexOf(name: string, version: number, state: ManagerState): number {
    return this.lines().indexOf(`${name}/${version} ${state}`);
  }

  /** Strictly forward within each incarnation, incarnations one after another, at most one End each. */
  assertForward(): void {
    const last = new Map<string, ServableStateEvent>();
    for (const event of this.events) {
      const key = `${event.id.name}/${event.id.version}`;
      const before = last.get(key);
      last.set(key, event);
      if (!before) continue;
      const text = `${key}: ${before.managerState} #${before.incarnation} -> ${event.managerState} #${event.incarnation}`;
      if (event.incarnation === before.incarnation) {
        assert.ok(ORDER.indexOf(event.managerState) > ORDER.indexOf(before.managerState), `backwards: ${text}`);
      } else {
        assert.ok(event.incarnation > before.incarnation, `an earlier incarnation: ${text}`);
        assert.equal(before.managerState, 'End', `an incarnation without End: ${text}`);
      }
    }
    assert.equal(this.stream.dropped, 0);
  }

  /** After close(): all of that, and every incarnation has its End. */
  async finish(): Promise<void> {
    await deadline(this.reading, 'the end of the events');
    this.assertForward();
    const last = new Map(this.events.map((event) => [`${event.id.name}/${event.id.version}`, event]));
    for (const [key, event] of last) assert.equal(event.managerState, 'End', `${key} has no End`);
  }
}
