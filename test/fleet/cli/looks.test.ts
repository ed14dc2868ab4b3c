import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AspiredError } from 'aspired';
import type { HostView, RolloutOutcome, RolloutState, RolloutView } from 'aspired/fleet';
import { EXIT } from '#lib/cli/exit-codes.js';
import { cli, FakeFleet, HALFWAY, recordOf, START, stateOf, viewOf } from './views.js';

const GET = ['fleet', 'rollout', 'get', 'ranker'];
const STATUS = ['fleet', 'rollout', 'status', 'ranker'];

function fleetOf(...views: (RolloutView | AspiredError)[]): FakeFleet {
  const fleet = new FakeFleet();
  fleet.views = views;
  return fleet;
}

const withState = (change: Partial<RolloutState>): RolloutView => ({
  ...HALFWAY,
  record: recordOf({ state: stateOf(change) }),
});
const ended = (outcome: RolloutOutcome): RolloutView => withState({ phase: 'Ended', outcome });
const away = new AspiredError('ERR_STORE_UNAVAILABLE', 'Redis does not answer.');

describe('rollout get', () => {
  it('prints one tree, without colour where there is no terminal', async () => {
    const { code, stdout } = await cli(GET);
    assert.equal(code, 0);
    assert.match(stdout, /^ranker-7 {2}ranker v42 → v43 {2}◌ Bake/);
    assert.ok(!stdout.includes('\u001b'));
  });

  it('has colour on a terminal, unless it is not wanted', async () => {
    const terminal = { columns: 200, rows: 50 };
    assert.ok((await cli(GET, { terminal })).stdout.includes('\u001b[1mranker-7\u001b[0m'));
    assert.ok(!(await cli([...GET, '--no-color'], { terminal })).stdout.includes('\u001b'));
    assert.ok(!(await cli(GET, { terminal, env: { NO_COLOR: '1' } })).stdout.includes('\u001b'));
    assert.ok((await cli(GET, { terminal, env: { NO_COLOR: '' } })).stdout.includes('\u001b'));
  });

  it('as JSON has every field, null where there is nothing', async () => {
    const { stdout } = await cli([...GET, '--output', 'json']);
    const zero = Object.fromEntries(
      [
        'serving',
        'ready',
        'loading',
        'fetched',
        'fetching',
        'waiting',
        'back',
        'rolling-back',
        'failed',
        'away',
        'cordoned',
      ].map((state) => [state, 0]),
    );
    assert.deepEqual(JSON.parse(stdout), {
      schema: 1,
      rollout: 'ranker-7',
      model: 'ranker',
      version: 43,
      from: 42,
      revision: 57,
      phase: 'Bake',
      outcome: null,
      paused: false,
      wave: 2,
      waveCount: 3,
      hostCount: 6,
      startedAt: START,
      phaseAt: START + 60_000,
      endedAt: null,
      actor: 'ci',
      reason: 'weekly model',
      why: null,
      now: START + 192_000,
      deadlineAt: START + 3_600_000,
      bakeUntil: START + 360_000,
      hosts: { ...zero, serving: 3, waiting: 3 },
      waves: [
        { wave: 1, selector: '1 host', hosts: { ...zero, serving: 1 } },
        { wave: 2, selector: '50 %', hosts: { ...zero, serving: 2 } },
        { wave: 3, selector: '100 %', hosts: { ...zero, waiting: 3 } },
      ],
      gates: [
        { kind: 'load', verdict: null, message: null, figures: {} },
        { kind: 'traffic', verdict: null, message: null, figures: {} },
      ],
      hold: null,
      attention: [],
    });
  });

  it('as JSON lists the hosts that need attention, the gates and the hold', async () => {
    const state = stateOf({
      hold: { code: 'loading', message: 'one loads', hosts: ['b3'], hostCount: 1 },
      verdicts: { 1: { verdict: 'fail', message: 'slow', figures: { p99: 41 } } },
    });
    const view = viewOf(['serving', 'away', 'serving', 'ready', 'loading', 'failed'], {
      record: recordOf({ state }),
      errors: new Map([[5, 'ERR_MODEL_INVALID: no model']]),
    });
    const json = JSON.parse((await cli([...GET, '--output', 'json'], { fleet: fleetOf(view) })).stdout);
    assert.deepEqual(json.attention, [
      { host: 'a2', zone: 'eu-1a', state: 'away', message: null },
      { host: 'b3', zone: 'eu-1b', state: 'failed', message: 'ERR_MODEL_INVALID: no model' },
    ]);
    assert.deepEqual(json.gates[1], { kind: 'traffic', verdict: 'fail', message: 'slow', figures: { p99: 41 } });
    assert.deepEqual(json.hold, { code: 'loading', message: 'one loads', hosts: ['b3'], hostCount: 1, until: null });
  });
});

