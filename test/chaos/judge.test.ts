// Negative controls: of each checker a history that is good, and made-up ones that are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChaosEvent, History } from './history/events.js';
import type { Note } from './history/recorder.js';
import { INVARIANTS, judgeHistory } from './judge/index.js';

const SETTINGS = {
  ...{ seed: 1, bakeMs: 500, heartbeatMs: 100, maxUnavailable: 1, replicas: 1 },
  ...{ endsWithinMs: 10_000, rollbackMs: 1_000 },
};

type Timed = readonly [t: number, note: Note, by?: string];

/** A history of these, in order of time. */
function historyOf(...entries: readonly Timed[]): History {
  const events = entries.map(([t, note, by = 'test']) => ({ t, by, ...note }) as ChaosEvent);
  return { settings: SETTINGS, events: events.sort((a, b) => a.t - b.t) };
}

function found(invariant: keyof typeof INVARIANTS, ...entries: readonly Timed[]): string[] {
  const violations = INVARIANTS[invariant].check(historyOf(...entries));
  for (const violation of violations) assert.equal(violation.invariant, invariant);
  return violations.map(({ message }) => message);
}

const HOSTS = ['a', 'b', 'c'];
const boots: Timed[] = HOSTS.map((host) => [0, { e: 'boot', host, zone: 'z', capacity: 100 }]);

const told = (t: number, host: string, generation: number, versions: readonly number[], primary?: number): Timed[] => [
  [t, { e: 'list', host, model: 'm', versions, generation }],
  [t, { e: 'cell', host, model: 'm', generation, versions, primary }],
];
const has = (t: number, host: string, versions: readonly number[], primary = versions.at(-1)): Timed => [
  t,
  { e: 'available', host, model: 'm', versions, primary },
];
const memory = (t: number, e: 'loading' | 'unloaded' | 'failed', version: number, bytes = 40): Timed => [
  t,
  { e, host: 'a', model: 'm', version, bytes },
];

interface Step {
  readonly rollout?: string;
  readonly revision: number;
  readonly expected?: number;
  readonly phase?: string;
  readonly wave?: number;
  readonly tombstone?: number;
  readonly answers?: readonly string[];
}

const commit = (t: number, step: Step): Timed => {
  const { rollout = 'r', revision, expected = revision - 1, phase = 'Expand', wave = 0, tombstone, answers } = step;
  const end = phase === 'Ended' ? 'Promoted' : undefined;
  return [
    t,
    {
      ...{ e: 'commit', rollout, model: 'm', expected, outcome: 'committed', revision, phase, wave, end, tombstone },
      ...{ event: phase, message: '', at: t, answers },
    },
    'controller',
  ];
};

const started = (t: number, rollout = 'r', version = 20): Timed => [
  t,
  { e: 'started', rollout, model: 'm', version, from: 10, waves: { a: 0, b: 1, c: 1 } },
];
const ended = (t: number, outcome: string, rollout = 'r'): Timed => [t, { e: 'ended', rollout, outcome }];
const verb = (t: number, name: string, more: object = {}): Timed => [
  t,
  {
    ...{ e: 'verb', rollout: 'r', verb: name, operation: 'op', actor: 'op' },
    ...{ outcome: 'applied', replicated: 1, sent: t - 10, ...more },
  } as Note,
];

/** A call of the webhook, with the key that its answer names. */
const asked = (t: number, text: string, more: Partial<Extract<Note, { e: 'call' }>> = {}): Timed[] => {
  const key = text.replace(/^call \d+ for /, '');
  return [
    [t, { e: 'call', key, rollout: 'r', wave: 0, asks: '', sent: t - 1, verdict: 'pass', answer: text, ...more }],
  ];
};
const answer = (t: number, message: string, key = '0-2-0', verdict = 'pass'): Timed => [
  t,
  { e: 'gate-result', rollout: 'r', key, result: JSON.stringify({ verdict, message }) },
];

