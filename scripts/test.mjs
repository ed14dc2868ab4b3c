// The whole test suite. Its last line is "N passed, N failed, N skipped", the sum over all parts.
//   node scripts/test.mjs [part ...] [--match=text] [--jobs=n] [--node=path]
// Parts: checks, native, js, contract; all of them without an argument. --match picks test files (js) and tests (native).
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { CHECKS } from './support/checks.mjs';
import { TEST_BUILDS } from './support/native.mjs';
import { killNativeTests, runNativeTests } from './support/native-tests.mjs';
import { seconds } from './support/progress.mjs';
import { Failure, main, root, run } from './support/run.mjs';
import { filesBelow } from './support/stamp.mjs';
import { killAll, runFiles } from './support/test-files.mjs';

// Silence, not length, is what tells a hang; the last limit is for a suite that is busy for ever.
const HANG_MS = 120_000;
const DEADLINE_MS = 20 * 60_000;
const CONTRACT = '../shared/contract.mjs';
const REPEATED_CHARACTERS = 4000;

const failures = [];
// What failed is said again at the end: of a long log, the end is what is read, and often all that is kept.
function print(text) {
  console.log(text);
  if (text.startsWith('FAILED'))
    failures.push(text.length > REPEATED_CHARACTERS ? `${text.slice(0, REPEATED_CHARACTERS)} ... (whole above)` : text);
}

function repeatFailures() {
  if (failures.length > 0) console.log(`\nWhat failed, again:\n${failures.join('\n')}`);
}

function parseArguments() {
  const options = { parts: [], match: '', jobs: Math.min(2, availableParallelism()), node: process.execPath };
  for (const arg of process.argv.slice(2)) {
    const [, name, value] = /^--(match|jobs|node)=(.+)$/.exec(arg) ?? [];
    if (name) options[name] = name === 'jobs' ? Number(value) : value;
    else if (arg in PARTS) options.parts.push(arg);
    else
      throw new Failure(
        `Unknown argument ${arg}; parts: ${Object.keys(PARTS).join(', ')}; options: --match=, --jobs=, --node=`,
      );
  }
  if (options.parts.length === 0) options.parts = Object.keys(PARTS);
  return options;
}

async function runCommandAsTest(name, command) {
  const start = Date.now();
  try {
    await run(command[0], command.slice(1), { timeoutMs: HANG_MS });
    print(`ok ${name}, ${seconds(Date.now() - start)}`);
    return { passed: 1, failed: 0, skipped: 0 };
  } catch (error) {
    print(`FAILED ${name}\n${error.message.replace(/^/gm, '  ')}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

const add = (a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped });
const ZERO = { passed: 0, failed: 0, skipped: 0 };

const PARTS = {
  async checks() {
    let total = ZERO;
    for (const { name, command, skip } of CHECKS) {
      const reason = skip?.();
      if (reason) print(`skipped check ${name}: ${reason}`);
      total = add(total, reason ? { ...ZERO, skipped: 1 } : await runCommandAsTest(`check ${name}`, command()));
    }
    return total;
  },

  async native({ match }) {
    const program = join(root, TEST_BUILDS.plain.folder, 'aspired_tests');
    if (!existsSync(program)) {
      print('FAILED C++ tests: they are not built; npm test builds them and says what is missing');
      return { ...ZERO, failed: 1 };
    }
    return runNativeTests(program, { args: match ? [`--gtest_filter=*${match}*`] : [], hangMs: HANG_MS, print });
  },

  async js({ match, jobs, node }) {
    const files = filesBelow(['dist-test/test'], (file) => file.endsWith('.test.js') && file.includes(match));
    // Tests that measure time or count threads get the machine to themselves.
    const alone = files.filter((file) => file.includes('/fault/') || file.includes('.serial.'));
    const together = files.filter((file) => !alone.includes(file));
    const options = { node, hangMs: HANG_MS, print };
    return add(await runFiles(together, { ...options, jobs }), await runFiles(alone, { ...options, jobs: 1 }));
  },

  async contract({ node }) {
    if (!existsSync(join(root, CONTRACT))) {
      print(`skipped contract: no ${CONTRACT}`);
      return { ...ZERO, skipped: 1 };
    }
    return runCommandAsTest('contract', [node, CONTRACT]);
  },
};

function stop(reason, code) {
  const files = killAll();
  const test = killNativeTests();
  print(`${reason}${files.length > 0 ? `, in ${files.join(', ')}` : ''}${test ? `, in the C++ test ${test}` : ''}`);
  process.exit(code);
}

await main(async () => {
  const options = parseArguments();
  const start = Date.now();
  let total = ZERO;
  const deadline = setTimeout(() => {
    print(`the suite was stopped after ${seconds(DEADLINE_MS)}`);
    const { passed, failed, skipped } = total;
    repeatFailures();
    process.once('exit', () => print(`${passed} passed, ${failed + 1} failed, ${skipped} skipped`));
    stop('it hung or is too slow', 1);
  }, DEADLINE_MS);
  process.once('SIGINT', () => stop('interrupted', 130));
  process.once('SIGTERM', () => stop('terminated', 143));
  for (const part of options.parts) {
    const result = await PARTS[part](options);
    if (result.passed + result.failed + result.skipped === 0) {
      print(`FAILED ${part}: no test ran`);
      result.failed++;
    }
    total = add(total, result);
  }
  clearTimeout(deadline);
  repeatFailures();
  print(`\n${options.parts.join(', ')}: ${seconds(Date.now() - start)}, Node.js ${options.node}`);
  print(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 ? 1 : 0;
});