describe('rollout get -w', () => {
  const later = viewOf(['serving', 'serving', 'serving', 'ready', 'waiting', 'waiting']);

  it('prints a line per change, and none when only time passed', async () => {
    const fleet = fleetOf(HALFWAY, { ...HALFWAY, now: HALFWAY.now + 500 }, later, ended('Promoted'));
    const { code, stdout } = await cli([...GET, '-w'], { fleet });
    assert.equal(code, 0);
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^\S+ /, '')),
      [
        'ranker-7 ranker v43 Bake wave 2/3 rev 57: 3/6 serving, 3 waiting',
        'ranker-7 ranker v43 Bake wave 2/3 rev 57: 3/6 serving, 1 ready, 2 waiting',
        'ranker-7 ranker v43 Promoted rev 57: 3/6 serving, 3 waiting',
      ],
    );
  });

  it('as JSON prints one line per change', async () => {
    const fleet = fleetOf(HALFWAY, HALFWAY, later, ended('Promoted'));
    const { stdout } = await cli([...GET, '-w', '--output', 'json'], { fleet, terminal: { columns: 20, rows: 5 } });
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ phase, hosts }) => [phase, hosts.ready]),
      [
        ['Bake', 0],
        ['Bake', 1],
        ['Ended', 0],
      ],
    );
  });

  it('draws in place on a terminal, and never more than fits', async () => {
    const fleet = fleetOf(HALFWAY, later, later, ended('Promoted'));
    const { stdout } = await cli([...GET, '-w', '--no-color'], { fleet, terminal: { columns: 40, rows: 9 } });
    // The cursor goes up by what was drawn before; the same frame is not drawn twice.
    const frames = stdout.split('\u001b[8A\r');
    assert.equal(frames.length, 3);
    for (const [index, frame] of frames.entries()) {
      // What was longer in the frame before is cleared line by line, and below the last one.
      assert.ok(frame.endsWith('\u001b[K\n\u001b[J'));
      const lines = frame.slice(0, -7).split('\u001b[K\n');
      assert.equal(lines.length, 8);
      assert.ok(lines.every((line) => [...line].length <= 40));
      assert.match(lines.at(-1) as string, [/^… 3 more lines$/, /^… 3 more lines$/, /v43 is stable$/][index] as RegExp);
    }
    assert.match(frames[1] as string, /wave 3 {2}100 % {3}0\/3 {2}1 ready/);
  });

  it('tells that the store is away once, and goes on when it is back', async () => {
    const fleet = fleetOf(HALFWAY, away, away, ended('Promoted'));
    const { code, stdout, stderr } = await cli([...GET, '-w'], { fleet });
    assert.equal(code, 0);
    assert.equal(stderr, 'ERR_STORE_UNAVAILABLE: Redis does not answer.\n');
    assert.equal(stdout.trimEnd().split('\n').length, 2);
  });

  it('asks for the id it found, not for the model again', async () => {
    const fleet = fleetOf(HALFWAY, ended('Promoted'));
    await cli([...GET, '-w'], { fleet });
    assert.deepEqual(
      fleet.asked.map(({ args }) => args[0]),
      ['ranker', 'ranker-7'],
    );
  });

  it('ends with 130 when it is interrupted, and with the error when there is nothing to watch', async () => {
    const stop = new AbortController();
    const fleet = fleetOf(HALFWAY);
    const running = cli([...GET, '-w'], { fleet, signal: stop.signal });
    stop.abort();
    assert.equal((await running).code, EXIT.INTERRUPTED);
    const none = fleetOf(new AspiredError('ERR_ROLLOUT_NOT_FOUND', 'none'));
    assert.deepEqual(await cli([...GET, '-w'], { fleet: none }), {
      code: EXIT.NOT_FOUND,
      stdout: '',
      stderr: 'ERR_ROLLOUT_NOT_FOUND: none\n',
    });
  });
});