type Final = Extract<Note, { e: 'final' }>;
const final = (t: number, more: Partial<Omit<Final, 'e'>> = {}): Timed => [
  t,
  { e: 'final', audit: {}, rollouts: [], models: [], desired: [], ...more },
];
const line = (event: string, revision?: number, actor = 'controller') => ({ rollout: 'r', revision, event, actor });

/** A rollout from 10 to 20 as it should be. */
const GOOD: readonly Timed[] = [
  ...boots,
  ...HOSTS.flatMap((host) => [...told(1, host, 1, [10], 10), has(5, host, [10])]),
  started(10),
  commit(20, { revision: 1 }),
  ...told(30, 'a', 2, [10, 20], 10),
  has(40, 'a', [10, 20], 10),
  ...told(50, 'a', 3, [10, 20], 20),
  has(51, 'a', [10, 20], 20),
  commit(60, { revision: 2, phase: 'Bake' }),
  ...asked(62, 'call 1 for r-0-2-0'),
  answer(70, 'call 1 for r-0-2-0'),
  commit(570, { revision: 3, phase: 'Expand', wave: 1, answers: ['call 1 for r-0-2-0'] }),
  ...['b', 'c'].flatMap((host) => [...told(580, host, 4, [10, 20], 10), has(590, host, [10, 20], 20)]),
  commit(600, { revision: 4, phase: 'Bake', wave: 1 }),
  commit(1_200, { revision: 5, phase: 'Contract', wave: 1 }),
  ...HOSTS.flatMap((host) => [...told(1_210, host, 5, [20], 20), has(1_220, host, [20])]),
  commit(1_230, { revision: 6, phase: 'Ended', wave: 1 }),
  ended(1_240, 'Promoted'),
  [1_300, { e: 'quiet' }],
  final(2_000, {
    audit: { m: ['start', 'a', 'b', 'c', 'd', 'e', 'ended'].map((event, revision) => line(event, revision)) },
    rollouts: [{ id: 'r', revision: 6, outcome: 'Promoted' }],
    models: [{ name: 'm', stable: 20, tombstones: [] }],
    desired: HOSTS.map((host) => ({ host, model: 'm', generation: 5, versions: [20], primary: 20 })),
  }),
];

test('a rollout as it should be violates nothing', () => {
  assert.deepEqual(judgeHistory(historyOf(...GOOD)), []);
});

test('I1: commits of two rollouts of a model that are mixed', () => {
  const two = [commit(1, { revision: 1 }), commit(2, { rollout: 's', revision: 1 })];
  assert.deepEqual(found('I1', ...two), []);
  assert.match(found('I1', ...two, commit(3, { revision: 2 }))[0] ?? '', /r goes on after s has begun/);
  const lost: Timed = [2.5, { e: 'lost-writes', since: 0 }];
  assert.deepEqual(found('I1', ...two, lost, commit(3, { revision: 2 })), [], 'the store went back to r');
});

test('I2: more hosts of a zone without the model than may', () => {
  const all = [...boots, ...HOSTS.map((host) => has(1, host, [10]))];
  assert.deepEqual(found('I2', ...all, has(2, 'a', [])), []);
  assert.match(found('I2', ...all, has(2, 'a', []), has(3, 'b', []))[0] ?? '', /a b of z lack m/);
  assert.deepEqual(found('I2', ...all, has(2, 'a', []), has(3, 'a', [20]), has(4, 'b', [])), [], 'one after the other');
  const down: Timed = [2, { e: 'down', host: 'a', why: 'test' }];
  assert.deepEqual(found('I2', ...all, down, has(3, 'b', [])), [], 'one of them was killed');
  const back = [down, has(3, 'a', [10]), has(4, 'a', []), has(5, 'b', [])];
  assert.equal(found('I2', ...all, ...back).length, 1, 'it was killed, but has come back since');
});

