// The walls between the folders, and the size limits of files. Exits 1 with one line per breach.
//   node scripts/check-layers.mjs
import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { root } from './support/run.mjs';
import { filesBelow } from './support/stamp.mjs';

const problems = [];
const read = (file) => readFileSync(join(root, file), 'utf8');
const isCpp = (file) => /\.(cc|h|def)$/.test(file);
const isTs = (file) => file.endsWith('.ts');

// What a C++ folder may include of ours: folders, or single leaf headers. binding may include everything.
const LEAVES = ['core/harness_state.h', 'core/servable_id.h', 'core/status.h'];
const MAY_INCLUDE = {
  concurrency: ['concurrency/'],
  policy: ['policy/', ...LEAVES],
  resources: ['resources/', 'core/status.h'],
  host: ['host/', 'resources/', 'concurrency/', 'core/status.h'],
  core: ['core/', 'policy/', 'concurrency/', 'resources/'],
  cuda: ['cuda/', 'host/', 'resources/', 'concurrency/', 'core/status.h'],
  engine: ['engine/', 'host/', 'concurrency/', 'core/'],
};
const JAVASCRIPT_HEADER = /^(napi\.h|node_api.*|js_native_api.*|node\.h|node_.*|uv\.h|v8.*|uv\/.*)$/;
const ONNX_WORD = /onnx|\bOrt[A-Z]\w*|\bort_/i;

function checkIncludes(file, folder) {
  for (const [, path] of read(file).matchAll(/^\s*#\s*include\s*["<]([^">]+)[">]/gm)) {
    if (folder !== 'binding' && JAVASCRIPT_HEADER.test(path)) {
      problems.push(`${file}: includes ${path}; JavaScript headers belong in native/binding only`);
    }
    const ours = /^(concurrency|policy|resources|host|cuda|core|engine|binding)\//.test(path) || path.startsWith('.');
    const allowed = MAY_INCLUDE[folder];
    if (!ours || !allowed) continue;
    if (path.startsWith('.')) problems.push(`${file}: includes ${path}; paths are relative to native/`);
    else if (!allowed.some((prefix) => path.startsWith(prefix))) {
      problems.push(`${file}: native/${folder} may not include ${path}`);
    }
  }
}

// Names that give the engine away; comments may speak of it.
function checkOnnxWords(file, folder) {
  if (folder === 'engine' || (folder === 'binding' && /onnx|engine/.test(posix.basename(file)))) return;
  read(file)
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
    .split('\n')
    .forEach((line, index) => {
      const code = line
        .replace(/\/\/.*$/, '')
        .replace(/"(?:[^"\\]|\\.)*"/g, (text) => (/\.h"$/.test(text) ? text : '""'));
      const includesBinding = folder === 'binding' && /#\s*include|Register|Install|Export/.test(code);
      if (ONNX_WORD.test(code) && !includesBinding && !file.endsWith('.def')) {
        problems.push(`${file}:${index + 1}: speaks of ONNX outside native/engine: ${line.trim()}`);
      }
    });
}

for (const file of filesBelow(['native'], isCpp)) {
  const folder = file.split('/')[1];
  if (!(folder in MAY_INCLUDE) && folder !== 'binding') problems.push(`${file}: unknown folder native/${folder}`);
  checkIncludes(file, folder);
  checkOnnxWords(file, folder);
}

// TypeScript: who imports whom.
const strip = (text) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
const IMPORT =
  /(?:^|[;\n])\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;

function importsOf(file) {
  return [...strip(read(file)).matchAll(IMPORT)].map(([, type, from, dynamic, bare]) => ({
    target: from ?? dynamic ?? bare,
    // Types are erased, and a dynamic import runs later: neither makes a cycle at load time.
    atLoad: !type && dynamic === undefined,
  }));
}

// Who knows the rest of lib/ by a few doors only: the public entry, and what has no state.
const LEAF_MODULES = ['errors', 'error-codes', 'options', 'duration', 'types', 'index'].map((name) => `lib/${name}.ts`);
const DOORS = {
  'lib/fleet/': [...LEAF_MODULES, 'lib/manager/metrics.ts'],
  'lib/cli/': [...LEAF_MODULES, 'lib/resources/bytes.ts', 'lib/fleet/index.ts'],
};

function checkDoors(file, path) {
  const [folder, doors] = Object.entries(DOORS).find(([start]) => file.startsWith(start)) ?? [];
  if (!folder || path.startsWith(folder) || doors.includes(path)) return;
  problems.push(`${file}: imports ${path}; ${folder} may import itself and ${doors.join(', ')}`);
}

// Who has no fleet needs none of its packages, and loads none of its code.
const FLEET_PEERS = /^(bullmq|ioredis)(\/|$)/;

function checkFleetIsApart(file, target, path, atLoad) {
  if (FLEET_PEERS.test(target) && atLoad) {
    problems.push(
      `${file}: imports ${target} at load time; it is an optional peer: import('${target}') where it is needed`,
    );
  }
  if (path?.startsWith('lib/fleet/') && !/^lib\/(fleet|cli)\//.test(file)) {
    problems.push(`${file}: imports ${path}; only lib/cli knows the fleet`);
  }
}

const graph = new Map();
for (const file of filesBelow(['lib'], isTs)) {
  const edges = [];
  for (const { target, atLoad } of importsOf(file)) {
    if (target.startsWith('#lib/') || target === 'aspired') {
      problems.push(`${file}: imports ${target}; lib/ imports itself by relative paths`);
    }
    const isOurs = target.startsWith('.');
    const path = isOurs ? posix.normalize(posix.join(dirname(file), target)).replace(/\.js$/, '.ts') : undefined;
    checkFleetIsApart(file, target, path, atLoad);
    if (path === undefined) continue;
    if (!path.startsWith('lib/')) problems.push(`${file}: imports ${target}, which is outside lib/`);
    checkDoors(file, path);
    if (atLoad) edges.push(path);
  }
  graph.set(file, edges);
  if (!file.startsWith('lib/native/') && /['"`][^'"`\n]*\.node['"`]/.test(strip(read(file)))) {
    problems.push(`${file}: names a .node file; only lib/native may`);
  }
}

const done = new Set();
function visit(file, path) {
  if (path.includes(file)) {
    problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
    return;
  }
  if (done.has(file)) return;
  for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
  done.add(file);
}
for (const file of graph.keys()) visit(file, []);

// Sizes, in lines: a file over its limit is split by noun.
const isTest = (file) => /^(test|bench)\//.test(file);
const LIMITS = [
  [(file) => isTest(file) && /\.(ts|cc|h)$/.test(file), 600],
  [(file) => file.endsWith('.cc'), 500],
  [(file) => file.endsWith('.h'), 300],
  [(file) => /\.(ts|mjs)$/.test(file) && file !== 'lib/error-codes.ts', 400],
  [(file) => file === 'CMakeLists.txt', 180],
];
const sized = filesBelow(['native', 'lib', 'test', 'bench', 'scripts', 'CMakeLists.txt']);
for (const file of sized) {
  const limit = LIMITS.find(([applies]) => applies(file))?.[1];
  if (limit === undefined) continue;
  const lines = read(file).split('\n').length - 1;
  if (lines > limit) problems.push(`${file}: ${lines} lines, the limit is ${limit}`);
}

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`layers: ${sized.length} files, no wall crossed, none too long`);
