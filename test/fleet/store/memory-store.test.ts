// The store in memory keeps what every store promises.
import { MemoryFleet } from '#lib/fleet/store/memory-store.js';
import { storeConformance } from './conformance.js';

storeConformance(
  'memory',
  async () => {
    const fleet = new MemoryFleet();
    return {
      connect: async () => fleet.connect(),
      clear: async () => fleet.clear(),
    };
  },
  false,
);
