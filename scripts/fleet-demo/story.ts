// What happens in the demonstration, and what must hold of it.
import { randomUUID } from 'node:crypto';
import { AspiredError } from 'aspired';
import type { Intent, RolloutPhase, RolloutPlanOptions, RolloutRecord, RolloutView } from 'aspired/fleet';
import { between, type Counts, hostsThatMet, sum } from './ledger.js';
import type { Child } from './processes.js';
import type { DemoScreen } from './screen.js';
import { MODEL, type Stage } from './stage.js';
import type { Check, DemoSummary, PhaseSummary } from './summary.js';

const FIRST = 1;
const GOOD = 2;
const BAD = 3;

/** From the loads on. A gate may end a bake before anybody has seen it. */
const UNDER_WAY: ReadonlySet<RolloutPhase> = new Set<RolloutPhase>(['Expand', 'WaitReady', 'Flip', 'Bake', 'Rollback']);

const intent = (reason: string): Intent => ({ actor: 'fleet-demo', reason, operation: randomUUID() });

/** A rollout of the story, with what came of it. */
interface Told {
  readonly version: number;
  readonly record: RolloutRecord;
  readonly ms: number;
  /** The wave that saw it first, as ids. */
  readonly firstWave: readonly string[];
}

/** The whole story, on a stage that is open. */
export class Story {
  readonly #stage: Stage;
  readonly #screen: DemoScreen;
  readonly #signal: AbortSignal;
  readonly #phases: PhaseSummary[] = [];
  readonly #told: Told[] = [];
  readonly #killed: DemoSummary['killed'][number][] = [];
  #killedAt: number[] = [];

  constructor(stage: Stage, screen: DemoScreen, signal: AbortSignal) {
    this.#stage = stage;
    this.#screen = screen;
    this.#signal = signal;
  }

