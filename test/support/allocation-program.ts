// Run with a young generation so large that nothing is collected meanwhile: prints the bytes that one request puts on the
// heap, by way, without and with metrics. The least of several rounds: the first ones run before the optimizer has.
import { AspiredVersionsManager } from 'aspired';

const REQUESTS = 20_000;
const ROUNDS = 12;

const servable = { value: 1 };
const use = (given: unknown): number => (given as typeof servable).value;
const answer = Promise.resolve(1);
const useLater = (): Promise<number> => answer;

type Way = (manager: AspiredVersionsManager) => Promise<void> | void;
const ways: Readonly<Record<string, Way>> = {
  sync(manager) {
    for (let i = 0; i < REQUESTS; i++) manager.withServableSync('m', use);
  },
  async async(manager) {
    for (let i = 0; i < REQUESTS; i++) await manager.withServable('m', useLater);
  },
};

async function bytesPerRequest(manager: AspiredVersionsManager, way: Way): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.memoryUsage().heapUsed;
    await way(manager);
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / REQUESTS);
  }
  return least;
}

const result: Record<string, { without: number; with: number }> = {};
for (const metrics of [false, true]) {
  const manager = new AspiredVersionsManager({ metrics });
  await manager.setAspiredVersions('m', [{ version: 1, loader: { load: () => servable } }]).settled;
  for (const [name, way] of Object.entries(ways)) {
    result[name] ??= { without: 0, with: 0 };
    result[name][metrics ? 'with' : 'without'] = await bytesPerRequest(manager, way);
  }
  await manager.close();
}
console.log(JSON.stringify(result));
