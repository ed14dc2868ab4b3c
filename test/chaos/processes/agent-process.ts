// A process with the agents of some hosts. Started by the harness, with AgentArguments.
import { HOSTS } from '../fleet.js';
import { Recorder } from '../history/recorder.js';
import { Host } from './host.js';
import { type AgentArguments, type AgentMessage, argumentsOf, listen, ready } from './messages.js';
import { mutate } from './mutants.js';

const { name, redis, history, stateDir, hosts: mine, mutant } = argumentsOf<AgentArguments>();
if (mutant) mutate(mutant);
const recorder = new Recorder(history, name);
const hosts = new Map(
  mine.map((host) => {
    const mayCrash = HOSTS.find(({ id }) => id === host.id)?.alone === true;
    return [host.id, new Host({ host, recorder, redis, stateDir, mayCrash })];
  }),
);
listen<AgentMessage>(({ slow, factor }) => {
  const host = hosts.get(slow);
  if (host) host.slowness = factor;
});
await Promise.all([...hosts.values()].map((host) => host.start()));
ready();
