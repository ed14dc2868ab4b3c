import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RolloutView } from 'aspired/fleet';
import { momentKey, rolloutLine } from '#lib/cli/render/plain.js';
import { paint, shortTime } from '#lib/cli/render/text.js';
import { rolloutTree } from '#lib/cli/render/tree.js';
import { HALFWAY, planOf, recordOf, START, stateOf, viewOf } from './views.js';

const text = (view: RolloutView): string =>
  rolloutTree(view)
    .map((line) => paint(line, { color: false }))
    .join('\n');

const golden = (lines: string): string => lines.replace(/^\n/, '').replace(/\n\s*$/, '');

describe('the tree of a rollout', () => {
  it('shows waves, gates with their figures and how long the bake still takes', () => {
    const state = stateOf({
      hold: { code: 'bake', message: 'The bake is on.', hosts: [], hostCount: 0, until: START + 360_000 },
      verdicts: {
        0: { verdict: 'pass', message: '0 hosts failed' },
        1: { verdict: 'insufficient-data', message: '412 of 1000 requests in eu-1b' },
      },
    });
    assert.equal(
      text({ ...HALFWAY, record: recordOf({ state }) }),
      golden(`
ranker-7  ranker v42 → v43  ◌ Bake  wave 2/3 (50 %)  rev 57
│  ██████████░░░░░░░░░░ 3/6 hosts serve it  for 3m12s, deadline in 56m48s  by ci: weekly model
├─ ✔ wave 1  1 host  1/1
├─ ✔ wave 2  50 %    2/2
│  ├─ ✔ eu-1a  1/1
│  └─ ✔ eu-1b  1/1
├─ ◷ wave 3  100 %   0/3  3 waiting
├─ ✔ gate load  0 hosts failed
├─ ◷ gate traffic  insufficient data: 412 of 1000 requests in eu-1b
└─ ◌ waits for: bake 2m48s left
`),
    );
  });

  it('names the hosts that need attention, also in waves that are over, and what the rollout waits for', () => {
    const hold = {
      code: 'loading' as const,
      message: '2 of 3 hosts have version 43.',
      hosts: ['b3'],
      hostCount: 1,
      until: START + 200_000,
    };
    const record = recordOf({ state: stateOf({ phase: 'WaitReady', wave: 2, hold }) });
    const errors = new Map([[5, 'ERR_MODEL_INVALID: no model\n\u001b[2J in it']]);
    assert.equal(
      text(viewOf(['serving', 'away', 'serving', 'ready', 'loading', 'failed'], { record, errors })),
      golden(`
ranker-7  ranker v42 → v43  ◌ WaitReady  wave 3/3 (100 %)  rev 57
│  ██████░░░░░░░░░░░░░░ 2/6 hosts serve it  for 3m12s, deadline in 56m48s  by ci: weekly model
├─ ✔ wave 1  1 host  1/1
├─ ⚠ wave 2  50 %    1/2  1 away
│  ├─ ⚠ eu-1a  0/1  1 away
│  │  └─ ⚠ a2  no lease: its agent is away
│  └─ ✔ eu-1b  1/1
├─ ✖ wave 3  100 %   0/3  1 ready  1 loading  1 failed
│  ├─ ◌ eu-1a  0/1  1 ready
│  └─ ✖ eu-1b  0/2  1 loading  1 failed
│     └─ ✖ b3  ERR_MODEL_INVALID: no model [2J in it
├─ ◷ gate load  not judged in this wave yet
├─ ◷ gate traffic  not judged in this wave yet
└─ ◌ waits for: 2 of 3 hosts have version 43 (at least 8s more); b3
`),
    );
  });

  it('counts hosts that are back while it goes back, and says why it does', () => {
    const rollback = {
      outcome: 'RolledBack' as const,
      reason: 'gate traffic failed: 9 % errors against 0 %',
      tombstone: true,
    };
    const record = recordOf({ state: stateOf({ phase: 'Rollback', rollback }) });
    assert.equal(
      text(viewOf(['back', 'back', 'rolling-back', 'waiting', 'waiting', 'cordoned'], { record })),
      golden(`
ranker-7  ranker v42 → v43  ✖ Rollback  wave 2/3 (50 %)  rev 57
│  ██████░░░░░░░░░░░░░░ 2/6 hosts are back  for 3m12s, deadline in 56m48s  by ci: weekly model
├─ ✔ wave 1  1 host  1/1
├─ ◌ wave 2  50 %    1/2  1 rolling-back
│  ├─ ✔ eu-1a  1/1
│  └─ ◌ eu-1b  0/1  1 rolling-back
├─ ◷ wave 3  100 %   0/3  2 waiting  1 cordoned
├─ ◷ gate load  not judged in this wave yet
├─ ◷ gate traffic  not judged in this wave yet
└─ ◌ waits for: going back: gate traffic failed: 9 % errors against 0 %
`),
    );
  });

  it('ends with how it came out', () => {
    const stamps = { startedAt: START, phaseAt: START + 90_000, progressAt: START, endedAt: START + 90_000 };
    const promoted = recordOf({ stamps, state: stateOf({ phase: 'Ended', wave: 2, outcome: 'Promoted' }) });
    const all = Array.from({ length: 6 }, () => 'serving' as const);
    const lines = text(viewOf(all, { record: promoted })).split('\n');
    assert.equal(lines[0], 'ranker-7  ranker v42 → v43  ✔ Promoted  rev 57');
    assert.equal(lines[1], '│  ████████████████████ 6/6 hosts serve it  took 1m30s  by ci: weekly model');
    assert.equal(lines.at(-1), '└─ ✔ v43 is stable');
    const rollback = { outcome: 'RolledBack' as const, reason: 'gate load failed.', tombstone: true };
    const bad = recordOf({ stamps, state: stateOf({ phase: 'Ended', outcome: 'RolledBack', rollback }) });
    assert.equal(
      text(viewOf(['back', 'back', 'waiting', 'waiting', 'waiting', 'waiting'], { record: bad }))
        .split('\n')
        .at(-1),
      '└─ ✖ gate load failed; v43 is tombstoned',
    );
  });

  it('shows that it is paused or frozen', () => {
    const headline = (change: Parameters<typeof stateOf>[0]): string =>
      text({ ...HALFWAY, record: recordOf({ state: stateOf(change) }) }).split('\n')[0] as string;
    assert.match(headline({ paused: true }), /॥ Bake, paused {2}wave 2\/3/);
    assert.match(headline({ phase: 'Frozen', frozenIn: 'WaitReady' }), /॥ Frozen in WaitReady {2}wave 2\/3/);
  });

  it('shows no zones where there is only one, and at most five hosts with their problem', () => {
    const hosts = Array.from({ length: 8 }, (_, i) => `h${i}`);
    const none = hosts.map(() => 0);
    const plan = planOf({ hosts, zoneOf: none, zones: ['default'], waveOf: none, waves: ['100 %'], gates: [] });
    const record = recordOf({ plan, state: stateOf({ wave: 0, phase: 'WaitReady' }) });
    const lines = text(
      viewOf(
        hosts.map(() => 'away' as const),
        { record },
      ),
    ).split('\n');
    assert.deepEqual(lines.slice(2), [
      '├─ ⚠ wave 1  100 %  0/8  8 away',
      ...[0, 1, 2, 3, 4].map((i) => `│  ├─ ⚠ h${i}  no lease: its agent is away`),
      '│  └─ … 3 more',
      '└─ ◌ waits for: nothing, the next step is due',
    ]);
  });

  it('is the same for the same moment, and draws 10,000 hosts in one frame', () => {
    const hosts = Array.from({ length: 10_000 }, (_, i) => `host-${i}`);
    const plan = planOf({ hosts, zoneOf: hosts.map((_, i) => i % 2), waveOf: hosts.map((_, i) => i % 3) });
    const view = viewOf(
      hosts.map((_, i) => (i % 3 === 2 ? 'waiting' : 'serving')),
      { record: recordOf({ plan }) },
    );
    const first = text(view);
    const began = performance.now();
    assert.equal(text(view), first);
    // A frame is drawn every 500 ms; this says that it is not quadratic, on any machine.
    assert.ok(performance.now() - began < 400, `${performance.now() - began} ms`);
    assert.match(first, /6667\/10000 hosts serve it/);
  });
});

