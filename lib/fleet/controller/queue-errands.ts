// Everything that goes through BullMQ, of one controller.
import type { Queue } from 'bullmq';
import type { RolloutStep } from '../rollout/types.js';
import type { CommitAnswer, FleetStore, RolloutRecord } from '../store/types.js';
import { AuditArchive } from './audit-archive.js';
import { type Errands, type MakeErrands, NEXT_ROUND_MS, type Workforce } from './errands.js';
import { type GateErrand, gateKey } from './gate-desk.js';
import { Notifier } from './notifier.js';
import type { ControllerSettings } from './options.js';
import { PlannedStartWorker } from './planned-starts.js';
import { QueueFactory } from './queues.js';
import { TickQueue } from './tick-queue.js';
import { WatchedWorker } from './watched-worker.js';
import { inTime } from './within.js';

/** How long Redis may take for what supervise() asks, in ms. */
const SUPERVISE_MS = 5_000;

/** @throws AspiredError ERR_PEER_NOT_FOUND */
export async function queueErrands(settings: ControllerSettings, store: FleetStore, url: string): Promise<MakeErrands> {
  // Errors of connections go to whoever asked for the errands, which is known only then.
  let tell: (error: unknown) => void = () => {};
  const factory = await QueueFactory.load(settings.fleet, url, (error) => tell(error));
  return (workforce) => {
    tell = workforce.onError;
    return new QueueErrands(factory, store, settings, workforce);
  };
}

class QueueErrands implements Errands {
  private readonly ticks: TickQueue;
  private readonly gates: Queue<GateErrand>;
  private readonly gateWorker: WatchedWorker<GateErrand>;
  private readonly notifier: Notifier | undefined;
  private readonly archive: AuditArchive | undefined;
  private readonly planned: PlannedStartWorker;
  private readonly ends = new AbortController();
  private looking: Promise<void> | undefined;

  constructor(
    private readonly factory: QueueFactory,
    store: FleetStore,
    settings: ControllerSettings,
    private readonly workforce: Workforce,
  ) {
    const { onError, tick } = workforce;
    const { concurrency, fleet, notify, archiveDirectory } = settings;
    this.ticks = new TickQueue({ factory, tick, concurrency, onError });
    this.gates = factory.queue('gates');
    this.gateWorker = new WatchedWorker(this.gates, {
      ...{ factory, name: 'gates', work: ({ data }) => this.askGate(data) },
      options: { concurrency: 16 },
    });
    this.notifier = notify.length > 0 ? new Notifier(factory, fleet, notify, onError) : undefined;
    this.archive =
      archiveDirectory === undefined ? undefined : new AuditArchive(factory, store, archiveDirectory, onError);
    this.planned = new PlannedStartWorker(factory, store, settings, onError);
  }

  readonly enqueue = (rollout: string): void => this.ticks.add(rollout);

  get replacedWorkers(): number {
    return this.watched.reduce((sum, { replaced }) => sum + replaced, 0);
  }

  gate(errand: GateErrand): void {
    const added = this.gates.add('gate', errand, {
      // A job of this id that waits, or is being done, is this one.
      jobId: `${errand.rollout}-${gateKey(errand, errand.round)}`,
      attempts: 5,
      backoff: { type: 'exponential', delay: 1_000 },
      delay: errand.round > 0 ? NEXT_ROUND_MS : 0,
      // One that is done or has failed must not stand in the way of the next one of its id.
      removeOnComplete: true,
      removeOnFail: true,
    });
    added.catch((error) => {
      if (!this.ends.signal.aborted) this.workforce.onError(error);
    });
  }

  committed(record: Omit<RolloutRecord, 'plan'>, step: RolloutStep, answer: CommitAnswer): void {
    this.notifier?.committed(record, step, answer);
  }

  async supervise(): Promise<void> {
    // Whoever calls has other things to look after.
    this.looking ??= this.look().finally(() => {
      this.looking = undefined;
    });
    await inTime(SUPERVISE_MS, 'looking after the queues', this.looking);
  }

  async close(): Promise<void> {
    this.ends.abort();
    await Promise.all([
      this.ticks.close(),
      this.gateWorker.close(),
      this.factory.closeQueue(this.gates),
      this.notifier?.close(),
      this.archive?.close(),
      this.planned.close(),
    ]);
    this.factory.close();
  }

  private get watched(): readonly Pick<WatchedWorker<unknown>, 'supervise' | 'replaced'>[] {
    const { ticks, gateWorker, planned, notifier, archive } = this;
    return [
      ticks,
      gateWorker,
      planned.worker,
      ...(notifier ? [notifier.worker] : []),
      ...(archive ? [archive.worker] : []),
    ];
  }

  private async look(): Promise<void> {
    await Promise.all(this.watched.map((worker) => worker.supervise()));
    await this.archive?.schedule();
  }

  private async askGate(errand: GateErrand): Promise<void> {
    await this.workforce.gate(errand, this.ends.signal);
    this.workforce.onGateDone(errand);
  }
}
