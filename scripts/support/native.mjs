// Builds of the native code: the addon with cmake-js, the C++ tests with plain CMake.
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { say, step } from './progress.mjs';
import { ask, Failure, root, run, which } from './run.mjs';
import { filesBelow, hashOf, isFresh, removeStamp, writeStamp } from './stamp.mjs';

const isNative = (file) => /\.(cc|h|def|map|cmake)$/.test(file);
const JOBS = String(availableParallelism());

const HOW_TO_INSTALL = {
  linux: 'On Debian or Ubuntu:  apt-get install g++ cmake make\nOn Fedora:            dnf install gcc-c++ cmake make',
  darwin: 'Type:  xcode-select --install  and  brew install cmake',
  win32: 'Install Visual Studio Build Tools with the C++ workload, and CMake.',
};

/** Throws a Failure that says what to type when there is no compiler or no CMake. */
export function requireToolchain() {
  const missing = [];
  const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
  if (process.platform !== 'win32' && !which(...compilers) && !existsSync(process.env.CXX ?? '')) {
    missing.push('a C++20 compiler');
  }
  if (!which('cmake')) missing.push('CMake 3.20 or newer');
  if (process.platform !== 'win32' && !which('ninja', 'make', 'gmake')) missing.push('make or ninja');
  if (missing.length === 0) return;
  const how = HOW_TO_INSTALL[process.platform] ?? '';
  throw new Failure(`The native part cannot be built: ${missing.join(' and ')} not found on PATH.\n${how}`.trim());
}

// A build folder that was copied from elsewhere or was node-gyp's makes CMake fail; it is only a cache.
function dropForeignBuild(folder) {
  if (existsSync(join(root, folder, 'config.gypi'))) rmSync(join(root, folder), { recursive: true });
  const cache = join(root, folder, 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (home !== root.replaceAll('\\', '/')) rmSync(join(root, folder), { recursive: true, force: true });
}

// A build by hand after an edit that was taken back leaves an output that the stamp does not know.
function outputMark(file) {
  const path = join(root, file);
  return existsSync(path) ? ` ${statSync(path).size} ${statSync(path).mtimeMs}` : ' none';
}

/** The file that a source build makes. */
export const ADDON = 'build/Release/aspired.node';

/** Builds the addon unless it is newer than everything it is made of. */
export async function buildAddon() {
  const stamp = 'build/.aspired-stamp';
  const versions = ['cmake-js', 'node-addon-api'].map(
    (name) => JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version,
  );
  const inputs = [...filesBelow(['native'], isNative), 'CMakeLists.txt'];
  const hash = hashOf(inputs, process.platform, process.arch, process.env.CXX ?? '', ...versions);
  if (isFresh(stamp, hash + outputMark(ADDON))) return;
  requireToolchain();
  dropForeignBuild('build');
  removeStamp(stamp);
  await step('native addon (cmake-js)', (report) =>
    run(process.execPath, [join(root, 'node_modules/cmake-js/bin/cmake-js'), 'build', '--parallel', JOBS], { report }),
  );
  if (!existsSync(join(root, ADDON))) throw new Failure(`cmake-js ended well but did not make ${ADDON}`);
  writeStamp(stamp, hash + outputMark(ADDON));
}

const googletest = () => process.env.ASPIRED_GOOGLETEST_DIR ?? '/usr/src/googletest';
const hasGoogletest = () => existsSync(join(googletest(), 'googlemock/src/gmock-all.cc'));

/** Installs GoogleTest's sources with apt-get where that is allowed. Answers whether they are there. */
export async function ensureGoogletest() {
  if (hasGoogletest()) return true;
  const hint =
    'GoogleTest is not installed, so the C++ tests cannot be built. On Debian or Ubuntu type:\n' +
    '  sudo apt-get install libgtest-dev libgmock-dev\n' +
    'Elsewhere unpack its sources and set ASPIRED_GOOGLETEST_DIR to their folder.';
  const root0 = process.getuid?.() === 0;
  const sudo = !root0 && which('sudo') && ask('sudo', ['-n', 'true']) !== undefined;
  if (process.env.ASPIRED_GOOGLETEST_DIR || !which('apt-get') || !(root0 || sudo)) {
    say(hint);
    return false;
  }
  const aptGet = (...args) => {
    const full = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args];
    const [command, ...rest] = sudo ? ['sudo', '-n', ...full] : full;
    return (report) => run(command, rest, { report });
  };
  const install = aptGet('install', '-y', '--no-install-recommends', 'libgtest-dev', 'libgmock-dev');
  try {
    await step('GoogleTest (apt-get)', async (report) => {
      // Package lists may be missing or old: try without, then refresh them once.
      await install(report).catch(async () => {
        await aptGet('update')(report);
        await install(report);
      });
    });
  } catch (error) {
    say(error.message);
  }
  if (!hasGoogletest()) say(hint);
  return hasGoogletest();
}

/** Folder and compiler options of each build of the C++ tests. */
export const TEST_BUILDS = {
  plain: { folder: 'build-tests', sanitize: '', flags: '-O1 -g1' },
  asan: { folder: 'build-asan', sanitize: 'address,undefined', flags: '-O1 -g1' },
  tsan: { folder: 'build-tsan', sanitize: 'thread', flags: '-O1 -g1' },
};

/** Builds the C++ tests; answers the path of their program. */
export async function buildNativeTests(kind) {
  const { folder, sanitize, flags } = TEST_BUILDS[kind];
  const program = `${folder}/aspired_tests`;
  const stamp = `${folder}/.aspired-stamp`;
  const inputs = [...filesBelow(['native', 'test'], isNative), 'CMakeLists.txt'];
  const hash = hashOf(inputs, process.platform, process.arch, process.env.CXX ?? '', googletest(), flags);
  if (isFresh(stamp, hash + outputMark(program))) return join(root, program);
  requireToolchain();
  dropForeignBuild(folder);
  removeStamp(stamp);
  const generator = which('ninja') ? ['-G', 'Ninja'] : [];
  await step(`C++ tests (${kind})`, async (report) => {
    await run(
      'cmake',
      [
        ...['-S', '.', '-B', folder, ...generator, '-DCMAKE_BUILD_TYPE=Debug', `-DCMAKE_CXX_FLAGS_DEBUG=${flags}`],
        ...['-DASPIRED_BUILD_ADDON=OFF', '-DASPIRED_BUILD_TESTS=ON', `-DASPIRED_SANITIZE=${sanitize}`],
        `-DASPIRED_GOOGLETEST_DIR=${googletest()}`,
      ],
      { report },
    );
    await run('cmake', ['--build', folder, '--parallel', JOBS], { report });
  });
  if (!existsSync(join(root, program))) throw new Failure(`CMake ended well but did not make ${program}`);
  writeStamp(stamp, hash + outputMark(program));
  return join(root, program);
}
