// For users whose platform has no prebuilt binary:  node node_modules/aspired/scripts/build-from-source.mjs
// Installs the build tools into a temporary folder and builds build/Release/aspired.node in the package's folder.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const tools = mkdtempSync(join(tmpdir(), 'aspired-build-'));

function run(command, args, options) {
  console.log(`${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (status === 0) return;
  console.error(error ? error.message : `${command} failed with exit code ${status}`);
  console.error('A C++20 compiler and CMake 3.20 or newer are needed.');
  process.exit(1);
}

try {
  writeFileSync(join(tools, 'package.json'), '{"private":true}\n');
  const wanted = ['cmake-js', 'node-addon-api'].map((name) => `${name}@${devDependencies[name]}`);
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...wanted], {
    cwd: tools,
    shell: process.platform === 'win32',
  });
  const cmakeJs = join(tools, 'node_modules/cmake-js/bin/cmake-js');
  // CMakeLists.txt asks Node where node-addon-api is; NODE_PATH lets it answer from the temporary folder.
  const env = { ...process.env, NODE_PATH: join(tools, 'node_modules') };
  run(process.execPath, [cmakeJs, 'build', '--directory', root], { cwd: root, env });
  console.log('built build/Release/aspired.node');
} finally {
  rmSync(tools, { recursive: true, force: true });
}