  async tell(started: number): Promise<DemoSummary> {
    const [first, second] = this.#stage.controllers as [Child, Child];
    await this.#phase(`v${FIRST} on all hosts`, () => this.#install());
    await this.#phase(`v${GOOD}, a good one`, () =>
      this.#rollOut(GOOD, 'reads more digits', async ({ record: { state } }) => {
        if (state.wave < 1 || state.phase !== 'Bake' || this.#killed.length > 0) return;
        await this.#kill(first, `in ${state.phase} of wave ${state.wave + 1} of v${GOOD}`);
        // From here on the other one is alone; the new one is for when that one goes too.
        const third = this.#stage.startController();
        this.#screen.line(`${third.name} is started, process ${third.pid}`);
      }),
    );
    await this.#stage.controllers.at(-1)?.ready;
    await this.#phase(`v${BAD}, a bad one`, () =>
      this.#rollOut(BAD, 'knows an answer for each digit but nine', async ({ record: { state } }) => {
        if (!UNDER_WAY.has(state.phase) || this.#killed.length > 1) return;
        await this.#kill(second, `in ${state.phase} of v${BAD}`);
      }),
    );
    await this.#stage.until(`all hosts answer with v${GOOD} alone`, async () =>
      serveOnly(await this.#stage.counts(), GOOD),
    );
    const counts = await this.#stage.counts();
    const checks = [...this.#rolloutChecks(), ...(await this.#hostChecks(counts)), ...this.#requestChecks(counts)];
    return {
      hosts: this.#stage.hosts.length,
      phases: this.#phases,
      rollouts: this.#told.map(({ version, record: { id, state }, ms }) => ({
        rollout: id,
        version,
        outcome: state.outcome ?? null,
        ms,
        why: state.rollback?.reason ?? null,
      })),
      killed: this.#killed,
      checks,
      ok: checks.every(({ holds }) => holds),
      ms: performance.now() - started,
    };
  }

  /** Measures what happens in `work`, requests and all. */
  async #phase(phase: string, work: () => Promise<void>): Promise<void> {
    this.#screen.line(`\n${phase}`);
    const before = await this.#stage.counts();
    const began = performance.now();
    await work();
    const requests = between(before, await this.#stage.counts());
    this.#phases.push({ phase, ms: performance.now() - began, requests });
  }

  /** The first version: there is nothing to compare it with, and nothing to lose. */
  async #install(): Promise<void> {
    const plan = { model: MODEL, version: FIRST, waves: [{ percent: 100 }], bake: 0, gates: [] };
    await this.#follow(plan, 'the first version', async () => {});
    await this.#stage.until('all hosts answer', async () => serveOnly(await this.#stage.counts(), FIRST));
  }

  #rollOut(version: number, reason: string, look: (view: RolloutView) => Promise<void>): Promise<void> {
    const plan: RolloutPlanOptions = {
      model: MODEL,
      version,
      waves: [{ hosts: 2 }, { percent: 40 }, { percent: 100 }],
      maxUnavailable: '40%',
      bake: '2s',
      gates: [
        { kind: 'load' },
        // 20 processes share the machine: their latency says more of each other than of the model.
        { kind: 'traffic', minRequests: 60, maxErrorRateIncrease: 0.02, maxLatencyIncrease: 20 },
      ],
      deadline: '2m',
      progressDeadline: '1m',
    };
    return this.#follow(plan, reason, look);
  }

  async #follow(plan: RolloutPlanOptions, reason: string, look: (view: RolloutView) => Promise<void>): Promise<void> {
    const { tool } = this.#stage;
    const began = performance.now();
    const { rollout } = await tool.start(plan, intent(reason));
    const { record } = await this.#screen.follow(tool, rollout, this.#signal, async (view) => {
      this.#stage.throwIfCrashed();
      await look(view);
    });
    const firstWave = record.plan.hosts.filter((_, place) => record.plan.waveOf[place] === 0);
    this.#told.push({ version: plan.version, record, ms: performance.now() - began, firstWave });
  }

  async #kill(child: Child, during: string): Promise<void> {
    const { pid, name } = child;
    const latest = this.#told.length;
    await child.kill();
    this.#killed.push({ name, pid, during });
    this.#killedAt.push(latest);
    this.#screen.line(`kill -9 ${pid}: ${name}, ${during}`);
  }

  #rolloutChecks(): readonly Check[] {
    const good = this.#told.find(({ version }) => version === GOOD);
    const bad = this.#told.find(({ version }) => version === BAD);
    const goodEnd = good?.record.state.outcome ?? 'did not end';
    const badEnd = bad?.record.state.outcome ?? 'did not end';
    const byGate = /traffic/.test(bad?.record.state.rollback?.reason ?? '');
    return [
      { what: `v${GOOD} is promoted`, holds: goodEnd === 'Promoted', detail: goodEnd },
      {
        what: `v${BAD} is rolled back by its traffic gate`,
        holds: badEnd === 'RolledBack' && byGate,
        detail: `${badEnd}: ${bad?.record.state.rollback?.reason ?? 'no reason'}`,
      },
      {
        what: 'the work of killed controllers was taken over',
        // Neither of the first two is left: whoever ended the rollouts after each kill was another one.
        holds:
          this.#killed.length === 2 &&
          this.#killedAt.every((index) => this.#told[index]?.record.state.phase === 'Ended'),
        detail: `${this.#killed.length} killed, and the rollouts that they drove ended`,
      },
    ];
  }

  async #hostChecks(counts: Counts): Promise<readonly Check[]> {
    const hosts = this.#stage.hosts.length;
    const right = [...counts.values()].filter((count) => isAlone(count, GOOD)).length;
    const wave = new Set(this.#told.find(({ version }) => version === BAD)?.firstWave);
    const met = hostsThatMet(counts, BAD);
    const refused = await this.#startAgain();
    return [
      {
        what: `all hosts serve v${GOOD}, and have nothing else`,
        holds: right === hosts,
        detail: `${right} of ${hosts}`,
      },
      {
        what: `v${BAD} met nobody outside of its first wave`,
        holds: met.length > 0 && met.every((host) => wave.has(host)),
        detail: met.join(', ') || 'nobody',
      },
      {
        what: `v${BAD} is tombstoned`,
        holds: refused === 'ERR_VERSION_TOMBSTONED',
        detail: `starting it again: ${refused}`,
      },
    ];
  }

  /** What comes of an attempt to roll the bad version out once more. */
  async #startAgain(): Promise<string> {
    try {
      const { rollout } = await this.#stage.tool.start({ model: MODEL, version: BAD }, intent('once more'));
      return `started as ${rollout}`;
    } catch (error) {
      return error instanceof AspiredError ? error.code : String(error);
    }
  }

  #requestChecks(counts: Counts): readonly Check[] {
    const { answered, failed, lost } = sum(counts);
    const others = Object.entries(failed).filter(([version]) => Number(version) !== BAD);
    const firstLost = [...counts.values()].find((count) => count.firstLost !== undefined)?.firstLost;
    const count = others.reduce((total, [, more]) => total + more, lost);
    return [
      {
        what: `no request failed but those that v${BAD} failed itself`,
        holds: count === 0 && answered > 0,
        detail: `${answered} answered, ${failed[BAD] ?? 0} failed by v${BAD}, ${count} others${firstLost ? ` (${firstLost})` : ''}`,
      },
    ];
  }
}

function serveOnly(counts: Counts, version: number): boolean {
  return [...counts.values()].every((count) => isAlone(count, version));
}

function isAlone(
  { latest, resident }: { readonly latest?: number; readonly resident: readonly number[] },
  version: number,
): boolean {
  return latest === version && resident.length === 1 && resident[0] === version;
}
