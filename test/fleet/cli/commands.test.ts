import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AspiredError } from 'aspired';
import { EXIT } from '#lib/cli/exit-codes.js';
import { gateArgument, targetOf, wavesArgument } from '#lib/cli/plan-options.js';
import { cli, FakeFleet } from './views.js';

const ROLLOUT = ['fleet', 'rollout'];
const WHY = ['--reason', 'weekly model'];

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'aspired-cli-'));
});
after(() => rm(folder, { recursive: true, force: true }));

describe('verbs', () => {
  it('are refused without a reason, before the fleet is asked', async () => {
    const commands = [
      [...ROLLOUT, 'start', 'ranker@43'],
      ...['pause', 'resume', 'promote', 'abort', 'undo', 'retry', 'freeze'].map((verb) => [...ROLLOUT, verb, 'ranker']),
      ['fleet', 'host', 'cordon', 'a1'],
      ['fleet', 'host', 'remove', 'a1'],
      ['fleet', 'restore', '--from-hosts'],
    ];
    for (const command of commands) {
      const fleet = new FakeFleet();
      const { code, stdout, stderr } = await cli([...command, '--reason', '  '], { fleet });
      assert.deepEqual(
        [code, stdout, stderr],
        [64, '', 'Say why, for the audit trail: --reason "..."\n'],
        command.join(' '),
      );
      assert.deepEqual(fleet.asked, []);
    }
  });

  it('print the answer, the revision and how many replicas have it', async () => {
    const fleet = new FakeFleet();
    const { code, stdout } = await cli([...ROLLOUT, 'pause', 'ranker', ...WHY], { fleet });
    assert.equal(code, EXIT.OK);
    assert.equal(stdout, 'ranker-7: pause applied: it stops\nrevision 58, replicated 1 of 2\n');
    assert.equal(fleet.closed, true);
  });

  it('take the actor from --actor, else ASPIRED_ACTOR, else the user; the operation is unique unless it is given', async () => {
    const fleet = new FakeFleet();
    const env = { ASPIRED_ACTOR: 'ci' };
    await cli([...ROLLOUT, 'pause', 'ranker', ...WHY, '--actor', 'ops', '--operation', 'once'], { fleet, env });
    await cli([...ROLLOUT, 'pause', 'ranker', ...WHY], { fleet, env });
    await cli([...ROLLOUT, 'pause', 'ranker', ...WHY], { fleet });
    const intents = fleet.asked.map(({ args }) => args[2] as { actor: string; operation: string; reason: string });
    assert.deepEqual(
      intents.map(({ actor, reason }) => [actor, reason]),
      ['ops', 'ci', 'somebody'].map((actor) => [actor, 'weekly model']),
    );
    assert.equal(intents[0]?.operation, 'once');
    assert.notEqual(intents[1]?.operation, intents[2]?.operation);
  });

  it('promote --full is another verb than promote', async () => {
    const fleet = new FakeFleet();
    await cli([...ROLLOUT, 'promote', 'ranker', ...WHY], { fleet });
    await cli([...ROLLOUT, 'promote', 'ranker', '--full', ...WHY], { fleet });
    assert.deepEqual(
      fleet.asked.map(({ args }) => args.slice(0, 2)),
      [
        ['ranker', 'promote'],
        ['ranker', 'promote-full'],
      ],
    );
  });

  it('retry --force says so', async () => {
    const fleet = new FakeFleet();
    await cli([...ROLLOUT, 'retry', 'ranker', ...WHY], { fleet });
    await cli([...ROLLOUT, 'retry', 'ranker', '--force', ...WHY], { fleet });
    assert.deepEqual(
      fleet.asked.map(({ args }) => args[3]),
      [{ force: false }, { force: true }],
    );
  });

  it('end with 2 when no controller has looked at them in time', async () => {
    const fleet = new FakeFleet();
    fleet.done = { ...fleet.done, outcome: 'pending', message: 'abort is written' };
    const { code, stdout } = await cli([...ROLLOUT, 'abort', 'ranker', ...WHY], { fleet });
    assert.equal(code, EXIT.TIMEOUT);
    assert.match(stdout, /^ranker-7: abort pending: abort is written\n/);
  });

  it('fail with 65 when they were refused', async () => {
    const fleet = new FakeFleet();
    fleet.done = { ...fleet.done, outcome: 'refused', message: 'it has ended' };
    const { code, stdout } = await cli([...ROLLOUT, 'abort', 'ranker', ...WHY, '--output', 'json'], { fleet });
    assert.equal(code, EXIT.REFUSED);
    assert.deepEqual(JSON.parse(stdout), {
      schema: 1,
      rollout: 'ranker-7',
      verb: 'abort',
      outcome: 'refused',
      message: 'it has ended',
      revision: 58,
      replicated: 1,
      replicas: 2,
    });
  });
});