describe('rollout status', () => {
  it('answers how it ended: 0 promoted, 1 rolled back or aborted, 3 frozen', async () => {
    for (const [view, code] of [
      [ended('Promoted'), 0],
      [ended('FastPromoted'), 0],
      [ended('RolledBack'), 1],
      [ended('Aborted'), 1],
      [ended('Undone'), 1],
      [ended('StoreLost'), 1],
      [withState({ phase: 'Frozen', frozenIn: 'Bake' }), 3],
    ] as const) {
      assert.equal((await cli([...STATUS, '--timeout', '30m'], { fleet: fleetOf(view) })).code, code);
      assert.equal((await cli(STATUS, { fleet: fleetOf(view) })).code, code);
    }
  });

  it('waits for it with a timeout, and answers 2 when that has passed', async () => {
    assert.equal(
      (await cli([...STATUS, '--timeout', '30m'], { fleet: fleetOf(HALFWAY, away, ended('Aborted')) })).code,
      1,
    );
    const timeout = await cli([...STATUS, '--timeout', '20ms'], { fleet: fleetOf(HALFWAY) });
    assert.equal(timeout.code, 2);
    assert.match(timeout.stdout, /Bake wave 2\/3 rev 57: 3\/6 serving, 3 waiting\n$/);
    assert.equal((await cli(STATUS, { fleet: fleetOf(HALFWAY) })).code, 2);
  });
});

