// Builds and runs the C++ tests under AddressSanitizer + UndefinedBehaviorSanitizer and under ThreadSanitizer.
//   node scripts/sanitize.mjs [asan] [tsan] [--match=text]
// Each has a build folder of its own. GoogleTest is built with the sanitizer too.
import { buildNativeTests, ensureGoogletest, TEST_BUILDS } from './support/native.mjs';
import { runNativeTests } from './support/native-tests.mjs';
import { ask, Failure, main, which } from './support/run.mjs';

const HANG_MS = 300_000;
const OPTIONS = {
  asan: {
    ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  },
  tsan: { TSAN_OPTIONS: 'halt_on_error=0:second_deadlock_stack=1:exitcode=66' },
};

// The ThreadSanitizer of GCC 12 cannot map its shadow when the kernel randomizes mappings by more than 28 bits
// (newer kernels: 32): the program dies with "unexpected memory mapping". Without randomization it runs everywhere.
function prefixFor(kind) {
  if (kind !== 'tsan' || process.platform !== 'linux' || !which('setarch')) return [];
  const prefix = ['setarch', process.arch === 'arm64' ? 'aarch64' : 'x86_64', '-R'];
  return ask(prefix[0], [...prefix.slice(1), 'true']) === undefined ? [] : prefix; // a container may forbid it
}

await main(async () => {
  const kinds = process.argv.slice(2).filter((arg) => arg in OPTIONS);
  const match = process.argv.find((arg) => arg.startsWith('--match='))?.slice('--match='.length);
  const unknown = process.argv.slice(2).find((arg) => !(arg in OPTIONS) && !arg.startsWith('--match='));
  if (unknown) throw new Failure(`Unknown argument ${unknown}; known: ${Object.keys(OPTIONS).join(', ')}, --match=`);
  if (!(await ensureGoogletest())) return 1;
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const kind of kinds.length > 0 ? kinds : Object.keys(OPTIONS)) {
    const program = await buildNativeTests(kind);
    console.log(`${kind}: -fsanitize=${TEST_BUILDS[kind].sanitize}`);
    const result = await runNativeTests(program, {
      args: match ? [`--gtest_filter=*${match}*`] : [],
      env: { ...process.env, ...OPTIONS[kind] },
      hangMs: HANG_MS,
      prefix: prefixFor(kind),
      print: console.log,
    });
    for (const key of Object.keys(total)) total[key] += result[key];
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 ? 1 : 0;
});
