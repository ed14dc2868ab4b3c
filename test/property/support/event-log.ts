// Watches that events only go forward: Start, Loading, Available, Unloading, End within one incarnation, exactly one End
// in each, and no incarnation before the earlier one has ended.
import type { AspiredVersionsManager, ServableStateEvent } from 'aspired';
import type { Journal } from './journal.js';

const RANK = { Start: 0, Loading: 1, Available: 2, Unloading: 3, End: 4 } as const;

export class EventLog {
  private readonly last = new Map<string, ServableStateEvent>();
  private readonly available = new Map<string, number>();
  readonly finished: Promise<void>;

  constructor(
    private readonly journal: Journal,
    manager: AspiredVersionsManager,
  ) {
    const stream = manager.events({ bufferSize: 1_000_000 });
    this.finished = (async () => {
      for await (const event of stream) this.accept(event);
      if (stream.dropped > 0) journal.fault(`${stream.dropped} events were dropped`);
    })();
  }

  private accept(event: ServableStateEvent): void {
    this.journal.look();
    const key = `${event.id.name}/${event.id.version}`;
    const before = this.last.get(key);
    const show = (e: ServableStateEvent | undefined): string =>
      e ? `${e.managerState} of ${e.incarnation}` : 'nothing';
    const bad = (why: string): void => this.journal.fault(`${key}: ${show(event)} after ${show(before)}: ${why}`);
    if (before && event.incarnation < before.incarnation) bad('an earlier incarnation');
    else if (before && event.incarnation === before.incarnation) {
      if (RANK[event.managerState] <= RANK[before.managerState]) bad('not forward');
    } else {
      if (before && before.managerState !== 'End') bad('the incarnation before has not ended');
      const isStart = event.managerState === 'Start' || (event.managerState === 'End' && event.error !== undefined);
      if (!isStart) bad('an incarnation begins with Start, or ends at once with an error');
    }
    if (event.managerState === 'Available') this.available.set(key, event.incarnation);
    this.last.set(key, event);
  }

  /** The Available of this incarnation was delivered, and so was everything before it. */
  sawAvailable(key: string, incarnation: number): boolean {
    return this.available.get(key) === incarnation;
  }

  checkAllEnded(): void {
    for (const [key, event] of this.last) {
      if (event.managerState !== 'End') this.journal.fault(`${key}: incarnation ${event.incarnation} never ended`);
    }
  }
}
