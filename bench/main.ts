// npm run bench -- [--suite NAME,NAME] [--variant TEXT] [--trials N] [--quick] [--json FILE] [--list]
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { ensureLargeModel } from '../scripts/models/ensure-models.js';
import { checkTrials, chooseSuites, runCommand, tellFailures } from './command.js';
import { type Entry, runTrials } from './harness.js';
import { describeMachine, onnxruntimeVersion } from './machine.js';
import { makeModels, modelsDirectory } from './models.js';
import { machineBlock, type Report, toMarkdown } from './report.js';
import type { TrialOptions } from './suite.js';
import { suites } from './suites/index.js';

const USAGE = `Usage: npm run bench -- [options]

  --suite NAME,NAME  only these suites: ${suites.map(({ name }) => name).join(', ')}
  --variant TEXT     only variants whose name contains TEXT
  --trials N         trials of each variant, each in a process of its own (default 5; 1 with --quick)
  --quick            sizes for continuous integration
  --json FILE        write the results, with every trial, to FILE
  --list             print suites and variants, and run nothing

The results are printed as Markdown on standard output, the progress on standard error.
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string' },
      variant: { type: 'string', default: '' },
      trials: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const trials = checkTrials(values.trials, values.quick ? 1 : 5);
  return { ...values, trials, chosen: chooseSuites(suites, values.suite) };
}

/** A line that is replaced on a terminal, and a new one elsewhere. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
  else if (text !== '') process.stderr.write(`${text}\n`);
}

async function makeModelsOf(entries: readonly Entry[], options: TrialOptions): Promise<void> {
  const taking = [...new Set(entries.map(({ suite }) => suite))];
  const names = new Set(taking.flatMap((suite) => suite.models ?? []));
  let last = 0;
  if (names.size > 0) {
    await makeModels([...names], options.quick, (text) => {
      if (performance.now() - last < 500) return;
      last = performance.now();
      progress(text);
    });
  }
  for (const { name, megabytes } of taking.flatMap((suite) => suite.largeModels?.(options) ?? [])) {
    progress(`making model ${name} of ${megabytes} MB`);
    await ensureLargeModel(options.models, megabytes, name);
  }
}

async function main(): Promise<number> {
  const { chosen, variant: filter, trials, quick, json, list, help } = readArguments();
  const options: TrialOptions = { quick, models: modelsDirectory(quick) };
  const skipped: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const suite of chosen) {
    if ((suite.models || suite.largeModels) && !onnxruntimeVersion())
      skipped[suite.name] = 'onnxruntime-node is not installed';
    else for (const variant of suite.variants(options)) entries.push({ suite, variant });
  }
  const taking = entries.filter(({ variant }) => variant.name.includes(filter));
  if (help || list) {
    process.stdout.write(
      help ? USAGE : `${taking.map(({ suite, variant }) => `${suite.name}: ${variant.name}\n`).join('')}`,
    );
    return 0;
  }
  const machine = describeMachine();
  process.stderr.write(`${machineBlock(machine)}\n`);
  await makeModelsOf(taking, options);
  const results = await runTrials(taking, trials, options, ({ suite, variant }, done, total) =>
    progress(`[${done + 1}/${total}] ${suite.name}: ${variant.name}`),
  );
  progress('');
  const loadAverageAtEnd = os.loadavg().map((load) => Math.round(load * 100) / 100);
  const report: Report = { machine, loadAverageAtEnd, quick, trials, results, skipped };
  process.stdout.write(`${toMarkdown(report, chosen)}\n`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  return tellFailures(results);
}

await runCommand(main);
