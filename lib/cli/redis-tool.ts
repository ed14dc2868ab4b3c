import type { AuditEntry, FleetClient, FleetStore } from '../fleet/index.js';
import type { FleetAddress } from './io.js';
import type { FleetTool } from './tool.js';

/** Entries of an audit trail that one call asks for. */
const AUDIT_PAGE = 1000;

/** The fleet in a Redis: a FleetClient, and the store below it for what a client does not do. */
export async function openFleet({ redis, fleet, minReplicas }: FleetAddress): Promise<FleetTool> {
  const { examine, FleetClient, RedisStore } = await import('../fleet/index.js');
  const store = await RedisStore.connect({ fleet, url: redis });
  const client = await FleetClient.connect({ fleet, store, ...(minReplicas !== undefined && { minReplicas }) });
  return {
    create: () => client.create(),
    start: (plan, intent) => client.start(plan, intent),
    verb: (rollout, verb, intent, options) => client.verb(rollout, verb, intent, options),
    view: (rollout) => client.view(rollout),
    explain: (rollout) => client.explain(rollout),
    list: async () => Promise.all((await client.list()).map(({ id }) => client.view(id))),
    history: (model, count) => client.history(model, count),
    audit: (model, count) => lastEntries(client, model, count),
    hosts: () => client.hosts(),
    setCordoned: (host, cordoned, intent) => (cordoned ? client.cordon(host, intent) : client.uncordon(host, intent)),
    removeHost: (host, intent) => client.removeHost(host, intent),
    exportAll: () => client.exportAll(),
    restore: (data, intent) => client.restore(data, intent),
    restoreFromHosts: (intent) => client.restoreFromHosts(intent),
    doctor: () => examine(store),
    [Symbol.asyncDispose]: () => close(client, store),
  };
}

/** From the end: a trail may be a hundred times as long as what is asked for. */
async function lastEntries(client: FleetClient, model: string, count: number): Promise<readonly AuditEntry[]> {
  let last: readonly AuditEntry[] = [];
  while (last.length < count) {
    const asked = Math.min(AUDIT_PAGE, count - last.length);
    const page = await client.latestAudit(model, last[0]?.id, asked);
    last = [...page, ...last];
    if (page.length < asked) break;
  }
  return last;
}

async function close(client: FleetClient, store: FleetStore): Promise<void> {
  await client.close();
  await store.close();
}
