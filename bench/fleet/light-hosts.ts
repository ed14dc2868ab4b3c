// Hosts that report nothing: the store's client and the document logic of the agent, with its file, and nothing else. What
// a change costs with them is the price of telling a host.
import { join } from 'node:path';
import { AcceptedFile, NOTHING_ACCEPTED } from '#lib/fleet/agent/accepted-file.js';
import { Documents } from '#lib/fleet/agent/documents.js';
import { Findings } from '#lib/fleet/agent/findings.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { type HostsStart, hostId } from './protocol.js';

/** Connects the hosts, one after another; the answer disconnects them. */
export async function startLightHosts(
  { url, fleet, from, count, stateDir }: HostsStart,
  act: (index: number, model: string, versions: readonly number[]) => void,
): Promise<() => Promise<void>> {
  const stores: RedisStore[] = [];
  for (let index = from; index < from + count; index++) {
    const id = hostId(index);
    const store = await RedisStore.connect({ url, fleet, role: 'agent' });
    stores.push(store);
    const documents = new Documents(
      {
        file: new AcceptedFile(join(stateDir, fleet, id), fleet, id),
        findings: new Findings(
          () => {},
          () => {},
        ),
        read: () => store.readDesired(id),
        wasRead: () => {},
        act: (changes) => {
          for (const [model, { cell }] of changes) act(index, model, cell.versions);
        },
        changed: () => {},
      },
      NOTHING_ACCEPTED,
    );
    await store.onDoorbell(id, () => documents.ring());
  }
  return async () => {
    await Promise.all(stores.map((store) => store.close()));
  };
}