describe('the fleet', () => {
  const host: HostView = {
    host: {
      index: 0,
      info: {
        id: 'a1',
        zone: 'eu-1a',
        labels: { tier: 'canary' },
        capacityBytes: 2 ** 30,
        agentVersion: '0.1.0',
        schema: 1,
      },
      cordoned: false,
    },
    lease: { bootId: 'boot', sequence: 3 },
    report: {
      info: { id: 'a1', zone: 'eu-1a', labels: {}, capacityBytes: 2 ** 30, agentVersion: '0.1.0', schema: 1 },
      status: { bootId: 'boot', sequence: 3, revision: 9, usedBytes: 2 ** 20, clock: START },
      models: new Map([
        [
          'ranker',
          {
            generation: 5,
            primary: 42,
            versions: [
              { version: 42, managerState: 'Available', ramBytes: 2 ** 20, loadMs: 12.3 },
              {
                version: 43,
                managerState: 'End',
                error: { code: 'ERR_MODEL_INVALID', message: 'no model', attempts: 3, permanent: true },
              },
            ],
          },
        ],
      ]),
    },
    desired: new Map([['ranker', { generation: 6, versions: [42, 43], primary: 42 }]]),
  };

  it('hosts shows what a host has and what it should have', async () => {
    const fleet = new FakeFleet();
    fleet.hostViews = [host];
    const { stdout } = await cli(['fleet', 'hosts'], { fleet });
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      'HOST  ZONE   STATE  USED      CAPACITY  MODELS',
      'a1    eu-1a  alive  1.00 MiB  1.00 GiB  ranker v42 (should be v42+v43)',
    ]);
    assert.equal((await cli(['fleet', 'hosts', '--zone', 'eu-1b'], { fleet })).stdout.trimEnd().split('\n').length, 1);
    const json = JSON.parse((await cli(['fleet', 'hosts', '--output', 'json', '--model', 'other'], { fleet })).stdout);
    assert.deepEqual([json.hosts[0].alive, json.hosts[0].usedBytes, json.hosts[0].models], [true, 2 ** 20, []]);
  });

  it('host describe goes into every version, with its error', async () => {
    const fleet = new FakeFleet();
    fleet.hostViews = [host];
    const { stdout } = await cli(['fleet', 'host', 'describe', 'a1'], { fleet });
    assert.match(stdout, /labels {4}tier=canary/);
    assert.match(stdout, /ranker {2}v42\+v43 {2}v42 {6}Available {2}1\.00 MiB {2}12 ms/);
    assert.match(stdout, /v43 {6}End .*ERR_MODEL_INVALID: no model/);
    assert.deepEqual(await cli(['fleet', 'host', 'describe', 'zz'], { fleet }), {
      code: EXIT.NOT_FOUND,
      stdout: '',
      stderr: 'ERR_HOST_NOT_FOUND: No host of the fleet is called zz.\n',
    });
  });

  it('cordon and uncordon ask for it', async () => {
    const fleet = new FakeFleet();
    await cli(['fleet', 'host', 'cordon', 'a1', '--reason', 'disk'], { fleet });
    await cli(['fleet', 'host', 'uncordon', 'a1', '--reason', 'disk is back'], { fleet });
    assert.deepEqual(
      fleet.asked.map(({ args }) => args.slice(0, 2)),
      [
        ['a1', true],
        ['a1', false],
      ],
    );
  });

  it('list, history and audit: tables, and JSON with one shape', async () => {
    assert.match(
      (await cli(['fleet', 'list'])).stdout,
      /ROLLOUT[^\n]+\nranker-7 {2}ranker {2}v43 {6}Bake {3}2\/3 {3}3\/6/,
    );
    assert.match((await cli(['fleet', 'history', 'ranker'])).stdout, /2026-11-24T12:00:00Z {2}ci: weekly model/);
    const json = JSON.parse((await cli(['fleet', 'history', 'ranker', '--output', 'json'])).stdout);
    assert.deepEqual([json.schema, json.model, json.rollouts[0].rollout], [1, 'ranker', 'ranker-7']);
    const audit = (await cli(['fleet', 'audit', 'ranker'])).stdout;
    // What an actor or a host wrote does not reach the terminal as a command to it.
    assert.ok(!audit.includes('\u001b'));
    const lines = (await cli(['fleet', 'audit', 'ranker', '--output', 'json'])).stdout.trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)).map(({ event, revision }) => [event, revision]),
      [
        ['started', null],
        ['phase', 1],
      ],
    );
  });

  it('doctor fails when something is wrong', async () => {
    const { code, stdout } = await cli(['fleet', 'doctor']);
    assert.equal(code, EXIT.FAILED);
    assert.equal(stdout, '✔ Redis 7.0.15\n✖ ERR_STORE_EVICTS: maxmemory-policy is allkeys-lru\n');
  });

  it('what export wrote can be restored', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'aspired-cli-'));
    try {
      const file = join(folder, 'fleet.json');
      assert.equal((await cli(['fleet', 'export', '-o', file])).code, 0);
      assert.equal(await readFile(file, 'utf8'), (await cli(['fleet', 'export'])).stdout);
      const fleet = new FakeFleet();
      const { code, stdout } = await cli(['fleet', 'restore', file, '--reason', 'lost'], { fleet });
      assert.deepEqual([code, stdout], [0, `restored at ${new Date(START).toISOString()}, incarnation second\n`]);
      assert.deepEqual(fleet.asked[0]?.args[0], await new FakeFleet().exportAll());
      // The same file goes on where the first one was interrupted; another file does not.
      await cli(['fleet', 'restore', file, '--reason', 'again'], { fleet });
      await writeFile(file, JSON.stringify(await new FakeFleet().exportAll()).replace('"first"', '"other"'));
      await cli(['fleet', 'restore', file, '--reason', 'lost'], { fleet });
      await cli(['fleet', 'restore', file, '--reason', 'lost', '--operation', 'mine'], { fleet });
      const operations = fleet.asked.map(({ args }) => (args[1] as { operation: string }).operation);
      assert.match(operations[0] ?? '', /^restore-[0-9a-f]{32}$/);
      assert.equal(operations[1], operations[0]);
      assert.match(operations[2] ?? '', /^restore-[0-9a-f]{32}$/);
      assert.notEqual(operations[2], operations[0]);
      assert.equal(operations[3], 'mine');
      assert.equal(
        (await cli(['fleet', 'restore', '--from-hosts', '--reason', 'lost'])).stdout,
        `restored at ${new Date(START).toISOString()}, incarnation third\n`,
      );
      assert.equal((await cli(['fleet', 'restore', '--reason', 'lost'])).code, EXIT.USAGE);
      assert.equal((await cli(['fleet', 'restore', join(folder, 'none'), '--reason', 'lost'])).code, EXIT.USAGE);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
