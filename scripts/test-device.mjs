// Builds and runs the tests that need a real NVIDIA device (test/device). Without one they are skipped and say why.
//   node scripts/test-device.mjs [--match=text]
// The program needs no Node.js: build-tests/aspired_device_tests can be run by hand, also on another machine.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildNativeTests, ensureGoogletest, TEST_BUILDS } from './support/native.mjs';
import { runNativeTests } from './support/native-tests.mjs';
import { Failure, main, root } from './support/run.mjs';

const HANG_MS = 120_000;

await main(async () => {
  const match = process.argv.find((arg) => arg.startsWith('--match='))?.slice('--match='.length);
  const unknown = process.argv.slice(2).find((arg) => !arg.startsWith('--match='));
  if (unknown) throw new Failure(`Unknown argument ${unknown}; known: --match=`);
  if (process.platform === 'win32') throw new Failure('The device tests are written for POSIX systems.');
  if (!(await ensureGoogletest())) return 1;
  await buildNativeTests('plain');
  const program = join(root, TEST_BUILDS.plain.folder, 'aspired_device_tests');
  if (!existsSync(program)) throw new Failure(`The build did not make ${program}`);
  const args = match ? [`--gtest_filter=*${match}*`] : [];
  const total = await runNativeTests(program, { args, hangMs: HANG_MS, print: console.log });
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 ? 1 : 0;
});
