// A process with one controller. Started by the harness, with ControllerArguments.
import { FleetController } from '#lib/fleet/controller/fleet-controller.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { FLEET, HEARTBEAT_MS, REPLICAS } from '../fleet.js';
import { Recorder } from '../history/recorder.js';
import { Random } from '../seeded/random.js';
import { CommitSeam } from './controller-seams.js';
import { argumentsOf, type ControllerArguments, type ControllerMessage, listen, ready } from './messages.js';
import { mutate } from './mutants.js';

const { name, redis, history, rogue, seed, mutant } = argumentsOf<ControllerArguments>();
if (mutant) mutate(mutant);
const seam = new CommitSeam(new Recorder(history, name), new Random(seed), rogue);
seam.install();
listen<ControllerMessage>((message) => seam.told(message));
await FleetController.start({
  fleet: FLEET,
  id: name,
  // With a store of its own it has no queue, and no lock.
  store: rogue ? await RedisStore.connect({ url: redis, fleet: FLEET }) : { redis },
  heartbeatIntervalMs: HEARTBEAT_MS,
  sweepIntervalMs: rogue ? 60 : 100,
  tickIntervalMs: rogue ? 100 : 1_000,
  minReplicas: REPLICAS,
  confirmTimeoutMs: 300,
  onError: () => {}, // what is wrong is in the history: here it is meant to be
});
ready();
