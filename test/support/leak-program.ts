// Run with --expose-gc by the test of leak detection: loses handles, and waits until their version could be unloaded.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AspiredVersionsManager } from 'aspired';

const manager = new AspiredVersionsManager({ leakDetection: 'all' });
await manager.setAspiredVersions('m', [{ version: 1, loader: { load: () => ({}) } }]).settled;

function lose(): void {
  manager.getServableHandle('m');
  for (const handle of manager.getAvailableServableHandles().values()) handle.id;
  manager.getServableHandle('m').release();
}
lose();

let unloaded = false;
void manager.setAspiredVersions('m', []).settled.then(() => {
  unloaded = true;
});
const end = Date.now() + 30_000;
while (!unloaded && Date.now() < end) {
  globalThis.gc?.();
  await nextTurn();
}
console.log(unloaded ? 'unloaded' : 'still held');
await manager.close({ drainTimeoutMs: 0 });
