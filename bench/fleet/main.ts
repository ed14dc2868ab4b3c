// npm run bench:fleet -- [--suite NAME,NAME] [--variant TEXT] [--trials N] [--quick] [--json FILE] [--svg FILE] [--list]
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { redisServerPath } from '../../test/support/redis-server.js';
import { checkTrials, chooseSuites, runCommand, tellFailures } from '../command.js';
import { type Entry, runTrials } from '../harness.js';
import { describeMachine } from '../machine.js';
import { type Report, toMarkdown } from '../report.js';
import type { TrialOptions } from '../suite.js';
import { growthChart } from './growth-chart.js';
import { suites } from './suites/index.js';

const TRIAL = fileURLToPath(new URL('./trial.js', import.meta.url));
const DRAWING = fileURLToPath(new URL('../../../.cache/fleet-growth.svg', import.meta.url));
const USAGE = `Usage: npm run bench:fleet -- [options]

  --suite NAME,NAME  only these suites: ${suites.map(({ name }) => name).join(', ')}
  --variant TEXT     only variants whose name contains TEXT
  --trials N         trials of each variant, each in processes of its own (default 3; 1 with --quick)
  --quick            small fleets and short waits, for continuous integration
  --json FILE        write the results, with every trial, to FILE
  --svg FILE         draw the suite growth, and rollout beside it, to FILE (default .cache/fleet-growth.svg)
  --list             print suites and variants, and run nothing

Each trial starts a redis-server of its own on the loopback device. The results are printed as Markdown on standard output, the
progress on standard error.
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string' },
      variant: { type: 'string', default: '' },
      trials: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      svg: { type: 'string', default: DRAWING },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const trials = checkTrials(values.trials, values.quick ? 1 : 3);
  return { ...values, trials, chosen: chooseSuites(suites, values.suite) };
}

/** What is beside the machine in a report of the fleet. */
function describeSoftware(): string {
  const require = createRequire(import.meta.url);
  const versionOf = (name: string): string => (require(`${name}/package.json`) as { version: string }).version;
  const server = execFileSync(redisServerPath() ?? 'redis-server', ['--version'], { encoding: 'utf8' });
  const redis = /v=(\S+)/.exec(server)?.[1] ?? 'unknown';
  return `redis-server ${redis}, ioredis ${versionOf('ioredis')}, bullmq ${versionOf('bullmq')}`;
}

async function main(): Promise<number> {
  const { chosen, variant: filter, trials, quick, json, svg, list, help } = readArguments();
  const options: TrialOptions = { quick, models: '' };
  const entries: Entry[] = chosen.flatMap((suite) =>
    suite
      .variants(options)
      .filter((variant) => variant.name.includes(filter))
      .map((variant) => ({ suite, variant })),
  );
  if (help || list) {
    const lines = entries.map(({ suite, variant }) => `${suite.name}: ${variant.name}\n`);
    process.stdout.write(help ? USAGE : lines.join(''));
    return 0;
  }
  if (redisServerPath() === undefined) throw new Error('redis-server is not installed: apt-get install redis-server');
  const machine = describeMachine();
  const results = await runTrials(
    entries,
    trials,
    options,
    ({ suite, variant }, done, total) =>
      process.stderr.write(`[${done + 1}/${total}] ${suite.name}: ${variant.name}\n`),
    TRIAL,
  );
  const loadAverageAtEnd = os.loadavg().map((load) => Math.round(load * 100) / 100);
  const report: Report = { machine, loadAverageAtEnd, quick, trials, results, skipped: {} };
  const markdown = toMarkdown(report, chosen).replace(
    '# Benchmarks of aspired\n\n',
    `# Benchmarks of the fleet\n\n- ${describeSoftware()}\n`,
  );
  process.stdout.write(`${markdown}\n`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  const drawing = growthChart(report);
  if (drawing !== undefined) {
    mkdirSync(dirname(svg), { recursive: true });
    writeFileSync(svg, drawing);
    process.stderr.write(`${svg}\n`);
  }
  return tellFailures(results);
}

await runCommand(main);
