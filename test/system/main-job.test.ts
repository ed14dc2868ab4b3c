import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../scripts/start/main.js', import.meta.url));

it('the main job ends by itself, loses no request, and all its transitions end as they should', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aspired-main-job-'));
  try {
    const out = join(directory, 'timeline.svg');
    const models = join(directory, 'models');
    const args = [MAIN, '--rate', '500', '--large-mb', '40', '--models', models, '--out', out];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 90_000 });
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    assert.equal(code, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /served, 0 failed; 15 transitions as they should be, 0 not, 0 not begun/);
    assert.match(await readFile(out, 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