test('I3: a host that ends on a tombstone, and one that keeps it for long', () => {
  const bad = final(5_000, { models: [{ name: 'm', stable: 10, tombstones: [20] }] });
  const all = [...boots, has(1, 'a', [10, 20])];
  assert.match(found('I3', ...all, bad).join(), /a ends with m 20/);
  assert.deepEqual(found('I3', ...all, has(2, 'a', [10]), bad), []);
  const taken = commit(100, { revision: 1, phase: 'Rollback', tombstone: 20 });
  assert.deepEqual(found('I3', ...all, taken, has(1_000, 'a', [10]), final(5_000)), []);
  assert.match(found('I3', ...all, taken, has(1_200, 'a', [10]), final(5_000)).join(), /keeps m 20 for 1100/);
  const fault: Timed[] = [
    [90, { e: 'fault', kind: 'F8', detail: '', n: 0 }],
    [400, { e: 'fault-over', kind: 'F8', n: 0 }],
  ];
  assert.deepEqual(found('I3', ...all, taken, ...fault, has(1_200, 'a', [10]), final(5_000)), [], 'Redis was away');
});

test('I4: a rollout that does not end, ends too late, or is gone', () => {
  const quiet: Timed = [100, { e: 'quiet' }];
  assert.deepEqual(found('I4', started(1), quiet, ended(10_000, 'Aborted')), []);
  assert.match(found('I4', started(1), quiet).join(), /r has not ended/);
  assert.match(found('I4', started(1), quiet, ended(10_200, 'Aborted')).join(), /100 ms too late/);
  const gone = ended(50, 'unknown to the store');
  assert.match(found('I4', started(1), gone, quiet).join(), /is gone/);
  assert.deepEqual(found('I4', started(1), [40, { e: 'lost-writes', since: 0 }], gone, quiet), []);
});

test('I5: gaps, lines too few and too many, revisions that were passed over, steps after the end, nobody', () => {
  const trail = (...lines: readonly object[]): Timed => final(100, { audit: { m: lines as never } });
  const good = [commit(1, { revision: 1 }), trail(line('start', 0), line('expand', 1), line('abort'))];
  assert.deepEqual(found('I5', ...good), []);
  assert.match(found('I5', trail(line('start', 0), line('flip', 2))).join(), /has the revisions 0,2/);
  assert.match(found('I5', trail(line('start', 0), line('a', 1), line('b', 1))).join(), /has the revisions 0,1,1/);
  assert.match(found('I5', commit(1, { revision: 1 }), trail(line('start', 0))).join(), /0 lines for revision 1/);
  const behind = final(100, { audit: { m: [line('start', 0)] }, rollouts: [{ id: 'r', revision: 1 }] });
  assert.match(found('I5', behind).join(), /is at revision 1/);
  assert.match(found('I5', commit(1, { revision: 4, expected: 1 })).join(), /revision 4 of r on top of 1/);
  assert.match(found('I5', commit(1, { revision: 1 }), commit(2, { revision: 1 })).join(), /written twice/);
  const after = [commit(1, { revision: 1, phase: 'Ended' }), commit(2, { revision: 2, phase: 'Flip' })];
  assert.match(found('I5', ...after).join(), /wrote Flip of r after its end/);
  assert.match(found('I5', trail(line('start', 0), line('abort', undefined, ''))).join(), /nobody did abort/);
  const resent = (outcome: string, again: number): Timed => [
    3,
    { e: 'resent', rollout: 'r', revision: 1, outcome, again },
  ];
  assert.deepEqual(found('I5', resent('duplicate', 1)), []);
  assert.match(found('I5', resent('committed', 2)).join(), /sent revision 1 of r twice/);
});

test('I6: a host that goes back to an older generation, also after a restart', () => {
  const first = told(1, 'a', 5, [10]);
  assert.deepEqual(found('I6', ...first, ...told(2, 'a', 5, [10]), ...told(3, 'a', 6, [10])), []);
  assert.match(found('I6', ...first, ...told(2, 'a', 4, [10])).join(), /generation 4 of m after 5/);
  const restart: Timed = [2, { e: 'boot', host: 'a', zone: 'z', capacity: 1 }];
  assert.equal(
    found('I6', ...first, restart, [3, { e: 'cell', host: 'a', model: 'm', generation: 4, versions: [10] }]).length,
    1,
  );
});

