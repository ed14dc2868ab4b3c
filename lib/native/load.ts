// Finds and loads the native binary. Nothing else in lib/ may name a .node file.
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AspiredError } from '../errors.js';

/** Where this process runs, as far as the choice of a binary depends on it. */
export interface NativeTarget {
  readonly platform: string;
  readonly arch: string;
  /** `'glibc'` or `'musl'` on Linux; undefined elsewhere. */
  readonly libc: 'glibc' | 'musl' | undefined;
}

/** What was tried, and how it ended. */
interface Attempt {
  readonly path: string;
  readonly problem: string;
}

const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

// The program interpreter that the Node binary names in its first pages. process.report knows it too, but it stops every
// worker thread to answer.
function detectLibc(): 'glibc' | 'musl' | undefined {
  if (process.platform !== 'linux') return undefined;
  const head = Buffer.alloc(4096);
  try {
    const file = openSync(process.execPath, 'r');
    try {
      readSync(file, head, 0, head.length, 0);
    } finally {
      closeSync(file);
    }
  } catch {
    return 'glibc'; // unreadable executable; a wrong guess ends in the error below, which names it
  }
  return head.includes('/ld-musl-') ? 'musl' : 'glibc';
}

/** The platform, architecture and C library of this process. */
export function nativeTarget(): NativeTarget {
  return { platform: process.platform, arch: process.arch, libc: detectLibc() };
}

/** Name of the prebuilt binary of a target: `linux-x64.node`, `linux-musl-arm64.node`, `darwin-arm64.node`. */
export function prebuildName({ platform, arch, libc }: NativeTarget): string {
  return `${platform}${libc === 'musl' ? '-musl' : ''}-${arch}.node`;
}

/**
 * The places where the binary may be, in the order in which they are tried. A source build comes first: it only exists
 * where somebody built it on purpose, and there a prebuilt binary would hide their changes.
 */
export function candidates(target: NativeTarget, root: string = packageRoot): string[] {
  return [join(root, 'build', 'Release', 'aspired.node'), join(root, 'prebuilds', prebuildName(target))];
}

/** The text of the error when no binary could be loaded: what runs here, what was tried, what to type. */
export function describeFailure(
  target: NativeTarget,
  attempts: readonly Attempt[],
  root: string = packageRoot,
): string {
  const where = `${target.platform}-${target.arch}${target.libc ? ` (${target.libc})` : ''}`;
  const tried = attempts.map(({ path, problem }) => `  - ${path}: ${problem}`).join('\n');
  const problems = attempts.map((attempt) => attempt.problem).join('\n');
  const advice: string[] = [];
  if (/GLIBC(XX)?_[\d.]+' not found/.test(problems)) {
    advice.push('The C library of this system is older than the one the binary was built for: build it here.');
  }
  if (/ERR_DLOPEN_DISABLED|--no-addons/.test(problems)) {
    advice.push('Native addons are switched off: run Node.js without --no-addons.');
  }
  if (/wrong ELF class|incompatible architecture|invalid ELF header|not a valid Win32/i.test(problems)) {
    advice.push('The binary is of another platform: node_modules was copied from another machine. Install again here.');
  }
  advice.push(
    `To build it here (a C++20 compiler and CMake are needed), type:\n      node ${join(root, 'scripts', 'build-from-source.mjs')}`,
  );
  return [
    `Could not load the native part of aspired for ${where} with Node.js ${process.version}.`,
    `Tried:\n${tried}`,
    `What to do:\n${advice.map((line) => `  - ${line}`).join('\n')}`,
  ].join('\n');
}

function problemOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const text = String(message ?? error).split('\n')[0] ?? '';
  return typeof code === 'string' && !text.includes(code) ? `${code}: ${text}` : text;
}

/**
 * Loads the native binary: the file that the environment variable `ASPIRED_NATIVE_PATH` names, or the first of
 * {@link candidates} that exists and loads.
 *
 * @throws AspiredError `ERR_NATIVE_ADDON_NOT_FOUND`, whose message says what was tried and what to type.
 */
export function loadNative(): unknown {
  const require = createRequire(import.meta.url);
  const target = nativeTarget();
  const override = process.env.ASPIRED_NATIVE_PATH;
  const attempts: Attempt[] = [];
  let cause: unknown;
  for (const path of override ? [override] : candidates(target)) {
    if (!existsSync(path)) {
      attempts.push({ path, problem: 'no such file' });
      continue;
    }
    try {
      return require(path);
    } catch (error) {
      cause ??= error;
      attempts.push({ path, problem: problemOf(error) });
    }
  }
  throw new AspiredError('ERR_NATIVE_ADDON_NOT_FOUND', describeFailure(target, attempts), { cause });
}
