// Hosts that wait for room which nobody makes: outside of rollouts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crampedCells, type Tenant } from '#lib/fleet/controller/cramped.js';
import type { DesiredCell, VersionReport } from '#lib/fleet/types.js';

interface Case {
  readonly zone?: string;
  readonly capacity?: number;
  readonly cell?: Partial<DesiredCell>;
  /** Available versions; null: the host is away. */
  readonly has?: readonly number[] | null;
  readonly accepted?: number;
  readonly cordoned?: boolean;
}

const BYTES = 60;

function tenant(
  id: string,
  { zone = 'z', capacity = 100, cell = {}, has = [1], accepted = 5, cordoned = false }: Case = {},
): Tenant {
  const info = { id, zone, labels: {}, capacityBytes: capacity, agentVersion: '1', schema: 1 };
  const versions = (has ?? []).map(
    (version): VersionReport => ({ version, managerState: 'Available', ramBytes: BYTES }),
  );
  const status = { bootId: 'b', sequence: 1, revision: 1, usedBytes: BYTES * versions.length, clock: 0 };
  return {
    host: { index: 0, info, cordoned },
    cell: { generation: 5, versions: [2], primary: 2, ...cell },
    report: has === null ? undefined : { info, status, models: new Map([['m', { generation: accepted, versions }]]) },
  };
}

/** By its place: 'cold', or 'plain'. */
function told(tenants: readonly Tenant[]): Record<number, string> {
  const cells = crampedCells('m', 2, tenants);
  return Object.fromEntries([...cells].map(([place, cell]) => [place, cell.resourcePreserving ? 'cold' : 'plain']));
}

const done = tenant('done', { has: [2] });

test('a host without room for the stable version lets the other one go first', () => {
  assert.deepEqual(told([done, tenant('a')]), { 1: 'cold' });
  assert.deepEqual(crampedCells('m', 2, [done, tenant('a')]).get(1), {
    ...{ versions: [2], primary: 2, resourcePreserving: true },
  });
});

test('a host with room, of unknown capacity, away, cordoned, or behind its document is left alone', () => {
  assert.deepEqual(told([done, tenant('a', { capacity: 200 })]), {});
  assert.deepEqual(told([done, tenant('a', { capacity: 0 })]), {});
  assert.deepEqual(told([done, tenant('a', { has: null })]), {});
  assert.deepEqual(told([done, tenant('a', { cordoned: true })]), {});
  assert.deepEqual(told([done, tenant('a', { accepted: 4 })]), {});
  assert.deepEqual(told([done, tenant('a', { cell: { versions: [1], primary: 1 } })]), {}, 'told something else');
  assert.deepEqual(told([tenant('a')]), {}, 'what the stable version takes is not known');
});

test('no more hosts of a zone at once than a rollout would let go, those that are away already among them', () => {
  assert.deepEqual(told([done, tenant('a'), tenant('b'), tenant('c', { zone: 'y' })]), { 1: 'cold', 3: 'cold' });
  const going = tenant('going', { cell: { resourcePreserving: true }, has: [] });
  assert.deepEqual(told([done, going, tenant('a')]), {}, 'one is on its way');
  const toldOnly = tenant('told', { cell: { resourcePreserving: true }, accepted: 4 });
  assert.deepEqual(told([done, toldOnly, tenant('a')]), {}, 'one was told, and has not reported it');
  assert.deepEqual(told([done, tenant('away', { has: null }), tenant('a')]), {}, 'one is dead');
  const many = Array.from({ length: 40 }, (_, index) => tenant(`h${index}`));
  assert.equal(Object.keys(told([done, ...many])).length, 4);
});

test('a host that has the stable version is told so without the mark', () => {
  const cell = { resourcePreserving: true };
  assert.deepEqual(told([tenant('a', { cell, has: [2] }), tenant('b', { cell, has: [] })]), { 0: 'plain' });
});
