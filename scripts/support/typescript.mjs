// Compiles the TypeScript projects, and removes outputs whose source is gone: a test that was deleted must not run.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { step } from './progress.mjs';
import { root, run } from './run.mjs';
import { filesBelow, hashOf, isFresh, removeStamp, writeStamp } from './stamp.mjs';

const CONFIG = ['tsconfig.json', 'tsconfig.test.json', 'package.json'];
const isTypeScript = (file) => /\.m?ts$/.test(file);

const PROJECTS = {
  lib: { label: 'TypeScript (lib)', config: 'tsconfig.json', sources: ['lib'], output: 'dist', strip: 'lib/' },
  tests: {
    label: 'TypeScript (tests, benchmarks, scripts)',
    config: 'tsconfig.test.json',
    sources: ['lib', 'test', 'bench', 'scripts'],
    output: 'dist-test',
    strip: '',
  },
};

/** Compiles one of the two projects unless nothing changed since. */
export async function compile(name) {
  const { label, config, sources, output, strip } = PROJECTS[name];
  const stamp = `${output}/.aspired-stamp`;
  const inputs = filesBelow(sources, isTypeScript);
  const hash = hashOf([...inputs, ...CONFIG]);
  if (isFresh(stamp, hash)) return;
  removeStamp(stamp);
  const known = new Set(inputs.map((file) => file.slice(strip.length).replace(/\.ts$/, '')));
  for (const file of filesBelow([output])) {
    const source = file.slice(output.length + 1).replace(/\.(d\.ts|js)(\.map)?$/, '');
    if (/\.(d\.ts|js)(\.map)?$/.test(file) && !known.has(source)) rmSync(join(root, file));
  }
  // Incremental state without its outputs would make tsc emit nothing.
  if (filesBelow([output], (file) => file.endsWith('.js')).length === 0) {
    rmSync(join(root, output, '.tsbuildinfo'), { force: true });
  }
  await step(label, () => run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config]));
  if (existsSync(join(root, output))) writeStamp(stamp, hash);
}
