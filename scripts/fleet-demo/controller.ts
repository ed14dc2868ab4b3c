// A controller of the demonstration.
import { FleetController } from 'aspired/fleet';
import { type Running, runChild, tellError } from './child.js';
import type { ControllerTask } from './messages.js';

await runChild(async ({ fleet, redis }: ControllerTask): Promise<Running> => {
  const controller = await FleetController.start({
    fleet,
    store: { redis },
    heartbeatIntervalMs: 3000,
    onError: tellError,
  });
  return { stop: () => controller.close() };
});
