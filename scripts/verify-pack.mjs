// Packs the package as for publishing, looks at what is in it, and runs it in an empty folder without a compiler.
//   node scripts/verify-pack.mjs        (after npm run build and scripts/prebuild.mjs; npm run pack:verify does all)
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { step } from './support/progress.mjs';
import { Failure, main, npmCommand, root, run, which } from './support/run.mjs';

// It is 1.6 MiB with the fleet.
const PACKED_LIMIT = 2 * 1024 * 1024;
const UNPACKED_LIMIT = 6 * 1024 * 1024;
const FORBIDDEN = /(^|\/)(binding\.gyp|\.aspired-stamp|[^/]*\.tsbuildinfo|node_modules|test|dist-test|build)(\/|$)/;
const REQUIRED = [
  'package.json',
  'LICENSE',
  'README.md',
  'CHANGELOG.md',
  'CMakeLists.txt',
  'dist/index.js',
  'dist/index.d.ts',
  'dist/fleet/index.js',
  'dist/fleet/index.d.ts',
  'dist/cli/main.js',
];
// What the CLI needs; the library itself needs nothing.
const DEPENDENCIES = ['commander'];
const LIFECYCLE = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish', 'preprepare', 'postprepare'];

// What a user would write first; it promotes 1 -> 2 with a JavaScript loader while requests flow.
const PROGRAM = `
import assert from 'node:assert/strict';
import { AspiredVersionsManager } from 'aspired';

const manager = new AspiredVersionsManager({ numLoadThreads: 2 });
const loader = (answer) => ({ load: async () => ({ answer }) });
await manager.setAspiredVersions('m', [{ version: 1, loader: loader('one') }]).settled;
let served = 0;
let stop = false;
const traffic = (async () => {
  while (!stop) {
    await manager.withServable('m', async ({ answer }, { version }) => assert.equal(answer, ['one', 'two'][version - 1]));
    served++;
    await new Promise(setImmediate);
  }
})();
await manager.setAspiredVersions('m', [{ version: 2, loader: loader('two') }]).settled;
assert.deepEqual(manager.listAvailableServableIds().map(({ name, version }) => name + '/' + version), ['m/2']);
stop = true;
await traffic;
assert.ok(served > 0);
await manager.close();
console.log('promoted 1 -> 2, ' + served + ' requests served');
`;

function checkManifest(manifest) {
  const problems = [];
  for (const name of LIFECYCLE) if (manifest.scripts?.[name]) problems.push(`package.json has a script ${name}`);
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    if (!DEPENDENCIES.includes(name)) problems.push(`package.json depends on ${name}`);
  }
  if (manifest.gypfile !== false) problems.push('package.json must say "gypfile": false');
  return problems;
}

function checkContents({ files, size, unpackedSize }, prebuild) {
  const paths = files.map((file) => file.path);
  const problems = [];
  for (const path of paths) if (FORBIDDEN.test(path)) problems.push(`the tarball holds ${path}`);
  for (const path of [...REQUIRED, `prebuilds/${prebuild}`]) {
    if (!paths.includes(path)) problems.push(`the tarball lacks ${path}`);
  }
  if (size > PACKED_LIMIT) problems.push(`the tarball is ${size} bytes, the limit is ${PACKED_LIMIT}`);
  if (unpackedSize > UNPACKED_LIMIT)
    problems.push(`unpacked it is ${unpackedSize} bytes, the limit is ${UNPACKED_LIMIT}`);
  return problems;
}

// Packs the package of a folder.
async function pack(folder, source = root) {
  const [command, ...args] = npmCommand();
  const out = await run(command, [
    ...args,
    'pack',
    source,
    '--json',
    '--ignore-scripts',
    '--loglevel=error',
    '--pack-destination',
    folder,
  ]);
  // npm 12 answers an object by name, older ones an array.
  const answer = JSON.parse(out);
  return Array.isArray(answer) ? answer[0] : Object.values(answer)[0];
}

// A PATH with Node alone: no compiler, no Python, no CMake. npm is run by its file.
function bareEnvironment(folder) {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  for (const tool of ['c++', 'g++', 'cc', 'cmake', 'make', 'python3']) {
    if (existsSync(join(bin, tool))) throw new Failure(`${tool} is on the bare PATH`);
  }
  return { PATH: bin, HOME: folder, npm_config_cache: join(folder, 'npm-cache'), npm_config_update_notifier: 'false' };
}

function npmFile() {
  const path = process.env.npm_execpath;
  if (path?.endsWith('.js')) return path;
  const npm = which('npm');
  if (!npm) throw new Failure('npm is not on PATH');
  return realpathSync(npm);
}

// What a shell does with the command: its first line finds Node, and no peer is needed to be told what is missing.
async function runCommand(app, env, version) {
  const command = join(app, 'node_modules/.bin/aspired');
  const said = (await run(command, ['--version'], { cwd: app, env })).trim();
  if (said !== version) throw new Failure(`aspired --version says ${said}`);
  const failure = await run(command, ['fleet', 'list'], { cwd: app, env }).then(
    () => 'nothing',
    (error) => error.message,
  );
  if (!/ERR_PEER_NOT_FOUND: .*npm install/.test(failure))
    throw new Failure(`aspired fleet list without peers: ${failure}`);
}

async function installAndRun(tarballs, folder, version) {
  const env = bareEnvironment(folder);
  const app = join(folder, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{"private":true,"type":"module"}\n');
  writeFileSync(join(app, 'main.js'), PROGRAM);
  const npm = npmFile();
  // Offline: nothing but the tarball is needed, and those of its dependencies.
  const flags = ['--ignore-scripts', '--offline', '--no-audit', '--no-fund'];
  await run(process.execPath, [npm, 'install', ...flags, ...tarballs], { cwd: app, env });
  const installed = join(app, 'node_modules/aspired');
  if (existsSync(join(installed, 'build'))) throw new Failure('the installed package holds a build folder');
  await runCommand(app, env, version);
  return (await run(process.execPath, ['main.js'], { cwd: app, env })).trim();
}

await main(async () => {
  const { nativeTarget, prebuildName } = await import(pathToFileURL(join(root, 'dist/native/load.js')).href);
  const folder = mkdtempSync(join(tmpdir(), 'aspired-pack-'));
  const node = (path, ...args) => run(process.execPath, [join(root, 'node_modules', path), ...args]);
  try {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const packed = await step('npm pack', () => pack(folder));
    const tarball = join(folder, packed.filename);
    const problems = [...checkManifest(manifest), ...checkContents(packed, prebuildName(nativeTarget()))];
    if (problems.length > 0) throw new Failure(problems.join('\n'));
    await step('publint', () => node('publint/src/cli.js', tarball, '--strict'));
    await step('attw', () =>
      node('@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only', '--no-emoji'),
    );
    const tarballs = [tarball];
    for (const name of DEPENDENCIES) {
      tarballs.push(join(folder, (await pack(folder, join(root, 'node_modules', name))).filename));
    }
    const said = await step('install and run without a compiler', () =>
      installAndRun(tarballs, folder, manifest.version),
    );
    const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
    console.log(
      `${packed.files.length} files, ${kib(packed.size)} packed, ${kib(packed.unpackedSize)} unpacked; ${said}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