describe('rollout start', () => {
  const planOf = async (...args: string[]): Promise<unknown> => {
    const fleet = new FakeFleet();
    const { code, stderr } = await cli([...ROLLOUT, 'start', 'ranker@43', ...WHY, ...args], { fleet });
    assert.equal(code, 0, stderr);
    return fleet.asked[0]?.args[0];
  };

  it('says nothing of what was not said, so that the defaults are those of a plan', async () => {
    assert.deepEqual(await planOf(), { model: 'ranker', version: 43 });
  });

  it('carries every flag into the plan', async () => {
    const flags = [
      ...['--waves', '1,label=tier:canary,zone=eu-1a,hosts=a1+b2,25%', '--bake', '90s', '--max-unavailable', '2'],
      ...['--ready-quorum', '95', '--min-alive', '70', '--deadline', '2h', '--progress-deadline', '5m'],
      ...['--on-deadline', 'freeze', '--on-failure', 'freeze', '--keep-warm', 'wave', '--bytes', '1.5GiB'],
      ...['--surge-bytes', '512MiB', '--no-prefetch', '--force'],
      ...['--gate', 'load', '--gate', 'traffic:minRequests=50,onInsufficientData=pass'],
      ...['--gate', 'webhook:http://127.0.0.1:1/a?b=c'],
    ];
    assert.deepEqual(await planOf(...flags), {
      model: 'ranker',
      version: 43,
      waves: [
        { hosts: 1 },
        { labels: { tier: 'canary' } },
        { zone: 'eu-1a' },
        { hosts: ['a1', 'b2'] },
        { percent: 25 },
      ],
      bake: 90_000,
      maxUnavailable: 2,
      readyQuorum: 95,
      minAlive: 70,
      deadline: 7_200_000,
      progressDeadline: 300_000,
      onDeadline: 'freeze',
      onFailure: 'freeze',
      keepWarm: 'wave',
      bytes: 1.5 * 2 ** 30,
      surgeBytes: 2 ** 29,
      prefetch: false,
      force: true,
      gates: [
        { kind: 'load' },
        { kind: 'traffic', minRequests: 50, onInsufficientData: 'pass' },
        { kind: 'webhook', url: 'http://127.0.0.1:1/a?b=c' },
      ],
    });
  });

  it('reads a plan from a file; flags and the model go before it', async () => {
    const file = join(folder, 'plan.json');
    await writeFile(file, '{"bake":"10m","keepWarm":"wave","model":"other","gates":[{"kind":"load","maxErrors":2}]}');
    assert.deepEqual(await planOf('--plan', file, '--bake', '1s'), {
      model: 'ranker',
      version: 43,
      bake: 1000,
      keepWarm: 'wave',
      gates: [{ kind: 'load', maxErrors: 2 }],
    });
    assert.deepEqual(await planOf('--plan', file, '--gate', 'none', '--bake', '1s'), {
      model: 'ranker',
      version: 43,
      bake: 1000,
      keepWarm: 'wave',
      gates: [],
    });
  });

  it('refuses texts that cannot be meant, and says what would be right', async () => {
    for (const [text, expected] of [
      [['--waves', '10%,eu-1a'], /zone=NAME/],
      [['--gate', 'latency'], /'load', 'traffic', 'webhook:URL'/],
      [['--gate', 'traffic:minRequests'], /NAME=VALUE/],
      [['--bake', 'soon'], /a duration like '90s'/],
      [['--max-unavailable', 'few'], /'10%'/],
      [['--bytes', '12G'], /'512MiB'/],
      [['--plan', join(folder, 'no-such.json')], /cannot be read/],
      [['--on-failure', 'ignore'], /rollback, freeze/],
      [['--bakes', '1m'], /Did you mean --bake\?/],
    ] as const) {
      const fleet = new FakeFleet();
      const { code, stderr } = await cli([...ROLLOUT, 'start', 'ranker@43', ...WHY, ...text], { fleet });
      assert.equal(code, EXIT.USAGE, text.join(' '));
      assert.match(stderr, expected);
      assert.deepEqual(fleet.asked, []);
    }
    for (const target of ['ranker', 'ranker@', 'ranker@v43', '@43', 'ranker@43.5']) {
      const { code, stderr } = await cli([...ROLLOUT, 'start', target, ...WHY]);
      assert.deepEqual([code, /MODEL@VERSION/.test(stderr)], [EXIT.USAGE, true], target);
    }
    assert.deepEqual(targetOf('a@b@3'), { model: 'a@b', version: 3 });
    assert.deepEqual(wavesArgument('10%'), [{ percent: 10 }]);
    assert.deepEqual(gateArgument('none', [{ kind: 'load' }]), []);
  });
});

