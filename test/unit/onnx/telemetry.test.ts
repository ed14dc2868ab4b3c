// ONNX Runtime tells its maker nothing about its use, unless it is asked to.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { defaultModelsDirectory, ensureModels } from '../../../scripts/models/ensure-models.js';

const PROGRAM = `
import { AspiredVersionsManager, onnxLoader } from 'aspired';
const manager = new AspiredVersionsManager();
const { versions } = await manager.setAspiredVersions('m', [{ version: 1, loader: onnxLoader(process.argv[1]) }]).settled;
if (versions[0].managerState !== 'Available') throw versions[0].error;
await manager.close();
`;

let folder: string;
before(async () => {
  await ensureModels({ out: defaultModelsDirectory(), only: ['half_plus_two'] });
  folder = await mkdtemp(join(tmpdir(), 'aspired-telemetry-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/**
 * What a process that loads a model leaves in its home and in its folder for temporary files, which are one here. Of our
 * environment it gets only the path: ONNX Runtime is silent by itself where it finds a variable of a CI system (`CI`,
 * `GITHUB_ACTIONS`, `JENKINS_URL`, ...), and then neither test would show anything.
 */
async function leftBehind(telemetry?: string): Promise<string[]> {
  const home = await mkdtemp(join(folder, 'home-'));
  const model = join(defaultModelsDirectory(), 'half_plus_two', '1', 'model.onnx');
  const asked = telemetry === undefined ? {} : { ORT_DISABLE_TELEMETRY: telemetry };
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', PROGRAM, model], {
    env: { ...(process.env.PATH === undefined ? {} : { PATH: process.env.PATH }), HOME: home, TMPDIR: home, ...asked },
    timeout: 60_000,
  });
  return readdir(home);
}

test('a process that loads a model leaves no trace of telemetry', { skip: process.platform === 'win32' }, async () => {
  assert.deepEqual(await leftBehind(), []);
});

test('who wants telemetry has it', { skip: process.platform !== 'linux' }, async () => {
  // Were there none of these files any more, the test above would show nothing.
  assert.notDeepEqual(await leftBehind('0'), []);
});