describe('text', () => {
  it('is cut by its characters, not by its colours', () => {
    const line = rolloutTree(HALFWAY)[0] as Parameters<typeof paint>[0];
    const painted = paint(line, { color: true, columns: 30 });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters.
    const bare = painted.replace(/\u001b\[\d+m/g, '');
    assert.equal(bare, 'ranker-7  ranker v42 → v43  ◌…');
    assert.ok(painted.includes('\u001b[1mranker-7\u001b[0m'));
    assert.ok(painted.includes('\u001b[36m◌\u001b[0m'));
  });

  it('counts down to 0s and not before', () => {
    const times = [0, 1, 999, 1000, 59_001, 61_000, 3_599_000, 3_840_000, 187_200_000].map(shortTime);
    assert.deepEqual(times, ['0s', '1s', '1s', '1s', '1m00s', '1m01s', '59m59s', '1h04m', '2d04h']);
  });
});

describe('the line of a rollout', () => {
  it('says when, which, where it is, how many hosts, and why it waits', () => {
    const hold = { code: 'bake' as const, message: 'bake until 12:06', hosts: [], hostCount: 0 };
    assert.equal(
      rolloutLine({ ...HALFWAY, record: recordOf({ state: stateOf({ hold }) }) }),
      '2026-11-24T12:03:12Z ranker-7 ranker v43 Bake wave 2/3 rev 57: 3/6 serving, 3 waiting; bake until 12:06',
    );
  });

  it('is worth another line when something changed, not when time passed', () => {
    const later = { ...HALFWAY, now: HALFWAY.now + 5000 };
    assert.equal(momentKey(later), momentKey(HALFWAY));
    const changed = [
      viewOf(['serving', 'serving', 'serving', 'ready', 'waiting', 'waiting']),
      { ...HALFWAY, record: recordOf({ state: stateOf({ paused: true }) }) },
      { ...HALFWAY, record: recordOf({ state: stateOf({ verdicts: { 1: { verdict: 'pass', message: '' } } }) }) },
      { ...HALFWAY, record: recordOf({ state: stateOf({ phase: 'Contract' }) }) },
    ];
    for (const view of changed) assert.notEqual(momentKey(view), momentKey(HALFWAY));
  });
});
