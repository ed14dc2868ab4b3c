// The keys of a fleet. All of them have the fleet as their hash tag, so that a script may touch any of them, in a Redis
// Cluster too: a fleet lives on one node, and another fleet on another one.
//
// A host writes h:<host> and l:<host>, adds to hints, and reads d:<host>. Everything else is written by controllers.
import { checkFleetName } from '../../names.js';

/** Field of d:<host>: the revision. No model name begins so. */
export const REVISION = '!';
/** Fields of h:<host> beside those of the models: boot and sequence, what the host says of itself, its status. */
export const BOOT = '!b';
export const INFO = '!i';
export const STATUS = '!s';

/** Names of the keys of one fleet. Every name that becomes a part of one is checked. */
export class Keys {
  /** Hash: schema, incarnation, createdAt; next index of a host, last revision, last operations. */
  readonly meta: string;
  /** Hash: host to 'index cordoned info'. */
  readonly hosts: string;
  /** Stream: hosts that ask to be entered. */
  readonly hints: string;
  /** Set of names. */
  readonly models: string;
  /** Hash: model to the id of its active rollout. */
  readonly active: string;
  /** String, while an import goes on: 'run operation'. */
  readonly importing: string;
  /** Empty, with a time to live: written so that WAIT has a write to count from. */
  readonly confirm: string;
  readonly #prefix: string;

  constructor(fleet: string) {
    this.#prefix = `{${checkFleetName('the fleet', fleet)}}:`;
    this.meta = this.#at('meta');
    this.hosts = this.#at('hosts');
    this.hints = this.#at('hints');
    this.models = this.#at('models');
    this.active = this.#at('active');
    this.importing = this.#at('importing');
    this.confirm = this.#at('confirm');
  }

  /** Hash: the document. Also the channel of the doorbell: channels have names of their own. */
  desired(host: string): string {
    return this.#at('d', checkFleetName('a host', host));
  }

  /** Hash: the report. */
  report(host: string): string {
    return this.#at('h', checkFleetName('a host', host));
  }

  /** String with a time to live: 'boot sequence'. */
  lease(host: string): string {
    return this.#at('l', checkFleetName('a host', host));
  }

  /** Hash: gen, stable, previous, tombstones, active, ops. */
  model(model: string): string {
    return this.#at('m', checkFleetName('a model', model));
  }

  /** List of ids, the latest first. */
  history(model: string): string {
    return this.#at('history', checkFleetName('a model', model));
  }

  /** Stream: of a model; '' is that of hosts and imports. */
  audit(model: string): string {
    return model === '' ? this.#at('audit') : this.#at('audit', checkFleetName('a model', model));
  }

  /** Everything of a rollout. */
  rollout(id: string): RolloutKeys {
    checkFleetName('a rollout', id);
    return {
      record: this.#at('r', id),
      plan: this.#at('plan', id),
      verbs: this.#at('verbs', id),
      pending: this.#at('pending', id),
      answers: this.#at('answers', id),
      gates: this.#at('gates', id),
    };
  }

  #at(...parts: string[]): string {
    return this.#prefix + parts.join(':');
  }
}

export interface RolloutKeys {
  /** Hash: model, rev, state, the stamps, ops, the last id of a verb. */
  readonly record: string;
  /** String: JSON. Written once. */
  readonly plan: string;
  /** Hash: operation to the verb. */
  readonly verbs: string;
  /** List: verbs that wait. */
  readonly pending: string;
  /** Hash: operation to the answer. */
  readonly answers: string;
  /** Hash: key to the result. */
  readonly gates: string;
}