test('I7: a version that goes without a newer document that does not have it', () => {
  const with10 = [...boots, ...told(1, 'a', 1, [10]), has(2, 'a', [10])];
  assert.deepEqual(found('I7', ...with10, ...told(3, 'a', 2, [20]), has(4, 'a', [20])), []);
  assert.match(found('I7', ...with10, has(4, 'a', [])).join(), /lets m 10 go, told \{10\}/);
  assert.match(found('I7', ...with10, ...told(3, 'a', 1, []), has(4, 'a', [])).join(), /by generation 1/);
  const unnoticed: Timed = [3, { e: 'list', host: 'a', model: 'm', versions: [] }];
  assert.equal(found('I7', ...with10, unnoticed, memory(4, 'unloaded', 10)).length, 1, 'no document at all');
  assert.deepEqual(found('I7', ...with10, [3, { e: 'down', host: 'a', why: '' }]), []);
});

test('I8: more in memory than there is', () => {
  const two = [...boots, memory(1, 'loading', 10), memory(2, 'loading', 20)];
  assert.deepEqual(found('I8', ...two), []);
  assert.match(found('I8', ...two, memory(3, 'loading', 30)).join(), /a has 120 of 100 bytes/);
  assert.deepEqual(found('I8', ...two, memory(3, 'unloaded', 10), memory(4, 'loading', 30)), []);
  assert.deepEqual(found('I8', ...two, memory(3, 'failed', 20), memory(4, 'loading', 30)), []);
});

test('I9: a verb that is lost, and an abort that is undone', () => {
  const kept = final(1_000, { audit: { m: [line('abort', undefined, 'op')] } });
  const all = [...boots, started(1), has(2, 'a', [10, 20])];
  const back = [has(200, 'a', [10]), ended(300, 'Aborted')];
  assert.deepEqual(found('I9', ...all, verb(100, 'abort'), ...back, kept), []);
  assert.match(found('I9', ...all, verb(100, 'abort'), ...back, final(1_000)).join(), /is not in the audit/);
  assert.deepEqual(found('I9', ...all, verb(100, 'pause', { replicated: 0 }), final(1_000)), [], 'not confirmed');
  assert.match(
    found('I9', ...all, verb(100, 'abort'), has(200, 'a', [10]), ended(300, 'Promoted'), kept).join(),
    /Promoted/,
  );
  assert.match(found('I9', ...all, verb(100, 'abort'), ended(300, 'Aborted'), kept).join(), /a ends with version 20/);
});

test('I9: after lost writes an abort stays one when a host remembers it', () => {
  const heard: Timed = [150, { e: 'cell', host: 'a', model: 'm', generation: 4, versions: [10], rolledBack: [20] }];
  const lost: Timed = [200, { e: 'lost-writes', since: 50 }];
  const resurrected = [
    ...boots,
    started(1),
    verb(100, 'abort'),
    lost,
    has(300, 'b', [20]),
    ended(400, 'Promoted'),
    final(900),
  ];
  assert.deepEqual(found('I9', ...resurrected), [], 'nobody knew');
  assert.equal(found('I9', ...resurrected, heard).length, 2);
  const later: Timed = [160, { e: 'cell', host: 'a', model: 'm', generation: 5, versions: [10, 30] }];
  assert.equal(found('I9', ...resurrected, heard, later).length, 2, 'the next rollout does not make it forget');
  const wanted: Timed = [160, { e: 'cell', host: 'a', model: 'm', generation: 5, versions: [10, 20] }];
  assert.deepEqual(found('I9', ...resurrected, heard, wanted), [], 'it was asked for again');
  const died: Timed = [250, { e: 'down', host: 'a', why: '' }];
  assert.deepEqual(found('I9', ...resurrected, heard, died), [], 'who knew is dead');
});

