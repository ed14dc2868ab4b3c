// Runs node:test files, each in a process of its own: a crash or a hang of the addon fails one file, not the run.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { seconds } from './progress.mjs';
import { root } from './run.mjs';

const POLL_MS = 500;
const reporter = join(root, 'scripts/support/test-reporter.mjs');
const running = new Set();

function kill(child) {
  try {
    // The file's process leads a group: what it started goes with it.
    if (process.platform === 'win32') child.kill('SIGKILL');
    else process.kill(-child.pid, 'SIGKILL');
  } catch {}
}

/** Ends every test file that is still running; answers their names. */
export function killAll() {
  return [...running].map(({ child, file }) => {
    kill(child);
    return file;
  });
}

// Ends the child when it has reported nothing for so long. Answers the function that ends the watch and tells.
function watchForHang(child, events, hangMs) {
  let last = Date.now();
  let size = 0;
  let hung = false;
  const timer = setInterval(() => {
    const now = existsSync(events) ? statSync(events).size : 0;
    if (now !== size) {
      size = now;
      last = Date.now();
    } else if (Date.now() - last > hangMs) {
      hung = true;
      kill(child);
    }
  }, POLL_MS);
  return () => {
    clearInterval(timer);
    return hung;
  };
}

function readEvents(events) {
  if (!existsSync(events)) return [];
  return readFileSync(events, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line));
}

// The tests that started and did not end; suites and parents come first, so the last one is where it is.
function unfinished(lines) {
  const open = [];
  for (const { event, name } of lines) {
    if (event === 'start') open.push(name);
    else if (event !== 'note' && open.includes(name)) open.splice(open.lastIndexOf(name), 1);
  }
  return open;
}

function verdict(file, lines, { code, signal, hung, hangMs, output, start }) {
  const count = (event) => lines.filter((line) => line.event === event).length;
  const result = { file, passed: count('pass'), failed: count('fail'), skipped: count('skip'), text: [] };
  const failures = lines.filter((line) => line.event === 'fail');
  for (const { name, error } of failures) result.text.push(`  not ok: ${name}\n${error.replace(/^/gm, '    ')}`);
  const extra = (message) => {
    result.failed++;
    result.text.push(`  not ok: ${message}`);
  };
  const open = unfinished(lines);
  const where =
    open.length > 0
      ? `in: ${open.join(' > ')}`
      : 'with no test running: something keeps the process alive, or its main thread is blocked';
  if (hung) extra(`hung, nothing happened for ${seconds(hangMs)}, ${where}`);
  else if (signal) extra(`ended by ${signal} ${open.length > 0 ? where : 'after its tests ended'}`);
  else if (code !== 0 && failures.length === 0) extra(`exit code ${code} although no test failed`);
  else if (result.passed + result.failed + result.skipped === 0) extra('no test ran');
  for (const line of lines) if (line.event === 'note') result.text.push(`  note: ${line.message}`);
  if (result.failed > 0 && output.trim()) result.text.push(output.trimEnd().replace(/^/gm, '  | '));
  const mark = result.failed > 0 ? 'FAILED' : 'ok';
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : '';
  const failed = result.failed > 0 ? `, ${result.failed} failed` : '';
  result.text.unshift(`${mark} ${file}: ${result.passed} passed${failed}${skipped}, ${seconds(Date.now() - start)}`);
  return result;
}

/** Runs one file with the Node binary `node`; resolves with its counts and the text to print. */
export function runFile(file, { node = process.execPath, hangMs, env = process.env }) {
  const folder = join(root, '.cache/test-events');
  mkdirSync(folder, { recursive: true });
  const events = join(folder, `${process.pid}-${file.replace(/[^\w.-]/g, '_')}.jsonl`);
  rmSync(events, { force: true });
  const start = Date.now();
  const args = [
    '--enable-source-maps',
    '--expose-gc',
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
  ];
  const child = spawn(node, [...args, file], {
    cwd: root,
    detached: process.platform !== 'win32',
    env: { ...env, ASPIRED_TEST_EVENTS: events },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const entry = { child, file };
  running.add(entry);
  let output = '';
  const keep = (chunk) => {
    output = (output + chunk).slice(-20_000);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  const endWatch = watchForHang(child, events, hangMs);
  return new Promise((resolve) => {
    const ended = (code, signal) => {
      running.delete(entry);
      const hung = endWatch();
      setImmediate(() => {
        resolve(verdict(file, readEvents(events), { code, signal, hung, hangMs, output, start }));
        rmSync(events, { force: true });
        kill(child);
      });
    };
    child.on('error', (error) => {
      keep(String(error));
      // What could not be started does not exit either.
      if (child.pid === undefined) ended(error.code, null);
    });
    // 'exit', not 'close': a grandchild that inherited the pipes must not hold up the run.
    child.on('exit', ended);
  });
}

/** Runs the files, `jobs` at a time in the given order; `print` gets each file's text when it ends. */
export async function runFiles(files, { jobs = 1, print, ...options }) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(file, options);
      for (const key of Object.keys(total)) total[key] += result[key];
      print(result.text.join('\n'));
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return total;
}
