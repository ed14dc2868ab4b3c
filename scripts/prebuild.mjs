// Puts the addon that was built here, stripped and checked, into prebuilds/ under the name of this platform.
//   node scripts/prebuild.mjs
// The binary runs on systems whose glibc is at least the one printed; build on an old system for a wide reach.
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ADDON } from './support/native.mjs';
import { ask, Failure, main, root, run, which } from './support/run.mjs';

const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

const DF_1_NODELETE = 0x8;

const byVersion = (a, b) => a.localeCompare(b, 'en', { numeric: true });

// What the dynamic linker must find on the user's system, and what the binary shows to others.
function inspectElf(file) {
  const symbols = ask('objdump', ['-T', file]);
  const headers = ask('objdump', ['-p', file]);
  if (symbols === undefined || headers === undefined) throw new Failure('objdump (binutils) is needed for the checks');
  const glibc = [...symbols.matchAll(/\bGLIBC_([\d.]+)/g)].map(([, version]) => version).sort(byVersion);
  const needed = [...headers.matchAll(/NEEDED\s+(\S+)/g)].map(([, name]) => name);
  const exported = symbols
    .split('\n')
    .filter((line) => /^[0-9a-f]+\s+[gwu].*\s(\.text|\.data|\.rodata|\.bss)\s/.test(line))
    .map((line) => line.trim().split(/\s+/).at(-1));
  const flags = Number(/FLAGS_1\s+(0x[0-9a-f]+)/.exec(headers)?.[1] ?? 0);
  const problems = [];
  if (needed.some((name) => /libstdc\+\+|libgcc_s/.test(name))) {
    problems.push(`needs the system's ${needed.join(', ')}; the C++ runtime must be linked in`);
  }
  const extra = exported.filter((name) => !EXPORTS.includes(name));
  if (extra.length > 0) problems.push(`exports ${extra.slice(0, 5).join(', ')}${extra.length > 5 ? ', ...' : ''}`);
  if (!(flags & DF_1_NODELETE)) problems.push('is not linked with -z nodelete');
  if (problems.length > 0) throw new Failure(`${file}:\n${problems.map((text) => `  ${text}`).join('\n')}`);
  return { glibc: glibc.at(-1), needed };
}

await main(async () => {
  const loader = join(root, 'dist/native/load.js');
  if (!existsSync(join(root, ADDON)) || !existsSync(loader)) throw new Failure('Nothing to pack yet: npm run build');
  const { nativeTarget, prebuildName } = await import(pathToFileURL(loader).href);
  const name = prebuildName(nativeTarget());
  const target = join(root, 'prebuilds', name);
  mkdirSync(join(root, 'prebuilds'), { recursive: true });
  copyFileSync(join(root, ADDON), target);
  chmodSync(target, 0o755);
  if (process.platform !== 'win32' && which('strip')) {
    await run('strip', [process.platform === 'darwin' ? '-x' : '--strip-unneeded', target]);
  }
  const size = `${Math.round(statSync(target).size / 1024)} KiB`;
  if (process.platform !== 'linux') {
    console.log(`prebuilds/${name}: ${size}`);
    return;
  }
  const { glibc, needed } = inspectElf(target);
  console.log(
    `prebuilds/${name}: ${size}, needs glibc ${glibc ?? 'of any version'} or newer, and ${needed.join(', ')}`,
  );
});
