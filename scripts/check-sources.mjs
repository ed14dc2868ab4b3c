// CMakeLists.txt and binding.gyp list the same C++ sources, each list is sorted, and every .cc file is listed.
//   node scripts/check-sources.mjs
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const problems = [];

const cmake = readFileSync(join(root, 'CMakeLists.txt'), 'utf8');
const gyp = readFileSync(join(root, 'binding.gyp'), 'utf8');

function cmakeList(variable) {
  const block = new RegExp(`set\\(${variable}\\n([^)]*)\\)`).exec(cmake);
  if (!block) {
    problems.push(`CMakeLists.txt: no list ${variable}`);
    return [];
  }
  return block[1].split('\n').flatMap((line) => line.trim() || []);
}

function checkSorted(where, list) {
  for (let i = 1; i < list.length; i++) {
    if (list[i - 1] === list[i]) problems.push(`${where}: ${list[i]} is listed twice`);
    else if (list[i - 1] > list[i]) problems.push(`${where}: ${list[i]} belongs before ${list[i - 1]}`);
  }
}

function checkEqual(where, listed, whereElse, expected) {
  const has = new Set(listed);
  const wants = new Set(expected);
  for (const file of wants) if (!has.has(file)) problems.push(`${where} lacks ${file}, which ${whereElse} has`);
  for (const file of has) if (!wants.has(file)) problems.push(`${where} lists ${file}, which ${whereElse} has not`);
}

function sourcesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((file) => file.endsWith('.cc'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
    .sort();
}

const core = cmakeList('ASPIRED_CORE_SOURCES');
const binding = cmakeList('ASPIRED_BINDING_SOURCES');
const tests = cmakeList('ASPIRED_TEST_SOURCES');
checkSorted('CMakeLists.txt ASPIRED_CORE_SOURCES', core);
checkSorted('CMakeLists.txt ASPIRED_BINDING_SOURCES', binding);
checkSorted('CMakeLists.txt ASPIRED_TEST_SOURCES', tests);
for (const file of core) {
  if (file.startsWith('native/binding/')) problems.push(`CMakeLists.txt: ${file} belongs in ASPIRED_BINDING_SOURCES`);
}

const gypSources = /"sources": \[([^\]]*)\]/.exec(gyp)?.[1].match(/[^",\s]+\.cc/g) ?? [];
checkSorted('binding.gyp', gypSources);

const native = sourcesBelow('native');
checkEqual('CMakeLists.txt', [...core, ...binding], 'native/', native);
checkEqual('binding.gyp', gypSources, 'CMakeLists.txt', [...core, ...binding]);
checkEqual('CMakeLists.txt ASPIRED_TEST_SOURCES', tests, 'test/', sourcesBelow('test'));

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(
  `sources: ${native.length} native and ${tests.length} test files, the same in CMakeLists.txt and binding.gyp`,
);
