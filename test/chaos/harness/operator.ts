// The operator: rolls out one version after the other, gives verbs, and gives them again when the store did not answer.
import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredError } from 'aspired';
import type { VerbDone } from '#lib/fleet/controller/fleet-client.js';
import type { RolloutVerb } from '#lib/fleet/rollout/types.js';
import type { RolloutRecord } from '#lib/fleet/store/types.js';
import { type Conduct, MODELS, planOf, versionOf } from '../fleet.js';
import { monotonicMs } from '../history/recorder.js';
import type { Random } from '../seeded/random.js';
import { within } from './waits.js';
import type { World } from './world.js';

const LOOK_MS = 60;
const RETRY_MS = 100;
/** A rollout that the store does not know for as long is not going to come back. */
const GONE_MS = 5_000;
/** A verb that the store did not take for as long is given up. */
const PATIENCE_MS = 25_000;

export interface Rolling {
  readonly id: string;
  readonly model: string;
  readonly version: number;
  phase: string;
  ended: boolean;
}

export interface OperatorOptions {
  readonly world: World;
  readonly random: Random;
  readonly webhook: string;
  /** Share of rollouts that ask the webhook. */
  readonly webhooks: number;
}

export class Operator {
  /** In the order in which they were started. */
  readonly rollouts: Rolling[] = [];
  readonly #poison: Conduct[] = [];
  readonly #results = new Map<string, string>();
  #operations = 0;
  #stopped = false;

  constructor(private readonly options: OperatorOptions) {}

  /** Rolls out until stop(), all models at once. Resolves when the last rollout has ended, or is lost. */
  async run(): Promise<void> {
    await Promise.all(MODELS.map((model) => this.#drive(model)));
  }

  /** What is under way is seen to its end; nothing more is started. */
  stop(): void {
    this.#stopped = true;
  }

  /** The next rollout is of a version that does this. */
  poison(conduct: Conduct): void {
    this.#poison.push(conduct);
  }

  /** Whether a version is to be rolled out that was poisoned, and was not yet. */
  get hasPoison(): boolean {
    return this.#poison.length > 0 && !this.#stopped;
  }

  /** An active rollout that is in the phase, or in any; undefined: none within the time. */
  async inPhase(phase: string | undefined, ms: number): Promise<Rolling | undefined> {
    let found: Rolling | undefined;
    await within(ms, () => {
      found = this.rollouts.find((rollout) => !rollout.ended && (phase === undefined || rollout.phase === phase));
      return found !== undefined;
    });
    return found;
  }

  /** Gives a verb, `times` times as the same operation. */
  async verb(rollout: string, verb: RolloutVerb, times = 1): Promise<VerbDone | undefined> {
    const operation = `op-${++this.#operations}`;
    const { client, recorder } = this.options.world;
    const intent = { actor: operation, reason: 'chaos', operation };
    const sent = monotonicMs();
    const give = async (): Promise<VerbDone | undefined> => {
      const answer = await this.#insist(() => client.verb(rollout, verb, intent));
      const { outcome = 'unknown', replicated = 0 } = answer ?? {};
      recorder.note({ e: 'verb', rollout, verb, operation, actor: operation, outcome, replicated, sent });
      return answer;
    };
    return (await Promise.all(Array.from({ length: times }, give)))[0];
  }

  async #drive(model: string): Promise<void> {
    for (let n = 1; !this.#stopped; n++) {
      const rolling = await this.#start(model, versionOf(n, this.#poison.shift() ?? 'good'));
      if (rolling) await Promise.all([this.#follow(rolling), this.#meddle(rolling)]);
      await sleep(this.options.random.between(50, 300));
    }
  }

  async #start(model: string, version: number): Promise<Rolling | undefined> {
    const { world, random, webhook, webhooks } = this.options;
    const operation = `start-${model}-${version}`;
    const plan = planOf(model, version, random.chance(webhooks) ? webhook : undefined);
    const intent = { actor: operation, reason: 'chaos', operation };
    const started = await this.#insist(
      () => world.client.start(plan, intent),
      () => this.#stopped,
    );
    const record = started && (await this.#insist(() => world.client.get(started.rollout)));
    if (!record) return undefined;
    const { id, state } = record;
    const waves = Object.fromEntries(
      record.plan.hosts.map((host, place) => [host, record.plan.waveOf[place] as number]),
    );
    const from = state.from ?? 0;
    world.recorder.note({ e: 'started', rollout: id, model, version, from, waves });
    const rolling = { id, model, version, phase: state.phase, ended: false };
    this.rollouts.push(rolling);
    return rolling;
  }

  /** Looks at a rollout until it has ended, or the store does not know it any more. */
  async #follow(rolling: Rolling): Promise<void> {
    const { store } = this.options.world;
    let missing = 0;
    while (!rolling.ended) {
      try {
        const record = await store.rolloutState(rolling.id);
        if (record) this.#seen(rolling, record);
        missing = record || !(await store.meta()) ? 0 : missing + 1;
        // It was started after a snapshot that came back. What was active in a store that was emptied is closed by the
        // controllers, some heartbeats after it was restored.
        if (missing * LOOK_MS > GONE_MS) this.#end(rolling, 'unknown to the store');
        if (record) await this.#readGates(rolling.id);
      } catch {
        // The store is away.
      }
      await sleep(LOOK_MS);
    }
  }

  #seen(rolling: Rolling, { state }: Omit<RolloutRecord, 'plan'>): void {
    rolling.phase = state.phase;
    if (state.phase === 'Ended') this.#end(rolling, String(state.outcome));
  }

  #end(rolling: Rolling, outcome: string): void {
    this.options.world.recorder.note({ e: 'ended', rollout: rolling.id, outcome });
    rolling.ended = true;
  }

  async #readGates(rollout: string): Promise<void> {
    const { store, recorder } = this.options.world;
    for (const [key, result] of await store.gateResults(rollout)) {
      const text = JSON.stringify(result);
      if (this.#results.get(`${rollout} ${key}`) === text) continue;
      this.#results.set(`${rollout} ${key}`, text);
      recorder.note({ e: 'gate-result', rollout, key, result: text });
    }
  }

  /** What operators do in between. */
  async #meddle({ id }: Rolling): Promise<void> {
    const { random } = this.options;
    if (this.#stopped || !random.chance(0.4)) return;
    await sleep(random.between(100, 1_500));
    const stop = random.chance(0.5) ? 'pause' : 'freeze';
    await this.verb(id, stop);
    await sleep(random.between(100, 500));
    await this.verb(id, stop === 'freeze' && random.chance(0.5) ? 'retry' : 'resume');
  }

  /** Until the store takes it. Undefined: it was refused for good, or nobody waits for it any more. */
  async #insist<T>(call: () => Promise<T>, enough: () => boolean = () => false): Promise<T | undefined> {
    const end = performance.now() + PATIENCE_MS;
    while (!enough() && performance.now() < end) {
      try {
        return await call();
      } catch (error) {
        if (!(error instanceof AspiredError)) throw error;
        if (error.code === 'ERR_ROLLOUT_NOT_FOUND' || error.code === 'ERR_VERSION_TOMBSTONED') return undefined;
      }
      await sleep(RETRY_MS);
    }
    return undefined;
  }
}
