// Runs the C++ test program and counts its tests. Passing tests are not printed; what else it says is.
import { spawn } from 'node:child_process';
import { seconds } from './progress.mjs';
import { root } from './run.mjs';

const RESULT = /\[ +(OK|FAILED|SKIPPED) +\] (\S+?),? .*\(\d+ ms\)\s*$|\[ +(OK|FAILED|SKIPPED) +\] (\S+) \(\d+ ms\)\s*$/;
const NOISE = /^(\[[-= ]+\]|\[ RUN|\[ +PASSED +\]|Running main\(\)|Note: Google Test filter|\s*$)/;

let current;

/** Kills the program if it runs; answers the test it was in. */
export function killNativeTests() {
  current?.child.kill('SIGKILL');
  return current?.test;
}

/** Resolves with { passed, failed, skipped }. `prefix` is the command before the program, e.g. setarch -R. */
export function runNativeTests(program, { args = [], env = process.env, prefix = [], hangMs, print }) {
  const [command, ...rest] = [...prefix, program, ...args];
  const start = Date.now();
  const total = { passed: 0, failed: 0, skipped: 0 };
  const child = spawn(command, rest, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const state = { child, test: undefined };
  current = state;
  let hung = false;
  const timer = { handle: undefined };
  const alive = () => {
    clearTimeout(timer.handle);
    timer.handle = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, hangMs);
  };
  // What the tests that failed had said.
  const failures = [];
  let said = [];
  const onLine = (line) => {
    const run = /\[ RUN +\] (\S+)/.exec(line);
    if (run) {
      state.test = run[1];
      said = [];
    }
    const [, a, , b] = RESULT.exec(line) ?? [];
    const outcome = a ?? b;
    if (outcome) {
      state.test = undefined;
      total[{ OK: 'passed', FAILED: 'failed', SKIPPED: 'skipped' }[outcome]]++;
    }
    if (outcome === 'OK' || NOISE.test(line)) return;
    said.push(`  ${line}`);
    if (outcome === 'FAILED') failures.push(...said.splice(0));
    print(`  ${line}`);
  };
  const read = (stream) => {
    let rest = '';
    stream.setEncoding('utf8').on('data', (chunk) => {
      alive();
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      lines.forEach(onLine);
    });
    stream.on('end', () => rest && onLine(rest));
  };
  alive();
  read(child.stdout);
  read(child.stderr);
  return new Promise((resolve) => {
    child.on('error', (error) => print(`  ${error.message}`));
    child.on('close', (code, signal) => {
      clearTimeout(timer.handle);
      current = undefined;
      const where = state.test ? `in ${state.test}` : 'outside of a test';
      let complaint;
      if (hung) complaint = `hung ${where}: no sign of life for ${seconds(hangMs)}`;
      else if (signal) complaint = `ended by ${signal} ${where}`;
      else if (code !== 0 && total.failed === 0) complaint = `exit code ${code} ${where}`;
      else if (total.passed + total.failed + total.skipped === 0) complaint = 'no test ran';
      if (complaint) {
        total.failed++;
        failures.push(...said, `  not ok: C++ tests: ${complaint}`);
      }
      const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
      const failed = total.failed > 0 ? `, ${total.failed} failed` : '';
      const mark = total.failed > 0 ? 'FAILED' : 'ok';
      const counts = `${mark} C++ tests: ${total.passed} passed${failed}${skipped}, ${seconds(Date.now() - start)}`;
      print([counts, ...failures].join('\n'));
      resolve(total);
    });
  });
}
