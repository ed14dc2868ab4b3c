// Runs the checks of the sources: layers, source lists, error codes, Biome, clang-format.
//   node scripts/lint.mjs          reports
//   node scripts/lint.mjs --fix    mends what can be mended, then reports
import { CHECKS } from './support/checks.mjs';
import { say } from './support/progress.mjs';
import { main, run } from './support/run.mjs';

await main(async () => {
  let failed = 0;
  for (const { name, command, fix, skip } of CHECKS) {
    const reason = skip?.();
    if (reason) {
      say(`skipped ${name}: ${reason}`);
      continue;
    }
    try {
      if (fix && process.argv.includes('--fix')) await run(...split(fix())).catch(() => {}); // the check below reports
      await run(...split(command()));
      say(`ok ${name}`);
    } catch (error) {
      failed++;
      say(`failed ${name}\n${error.message}`);
    }
  }
  return failed > 0 ? 1 : 0;
});

function split([command, ...args]) {
  return [command, args];
}
