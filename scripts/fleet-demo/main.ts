// npm run fleet:demo: a fleet of 20 processes on this machine, a good version, a bad one, and controllers that are killed.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { inspect, parseArgs } from 'node:util';
import { defaultModelsDirectory, ensureModels } from '../models/ensure-models.js';
import { DemoScreen } from './screen.js';
import { MODEL, Stage } from './stage.js';
import { Story } from './story.js';
import { summaryLines } from './summary.js';

const USAGE = `Usage: npm run fleet:demo -- [--hosts 20] [--rate 50] [--models DIR] [--json FILE]

  --hosts   how many host processes
  --rate    requests per second on each host
  --models  where the models are kept, default .cache/models
  --json    writes the summary there too
`;

/** It is over within a minute on an idle machine; a busy one takes longer, and a fault must not keep it for ever. */
const TIME_LIMIT_MS = 240_000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      hosts: { type: 'string', default: '20' },
      rate: { type: 'string', default: '50' },
      models: { type: 'string', default: defaultModelsDirectory() },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const options = { hosts: Number(values.hosts), rate: Number(values.rate), models: resolve(values.models) };
  if (!(options.hosts >= 10 && options.hosts <= 200)) throw new Error('Expected --hosts from 10 to 200');
  if (!(options.rate >= 1 && options.rate <= 1000)) throw new Error('Expected --rate from 1 to 1000');
  await ensureModels({ out: options.models, only: [MODEL] });

  const interrupt = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => interrupt.abort(new Error('interrupted')));
  const signal = AbortSignal.any([interrupt.signal, AbortSignal.timeout(TIME_LIMIT_MS)]);
  const started = performance.now();
  const screen = new DemoScreen();
  const stage = new Stage(options, signal);
  try {
    screen.line(`redis-server, 2 controllers, ${options.hosts} hosts with ${options.rate} requests per second each`);
    await stage.open();
    const summary = await new Story(stage, screen, signal).tell(started);
    for (const line of summaryLines(summary)) screen.line(line);
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(summary, null, 2)}\n`);
    return summary.ok ? 0 : 1;
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    throw error;
  } finally {
    await stage.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  process.exitCode = 1;
}