test('I5: a commit that is written down after the loss that took it away is of the store before', () => {
  const late = commit(105, { revision: 1 });
  const lost = (at: number): Timed => [100, { e: 'lost-writes', at }];
  assert.equal(found('I5', lost(104), late, final(200)).length, 1);
  assert.deepEqual(found('I5', lost(105), late, final(200)), []);
});

test('I9: what was taken back before an export stays so when it is restored from that', () => {
  const all = [...boots, started(1), verb(100, 'abort'), ended(120, 'Aborted'), has(300, 'b', [20]), final(900)];
  assert.equal(found('I9', ...all, [200, { e: 'lost-writes', exported: 150 }]).length, 1);
  assert.deepEqual(found('I9', ...all, [200, { e: 'lost-writes', exported: 110 }]), [], 'not in the export');
  assert.deepEqual(found('I9', ...all, [200, { e: 'lost-writes' }]), [], 'nothing to restore from but hosts');
});

test('I10: two answers to one question', () => {
  const [one, two] = ['call 1 for r-0-2-0', 'call 2 for r-0-2-0'];
  const both = [...asked(1, one), ...asked(2, two)];
  assert.deepEqual(found('I10', ...both, answer(3, one), answer(4, one)), [], 'asked twice with one key');
  assert.match(found('I10', ...both, answer(3, one), answer(4, two)).join(), /call 1 for r-0-2-0 became call 2/);
  const used = (t: number, text: string): Timed => commit(t, { revision: t, answers: [text] });
  assert.match(
    found('I10', ...both, answer(3, one), used(4, two)).join(),
    /became call 2/,
    'a controller goes by another',
  );
  assert.match(found('I10', ...both, used(3, one), used(4, two)).join(), /became call 2/);
  const lost: Timed = [4, { e: 'lost-writes' }];
  assert.deepEqual(found('I10', ...both, answer(3, one), lost, answer(5, two)), [], 'the first one was lost');
});

test('I10: an answer that was not given, or to somebody else', () => {
  const one = 'call 1 for r-0-2-0';
  assert.match(found('I10', answer(3, one)).join(), /was never answered so/);
  assert.match(found('I10', ...asked(1, one, { verdict: undefined }), answer(3, one)).join(), /never answered so/);
  assert.match(found('I10', ...asked(1, one, { rollout: 's' }), answer(3, one)).join(), /never answered so/);
  assert.match(found('I10', ...asked(1, one), answer(3, one, '1-2-0')).join(), /for r-1-2-0, which was never/);
  assert.deepEqual(found('I10', answer(3, 'ERR_GATE_UNREACHABLE: nobody', '0-2-0', 'insufficient-data')), []);
});

test('I10: another key for the same question, and one for two', () => {
  const first = asked(1, 'call 1 for r-0-2-0');
  const again = asked(5, 'call 2 for r-0-2-0-1');
  assert.match(found('I10', ...first, ...again).join(), /r-0-2-0-1 asks again what r-0-2-0 has asked/);
  const nobody = answer(3, 'ERR_GATE_UNREACHABLE: nobody', '0-2-0', 'insufficient-data');
  assert.deepEqual(found('I10', ...first, nobody, ...again), [], 'there was no verdict');
  assert.deepEqual(found('I10', ...first, verb(4, 'retry', { sent: 3 }), ...again), [], 'an operator wants it');
  assert.equal(found('I10', ...first, verb(7, 'retry', { sent: 6 }), ...again).length, 1, 'later');
  assert.deepEqual(found('I10', ...first, [3, { e: 'lost-writes' }], ...again), [], 'the store does not know it');
  assert.deepEqual(found('I10', ...first, ...asked(5, 'call 2 for r-1-2-0', { wave: 1 })), [], 'of the next wave');
  assert.match(found('I10', ...first, ...asked(5, 'call 2 for r-0-2-0', { wave: 1 })).join(), /is two questions/);
});

