// The checks of the sources that lint and the tests share. Each is one command; `fix` is how it mends what it can.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';
import { filesBelow } from './stamp.mjs';

const node = (...args) => [process.execPath, ...args];
const cppFiles = () => filesBelow(['native', 'test'], (file) => /\.(cc|h)$/.test(file));
// The package's own start script only adds globbing.
const CLANG_FORMAT = join(root, `node_modules/clang-format/bin/${process.platform}_${process.arch}/clang-format`);
const clangFormat = (...args) => [CLANG_FORMAT, ...args];

/** name, command, fix?, skip?: the reason why it cannot run here. */
export const CHECKS = [
  { name: 'layers', command: () => node('scripts/check-layers.mjs') },
  {
    name: 'sources',
    command: () => node('scripts/check-sources.mjs'),
    fix: () => node('scripts/check-sources.mjs', '--fix'),
  },
  {
    name: 'lockfile',
    command: () => node('scripts/check-lockfile.mjs'),
    fix: () => node('scripts/check-lockfile.mjs', '--fix'),
  },
  {
    name: 'error codes',
    command: () => node('scripts/generate-error-codes.mjs', '--check'),
    fix: () => node('scripts/generate-error-codes.mjs'),
  },
  {
    name: 'biome',
    command: () => node('node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'),
    fix: () => node('node_modules/@biomejs/biome/bin/biome', 'check', '--write', '.'),
  },
  {
    name: 'clang-format',
    command: () => clangFormat('--dry-run', '--Werror', ...cppFiles()),
    fix: () => clangFormat('-i', ...cppFiles()),
    skip: () => (existsSync(CLANG_FORMAT) ? undefined : 'the package has no binary for this platform'),
  },
];