describe('errors', () => {
  const withError = (error: unknown) =>
    cli(['fleet', 'list'], {
      connect: async () => {
        throw error;
      },
    });

  it('are told as their code and message, with an exit code of their kind', async () => {
    for (const [code, exit] of [
      ['ERR_PLAN_INVALID', EXIT.USAGE],
      ['ERR_ROLLOUT_ACTIVE', EXIT.REFUSED],
      ['ERR_VERSION_TOMBSTONED', EXIT.REFUSED],
      ['ERR_STORE_EMPTY', EXIT.REFUSED],
      ['ERR_PEER_NOT_FOUND', EXIT.REFUSED],
      ['ERR_ROLLOUT_NOT_FOUND', EXIT.NOT_FOUND],
      ['ERR_STORE_UNAVAILABLE', EXIT.UNAVAILABLE],
      ['ERR_STORE_DENIED', EXIT.DENIED],
      ['ERR_INTERNAL', EXIT.INTERNAL],
    ] as const) {
      const ran = await withError(new AspiredError(code, 'what happened'));
      assert.deepEqual(ran, { code: exit, stdout: '', stderr: `${code}: what happened\n` });
    }
    const strange = await withError(new TypeError('not ours'));
    assert.equal(strange.code, EXIT.INTERNAL);
    assert.match(strange.stderr, /^ERR_INTERNAL: TypeError: not ours\n {4}at /);
  });

  it('of the command line are 64, with the nearest command', async () => {
    const typo = await cli(['fleet', 'rollout', 'aborted', 'ranker']);
    assert.deepEqual([typo.code, typo.stdout], [EXIT.USAGE, '']);
    assert.match(typo.stderr, /unknown command 'aborted'[\s\S]*Did you mean abort\?/);
    assert.equal((await cli(['fleet', 'rollout', 'get'])).code, EXIT.USAGE);
    assert.equal((await cli(['fleet', 'list', '--output', 'xml'])).code, EXIT.USAGE);
  });

  it('help and the version are no errors', async () => {
    const help = await cli(['fleet', '--help']);
    assert.deepEqual([help.code, help.stderr], [0, '']);
    for (const word of ['rollout', 'hosts', 'doctor', 'audit', 'Exit codes', 'ASPIRED_REDIS']) {
      assert.ok(help.stdout.includes(word), word);
    }
    const freeze = await cli([...ROLLOUT, 'freeze', '--help']);
    assert.match(freeze.stdout.replaceAll(/\s+/g, ' '), /at the deadline it goes back, unless --on-deadline freeze/);
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    assert.equal((await cli(['--version'])).stdout, `${version}\n`);
  });
});

describe('where the fleet is', () => {
  const addressOf = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<unknown> => {
    let seen: unknown;
    const connect = async (where: unknown) => {
      seen = where;
      return new FakeFleet();
    };
    const { code, stderr } = await cli(argv, { env, connect });
    assert.equal(code, 0, stderr);
    return seen;
  };

  it('is said by an option before or after the command, else by the environment, else it is the default', async () => {
    const env = { ASPIRED_REDIS: 'redis://env:1', ASPIRED_FLEET: 'env' };
    const given = ['--redis', 'redis://given:2', '--fleet', 'given'];
    const byOption = { redis: 'redis://given:2', fleet: 'given' };
    assert.deepEqual(await addressOf(['fleet', 'list', ...given], env), byOption);
    assert.deepEqual(await addressOf(['fleet', ...given, 'rollout', 'get', 'ranker'], env), byOption);
    assert.deepEqual(await addressOf(['fleet', 'list'], env), { redis: 'redis://env:1', fleet: 'env' });
    const replicas = { ...env, ASPIRED_MIN_REPLICAS: '1' };
    assert.deepEqual(await addressOf(['fleet', 'list', ...given], replicas), { ...byOption, minReplicas: 1 });
    assert.deepEqual(await addressOf(['fleet', 'list', ...given, '--min-replicas', '0'], replicas), {
      ...byOption,
      minReplicas: 0,
    });
    const wrong = await cli(['fleet', 'list'], { env: { ASPIRED_MIN_REPLICAS: 'all' } });
    assert.deepEqual([wrong.code, wrong.stderr], [64, 'ASPIRED_MIN_REPLICAS is "all". Expected an integer >= 0.\n']);
    assert.deepEqual(await addressOf(['fleet', 'list'], { ASPIRED_REDIS: '' }), {
      redis: 'redis://127.0.0.1:6379',
      fleet: 'default',
    });
  });
});
