// Leases and reports, as hosts write them.
//
// A beat is heavy or light. A heavy one renews the lease, looks at the revision of the document and writes the report into
// its hash. A light one only puts a small report behind the lease: for changes that come soon after a heavy one, of which a
// rollout brings several per host. The next heavy beat moves it into the hash; readers look at both.
import { performance } from 'node:perf_hooks';
import { AspiredError } from '../../../errors.js';
import { encodeHostInfo, encodeHostStatus, encodeModelReport } from '../../report-codec.js';
import type { Heartbeat, HeartbeatAnswer } from '../types.js';
import type { RedisConnection } from './connection.js';
import { BOOT, INFO, STATUS } from './keys.js';
import { HEARTBEAT, LEAVE, REPORT } from './scripts/index.js';

/** Bytes that may stand behind a lease: controllers read them with every look at the leases. */
const MOST_BEHIND = 600;

/** What this connection knows of a host that it beats for. */
interface Beating {
  readonly bootId: string;
  /** The last heavy beat was sent, by the clock of this process that only goes forward. */
  renewedAt: number;
  /** Of the last report in the hash. */
  flushed: number;
  /** Of the last report that was answered. */
  last: number;
  revision: number | undefined;
  /** Fields reported since, null for those that go: they may stand behind the lease, or have been lost on the way. */
  readonly recent: Map<string, string | null>;
}

export class RedisHeartbeats {
  readonly #connection: RedisConnection;
  readonly #beating = new Map<string, Beating>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async heartbeat(beat: Heartbeat): Promise<HeartbeatAnswer> {
    const { host, bootId, leaseMs, info } = beat;
    if (!/^[\x21-\x7e]{1,128}$/.test(bootId)) {
      throw new AspiredError('ERR_INVALID_ARGUMENT', 'Expected 1 to 128 printable characters for the boot of a host.');
    }
    const known = this.#beating.get(host);
    const before = known?.bootId === bootId ? known : undefined;
    const fields = fieldsOf(beat);
    const isSoon = before && performance.now() - before.renewedAt < leaseMs / 4;
    if (isSoon && fields.size > 0 && !info && beat.sequence <= before.last + 1) {
      const answer = await this.#light(beat, before, fields);
      if (answer) return answer;
    }
    return this.#heavy(beat, before, fields);
  }

  async leave(host: string, bootId: string): Promise<void> {
    this.#beating.delete(host);
    await this.#connection.script(LEAVE, [this.#connection.keys.lease(host)], [bootId]);
  }

  /** The document was read: its revision is known without asking. */
  sawRevision(host: string, revision: number | undefined): void {
    const beating = this.#beating.get(host);
    if (beating) beating.revision = revision;
  }

  /** Undefined: the lease ran out, or somebody else has it, or what it builds on was lost, or it is too much. */
  async #light(beat: Heartbeat, before: Beating, fields: Fields): Promise<HeartbeatAnswer | undefined> {
    const recent = JSON.stringify([...new Map([...before.recent, ...fields])].flat());
    if (recent.length > MOST_BEHIND) return undefined;
    // Before it is sent: an answer that does not come does not mean that it was not written.
    for (const [name, text] of fields) before.recent.set(name, text);
    const lease = `${beat.bootId} ${beat.sequence} ${recent}`;
    const [outcome] = await this.#connection.script(
      REPORT,
      [this.#connection.keys.lease(beat.host)],
      [beat.bootId, lease, String(before.flushed)],
    );
    if (outcome !== 'ok') return undefined;
    const { revision } = before;
    before.last = beat.sequence;
    return revision === undefined ? { known: false } : { known: true, revision };
  }

  async #heavy(beat: Heartbeat, before: Beating | undefined, fields: Fields): Promise<HeartbeatAnswer> {
    const { host, bootId, sequence, leaseMs, info } = beat;
    const { keys } = this.#connection;
    const renewedAt = performance.now();
    const recent = new Map(before?.recent);
    const all = new Map([...recent, ...fields]);
    const follows = fields.size > 0 ? sequence - 1 : sequence;
    // What is recent covers everything since the last one in the hash, unless a report was left out.
    const buildsOn = before && recent.size > 0 && sequence <= before.last + 1 ? before.flushed : follows;
    if (all.size > 0) all.set(BOOT, `${bootId} ${sequence}`);
    const pairs = [...all].filter((field): field is [string, string] => field[1] !== null).flat();
    const gone = [...all].filter(([, text]) => text === null).map(([name]) => name);
    const [outcome, revision, heldBy] = await this.#connection.script(
      HEARTBEAT,
      [keys.lease(host), keys.report(host), keys.desired(host)],
      [
        ...[bootId, String(sequence), String(leaseMs), info ? '1' : '0', String(buildsOn), before ? '1' : '0'],
        ...[String(pairs.length), ...pairs, ...gone],
      ],
    );
    const known = revision ? { known: true, revision: Number(revision) } : { known: false };
    if (outcome === 'ok') {
      const fresh = { bootId, renewedAt, flushed: sequence, last: sequence, revision: undefined, recent: new Map() };
      const beating: Beating = before ?? fresh;
      beating.renewedAt = renewedAt;
      beating.flushed = sequence;
      beating.last = Math.max(beating.last, sequence);
      beating.revision = 'revision' in known ? known.revision : undefined;
      // What was reported while this beat was on its way stays for the next one.
      for (const [name, text] of recent) if (beating.recent.get(name) === text) beating.recent.delete(name);
      this.#beating.set(host, beating);
      return known;
    }
    this.#beating.delete(host);
    return outcome === 'held' ? { ...known, heldBy: String(heldBy) } : { ...known, resend: true };
  }
}

type Fields = ReadonlyMap<string, string | null>;

function fieldsOf({ info, status, models }: Heartbeat): Fields {
  const fields = new Map<string, string | null>();
  if (info) fields.set(INFO, encodeHostInfo(info));
  if (status) fields.set(STATUS, encodeHostStatus(status));
  for (const [name, report] of models ?? []) fields.set(name, report && encodeModelReport(report));
  return fields;
}
