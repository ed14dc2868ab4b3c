// Around the commits of a controller: they are written down, and what the harness orders happens to them.
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { Commit, CommitAnswer } from '#lib/fleet/store/types.js';
import type { Recorder } from '../history/recorder.js';
import type { Random } from '../seeded/random.js';
import type { ControllerMessage } from './messages.js';

/** A rogue controller's commit comes late, this often, and by so many ms. */
const LATE_SHARE = 0.25;
const LATE_MS = [500, 4_500] as const;

type Probe = Extract<ControllerMessage, { readonly kill: unknown }>;

export class CommitSeam {
  #probe: Probe | undefined;
  #stop = false;
  #resend = 0;

  constructor(
    private readonly recorder: Recorder,
    private readonly random: Random,
    private readonly isRogue: boolean,
  ) {}

  /** From now on every commit of this process goes through here. */
  install(): void {
    const seam = this;
    const { commit } = RedisStore.prototype;
    RedisStore.prototype.commit = function (change: Commit) {
      return seam.#commit(change, (same) => commit.call(this, same));
    };
  }

  told(message: ControllerMessage): void {
    if ('kill' in message) this.#probe = message;
    else if ('stop' in message) this.#stop = true;
    else this.#resend = message.resend;
  }

  async #commit(change: Commit, send: (change: Commit) => Promise<CommitAnswer>): Promise<CommitAnswer> {
    const { recorder, random } = this;
    const meant = this.#probe && (this.#probe.rollout ?? change.rollout) === change.rollout ? this.#probe : undefined;
    const probe = meant && meant.commits <= 1 ? meant : undefined;
    if (meant) this.#probe = { ...meant, commits: meant.commits - 1 };
    if (this.isRogue && random.chance(LATE_SHARE)) await sleep(random.between(...LATE_MS));
    if (this.#stop) {
      this.#stop = false;
      recorder.note({ e: 'probe', point: 'stopped', rollout: change.rollout });
      process.kill(process.pid, 'SIGSTOP');
    }
    if (probe?.kill === 'before') this.#die(probe, change);
    const sent = send(change);
    if (probe?.kill === 'within') {
      // The command is on its way, or just about.
      sent.catch(() => {});
      await sleep(1);
      this.#die(probe, change);
    }
    const answer = await sent;
    this.#note(change, answer);
    if (probe?.kill === 'after') this.#die(probe, change);
    if (random.chance(this.#resend)) await this.#again(change, answer, send);
    return answer;
  }

  #note(change: Commit, { outcome, revision, at }: CommitAnswer): void {
    const { rollout, model, expectRevision: expected, state, modelChange, audit } = change;
    this.recorder.note({
      ...{ e: 'commit', rollout, model, expected, outcome, revision, at },
      ...{ phase: state.phase, wave: state.wave, end: state.outcome },
      ...{ tombstone: modelChange?.tombstone, event: audit.event },
      ...{ message: audit.message, hold: state.hold && `${state.hold.code}: ${state.hold.message}` },
      answers: answersOf(change),
    });
  }

  async #again(change: Commit, first: CommitAnswer, send: (change: Commit) => Promise<CommitAnswer>): Promise<void> {
    if (first.outcome !== 'committed') return;
    const { outcome, revision } = await send(change);
    this.recorder.note({ e: 'resent', rollout: change.rollout, revision: first.revision, outcome, again: revision });
  }

  #die({ kill }: Probe, { rollout }: Commit): void {
    this.recorder.note({ e: 'probe', point: kill, rollout });
    process.kill(process.pid, 'SIGKILL');
  }
}

/** What webhooks answered, as the rollout has it from this commit on. */
function answersOf({ state }: Commit): string[] | undefined {
  const messages = Object.values(state.verdicts ?? {}).map(({ message }) => message);
  const answers = messages.filter((message) => message.startsWith('call '));
  return answers.length > 0 ? answers : undefined;
}
