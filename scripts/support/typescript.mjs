// Compiles the TypeScript projects, and removes outputs whose source is gone: a test that was deleted must not run.
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { step } from './progress.mjs';
import { root, run } from './run.mjs';
import { filesBelow, hashOf, isFresh, writeStamp } from './stamp.mjs';

const CONFIG = ['tsconfig.json', 'tsconfig.test.json', 'package.json'];
const isTypeScript = (file) => file.endsWith('.ts') && !file.endsWith('.d.ts');

const PROJECTS = {
  lib: { label: 'TypeScript (lib)', config: 'tsconfig.json', sources: ['lib'], output: 'dist', strip: 'lib/' },
  tests: {
    label: 'TypeScript (tests, benchmarks, scripts)',
    config: 'tsconfig.test.json',
    sources: ['test', 'bench', 'scripts'],
    output: 'dist-test',
    strip: '',
  },
};

/** Compiles one of the two projects unless neither its sources nor its outputs changed since the last time. */
export async function compile(name) {
  const { label, config, sources, output, strip } = PROJECTS[name];
  const stamp = `.cache/${name}.tsc-stamp`;
  const outputStamp = `.cache/${name}.tsc-output-stamp`;
  const inputs = filesBelow(sources, isTypeScript);
  const state = () => hashOf([...inputs, ...CONFIG, ...filesBelow(['lib'], isTypeScript), ...filesBelow([output])]);
  const outputs = () => hashOf(filesBelow([output]));
  if (isFresh(stamp, state())) return;
  // The compiler's incremental state is about outputs as it wrote them; it does not notice that one is gone or was changed.
  if (!isFresh(outputStamp, outputs())) rmSync(join(root, `.cache/${name}.tsbuildinfo`), { force: true });
  const known = new Set(inputs.map((file) => file.slice(strip.length).replace(/\.ts$/, '')));
  for (const file of filesBelow([output])) {
    const source = file.slice(output.length + 1).replace(/\.(d\.ts|js)(\.map)?$/, '');
    if (!known.has(source)) rmSync(join(root, file));
  }
  await step(label, () => run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config]));
  makeCommandsExecutable();
  writeStamp(outputStamp, outputs());
  writeStamp(stamp, state());
}

// The compiler keeps the first line of a command, but makes a plain file of it.
function makeCommandsExecutable() {
  const { bin = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const file of Object.values(bin)) if (existsSync(join(root, file))) chmodSync(join(root, file), 0o755);
}
