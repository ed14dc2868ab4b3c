// Runs the JavaScript tests on every supported line of Node.js, all with the one addon that was built here: Node-API
// promises that it fits. Each Node comes from the package that the npm package `node` installs for this platform.
//   node scripts/test-nodes.mjs [20 22 24 26] [--match=text]
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { step } from './support/progress.mjs';
import { ask, Failure, main, npmCommand, root, run } from './support/run.mjs';
import { filesBelow } from './support/stamp.mjs';
import { runFiles } from './support/test-files.mjs';

const LINES = ['20', '22', '24', '26'];
const HANG_MS = 120_000;

const system = process.platform === 'win32' ? 'win' : process.platform;
const packageName = `node-${system}-${process.arch}`;

async function install(line) {
  const folder = join(root, '.cache/nodes', line);
  const binary = join(folder, 'node_modules', packageName, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  // Without a package.json of its own npm would install into the repository.
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  const [command, ...args] = npmCommand();
  const npmArgs = [...args, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await step(`Node.js ${line} (${packageName})`, (report) =>
    run(command, [...npmArgs, `${packageName}@${line}`], { cwd: folder, report }),
  );
  if (!existsSync(binary)) throw new Failure(`${packageName}@${line} did not bring ${binary}`);
  return binary;
}

await main(async () => {
  const args = process.argv.slice(2);
  const match = args.find((arg) => arg.startsWith('--match='))?.slice('--match='.length) ?? '';
  const lines = args.filter((arg) => LINES.includes(arg));
  const unknown = args.find((arg) => !LINES.includes(arg) && !arg.startsWith('--match='));
  if (unknown) throw new Failure(`Unknown argument ${unknown}; known: ${LINES.join(', ')}, --match=`);
  const files = filesBelow(['dist-test/test'], (file) => file.endsWith('.test.js') && file.includes(match));
  const total = { passed: 0, failed: 0, skipped: 0 };
  const rows = [];
  for (const line of lines.length > 0 ? lines : LINES) {
    const node = await install(line);
    const version = ask(node, ['--version']);
    if (!version) throw new Failure(`${node} does not run here`);
    console.log(`Node.js ${version}`);
    const result = await runFiles(files, { node, hangMs: HANG_MS, jobs: 1, print: console.log });
    rows.push(`${version}: ${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped`);
    for (const key of Object.keys(total)) total[key] += result[key];
  }
  console.log(`\n${rows.join('\n')}`);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
});
