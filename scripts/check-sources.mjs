// native/sources.cmake and binding.gyp list the same C++ sources, each list is sorted, and every .cc file is listed.
//   node scripts/check-sources.mjs          exits 1 when they differ
//   node scripts/check-sources.mjs --fix    rewrites the lists from the folders
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function sourcesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((file) => file.endsWith('.cc'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
    .sort();
}

const native = sourcesBelow('native');
// Programs and libraries of their own, which CMake knows by their folder.
const isApart = (file) => /^test\/(device|native\/fake_cuda)\//.test(file);
const isBinding = (file) => file.startsWith('native/binding/');
const cmakeList = (name) => new RegExp(`(set\\(${name}\\n)([^)]*)(\\))`);
const unquoted = (file) => `  ${file}\n`;

// [file, name of the list, what it must hold, how a line is written, pattern of before/body/after]
const LISTS = [
  ['native/sources.cmake', 'ASPIRED_CORE_SOURCES', native.filter((file) => !isBinding(file)), unquoted],
  ['native/sources.cmake', 'ASPIRED_BINDING_SOURCES', native.filter(isBinding), unquoted],
  ['native/sources.cmake', 'ASPIRED_TEST_SOURCES', sourcesBelow('test').filter((file) => !isApart(file)), unquoted],
  ['binding.gyp', '"sources"', native, (file) => `        "${file}",\n`, /("sources": \[\n)([^\]]*?)( *\])/],
];

const problems = [];
for (const [file, name, wanted, line, pattern = cmakeList(name)] of LISTS) {
  const path = join(root, file);
  const text = readFileSync(path, 'utf8');
  const block = pattern.exec(text);
  if (!block) {
    problems.push(`${file}: no list ${name}`);
    continue;
  }
  if (process.argv.includes('--fix')) {
    const fixed = text.replace(pattern, (_, before, __, after) => before + wanted.map(line).join('') + after);
    if (fixed !== text) writeFileSync(path, fixed);
    continue;
  }
  const listed = block[2].match(/[\w./-]+\.cc/g) ?? [];
  for (const source of wanted) if (!listed.includes(source)) problems.push(`${file}: ${name} lacks ${source}`);
  for (const source of listed) if (!wanted.includes(source)) problems.push(`${file}: ${name} lists ${source}: no file`);
  for (let i = 1; i < listed.length; i++) {
    if (listed[i - 1] === listed[i]) problems.push(`${file}: ${name} lists ${listed[i]} twice`);
    else if (listed[i - 1] > listed[i]) problems.push(`${file}: ${name}: ${listed[i]} goes before ${listed[i - 1]}`);
  }
}

if (problems.length > 0) {
  console.error(`${problems.join('\n')}\nnode scripts/check-sources.mjs --fix writes the lists anew`);
  process.exit(1);
}
console.log(`sources: ${native.length} native files, the same in native/sources.cmake and binding.gyp`);
