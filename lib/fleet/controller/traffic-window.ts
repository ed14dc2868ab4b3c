// What the hosts of a rollout served since the current wave flipped, from counters that run since a version was loaded.
import { type MetricsSnapshot, mergeSnapshots, NO_METRICS, since } from '../../manager/metrics.js';

/** The counters of one version on one host at one moment. */
export interface TrafficSample {
  readonly host: string;
  readonly zone: string;
  readonly bootId: string;
  readonly group: 'canary' | 'control';
  /** Of the version that the group is about; absent: it has served nothing yet. */
  readonly traffic?: MetricsSnapshot;
  /** Canaries: the counters of the old version, which ended with the flip. */
  readonly before?: MetricsSnapshot;
}

interface Counted {
  readonly group: TrafficSample['group'];
  readonly zone: string;
  bootId: string;
  base: MetricsSnapshot;
  last: MetricsSnapshot;
  /** What was counted before the counters began anew. */
  banked: MetricsSnapshot;
  before: MetricsSnapshot | undefined;
}

/** By zone; see GateInput. */
export interface TrafficGroups {
  readonly canary: ReadonlyMap<string, MetricsSnapshot>;
  readonly control: ReadonlyMap<string, MetricsSnapshot>;
  readonly before: ReadonlyMap<string, MetricsSnapshot>;
}

/**
 * One window per rollout, which begins anew with each wave. It lives in this process only: a controller that takes over
 * begins to count when it first looks, and so has less data than there was, never other data.
 */
export class TrafficWindow {
  private readonly hosts = new Map<string, Counted>();
  private wave = -1;

  /** Takes a look. The first look at a host in a wave is where its window begins. */
  update(wave: number, samples: readonly TrafficSample[]): void {
    if (wave !== this.wave) {
      this.hosts.clear();
      this.wave = wave;
    }
    for (const sample of samples) this.count(sample);
  }

  /** Sums by zone. */
  groups(): TrafficGroups {
    const canary = new Map<string, MetricsSnapshot[]>();
    const control = new Map<string, MetricsSnapshot[]>();
    const before = new Map<string, MetricsSnapshot[]>();
    const add = (to: Map<string, MetricsSnapshot[]>, zone: string, snapshot: MetricsSnapshot): void => {
      const list = to.get(zone);
      if (list) list.push(snapshot);
      else to.set(zone, [snapshot]);
    };
    for (const counted of this.hosts.values()) {
      add(counted.group === 'canary' ? canary : control, counted.zone, windowOf(counted));
      if (counted.before) add(before, counted.zone, counted.before);
    }
    return { canary: sums(canary), control: sums(control), before: sums(before) };
  }

  private count({ host, zone, bootId, group, traffic = NO_METRICS, before }: TrafficSample): void {
    const counted = this.hosts.get(host);
    if (counted === undefined || counted.group !== group) {
      this.hosts.set(host, { group, zone, bootId, base: traffic, last: traffic, banked: NO_METRICS, before });
      return;
    }
    // A host that restarted, or loaded the version again, counts from 0: what it did before is kept.
    if (counted.bootId !== bootId || traffic.requests < counted.last.requests) {
      counted.banked = windowOf(counted);
      counted.base = NO_METRICS;
      counted.bootId = bootId;
    }
    counted.last = traffic;
    counted.before = before ?? counted.before;
  }
}

function windowOf({ banked, last, base }: Counted): MetricsSnapshot {
  const counted = since(last, base);
  return banked.requests === 0 ? counted : mergeSnapshots([banked, counted]);
}

function sums(groups: Map<string, MetricsSnapshot[]>): Map<string, MetricsSnapshot> {
  return new Map([...groups].map(([zone, list]) => [zone, mergeSnapshots(list)]));
}
