// node dist-test/scripts/models/make-models.js --out DIR [--large-mb 300] [--only a,b]
import { parseArgs } from 'node:util';
import { defaultModelsDirectory, ensureModels } from './ensure-models.js';
import { allRecipes } from './recipes.js';

const USAGE = `Usage: make-models [--out DIR] [--large-mb MB] [--only NAME,NAME]

Writes ONNX models to DIR/<name>/<version>/model.onnx; what is there and up to date stays.
  --out       default: .cache/models
  --large-mb  size of the model "large", default 300
  --only      names of models:
${[...allRecipes().values()].map((recipe) => `    ${recipe.name.padEnd(20)} ${recipe.purpose}`).join('\n')}
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      'large-mb': { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const started = performance.now();
  const made = await ensureModels({
    out: values.out ?? defaultModelsDirectory(),
    ...(values.only === undefined ? {} : { only: values.only.split(',').map((name) => name.trim()) }),
    ...(values['large-mb'] === undefined ? {} : { largeMb: Number(values['large-mb']) }),
    onProgress: ({ model, done, total, bytes }) => {
      if (bytes === 0) process.stdout.write(`[${done + 1}/${total}] ${model}\n`);
    },
  });
  process.stdout.write(`${made.length} made in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