test('I11: a host that does not have what it is to have, or is down', () => {
  const wants = (generation: number, versions: readonly number[]): Timed =>
    final(100, { desired: [{ host: 'a', model: 'm', generation, versions, primary: versions.at(-1) }] });
  const all = [boots[0] as Timed, ...told(1, 'a', 3, [10], 10), has(2, 'a', [10])];
  assert.deepEqual(found('I11', ...all, wants(3, [10])), []);
  assert.match(found('I11', ...all, wants(3, [20])).join(), /has \{10\} primary 10 of m, and is to have \{20\}/);
  assert.match(found('I11', ...all, wants(4, [10])).join(), /acts on generation 3/);
  assert.match(found('I11', ...all, final(100)).join(), /is told nothing/);
  assert.match(found('I11', ...all, [50, { e: 'down', host: 'a', why: '' }], wants(3, [10])).join(), /a is down/);
  assert.match(found('I11', ...all).join(), /did not come to its end/);
  const left = (active?: string): Timed =>
    final(100, {
      desired: [{ host: 'a', model: 'm', generation: 3, versions: [10], primary: 10 }],
      models: [{ name: 'm', stable: 20, tombstones: [], active }],
    });
  assert.deepEqual(found('I11', ...all, left('r')), [], 'a rollout sees to it');
  assert.match(found('I11', ...all, left()).join(), /is to have \{10\} primary 10 of m in the end, and 20 is stable/);
});

test('I12: a bake that is too short, by the clock of the store and by what hosts did', () => {
  const short = [commit(1, { revision: 1, phase: 'Bake' }), commit(400, { revision: 2, phase: 'Prefetch', wave: 1 })];
  assert.match(found('I12', ...short).join(), /baked wave 1 for 399 ms, not 500/);
  assert.deepEqual(found('I12', ...short, verb(200, 'promote')), [], 'an operator did not wait');
  const early = [started(1), has(100, 'a', [10, 20], 20), ...told(500, 'b', 2, [10, 20])];
  assert.match(found('I12', ...early).join(), /hosts of wave 2 of r were told 400 ms after/);
  assert.match(found('I12', started(1), ...told(500, 'b', 2, [10, 20])).join(), /before any of the wave before served/);
});

test('requests: some are refused where the model is there', () => {
  const sum = (t: number, refused: number): Timed => [
    t,
    { e: 'requests', host: 'a', model: 'm', answered: 5, failed: 0, refused },
  ];
  const all = [...boots, has(1, 'a', [10]), sum(2, 0)];
  assert.deepEqual(found('requests', ...all, sum(3, 0), has(4, 'a', []), sum(5, 7), has(6, 'a', [20]), sum(7, 1)), []);
  assert.match(found('requests', ...all, sum(3, 2)).join(), /a has m, and refused 2 requests/);
});

test('gates: a poisoned version that becomes stable by itself', () => {
  const poisoned = started(1, 'r', 21);
  assert.match(found('gates', poisoned, ended(5, 'Promoted')).join(), /poisoned version 21/);
  assert.deepEqual(found('gates', poisoned, ended(5, 'RolledBack')), []);
  for (const harm of [20, 21, 22, 23, 24, 25, 26]) {
    const expected = harm === 20 || harm === 24 ? 0 : 1;
    assert.equal(found('gates', started(1, 'r', harm), ended(5, 'Promoted')).length, expected, `version ${harm}`);
  }
  const noWorse = { ...(started(1, 'r', 26)[1] as Extract<Note, { e: 'started' }>), from: 15 };
  assert.deepEqual(found('gates', [1, noWorse], ended(5, 'Promoted')), [], 'compared with one that is as late');
  assert.equal(found('gates', [1, { ...noWorse, from: 12 }], ended(5, 'Promoted')).length, 1);
  assert.deepEqual(found('gates', poisoned, verb(3, 'promote-full'), ended(5, 'FastPromoted')), []);
});
