// A host of the demonstration: an agent of the fleet, its manager with real models, and requests.
import { join } from 'node:path';
import { AspiredVersionsManager, onnxLoader } from 'aspired';
import { FleetAgent } from 'aspired/fleet';
import { holdoutDigits } from '../models/digits.js';
import { type Running, runChild, say, tellError } from './child.js';
import type { HostTask } from './messages.js';
import { HostTraffic } from './traffic.js';

await runChild(async (task: HostTask): Promise<Running> => {
  const manager = new AspiredVersionsManager({ numLoadThreads: 1 });
  const agent = await FleetAgent.start({
    fleet: task.fleet,
    id: task.id,
    zone: task.zone,
    store: { redis: task.redis },
    stateDir: task.stateDir,
    manager,
    // Without a warm-up or a validation: the bad version is to fail where only traffic finds it.
    loader: ({ name, version }) => onnxLoader(join(task.models, name, String(version))),
    heartbeatIntervalMs: 3000,
    trafficIntervalMs: 500,
    onError: tellError,
  });
  const traffic = new HostTraffic({ manager, model: task.model, rate: task.rate, samples: holdoutDigits() });
  traffic.start();
  return {
    onCommand(command) {
      if (command.do === 'count') say({ said: 'count', id: command.id, count: traffic.count() });
    },
    async stop() {
      await traffic.stop();
      await agent.close();
      await manager.close();
    },
  };
});
