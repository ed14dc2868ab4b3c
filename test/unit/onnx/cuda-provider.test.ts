import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { arenaLimit, withCudaReservation } from '#lib/onnx/cuda-provider.js';

const reservation = { device: 1, bytes: 3 * 2 ** 30 };
const cuda = (...options: [string, string][]) => ({ name: 'cuda', options });
const cpu = { name: 'cpu', options: [] };

describe('withCudaReservation', () => {
  it('fills in the device and the limit of the arena', () => {
    assert.deepEqual(withCudaReservation([cuda(['arena_extend_strategy', 'kSameAsRequested']), cpu], reservation), [
      cuda(['arena_extend_strategy', 'kSameAsRequested'], ['device_id', '1'], ['gpu_mem_limit', '3221225472']),
      cpu,
    ]);
  });

  it("keeps the user's own values", () => {
    assert.deepEqual(withCudaReservation([cuda(['device_id', '0'])], reservation), [
      cuda(['device_id', '0'], ['gpu_mem_limit', '3221225472']),
    ]);
    assert.deepEqual(withCudaReservation([cuda(['gpu_mem_limit', '7'])], reservation), [
      cuda(['gpu_mem_limit', '7'], ['device_id', '1']),
    ]);
    const full = [cuda(['gpu_mem_limit', '7'], ['device_id', '0'])];
    assert.deepEqual(withCudaReservation(full, reservation), full);
  });

  it('leaves other providers and what it was given alone', () => {
    const providers = [{ name: 'webgpu', options: [] }, cpu];
    assert.deepEqual(withCudaReservation(providers, reservation), providers);
    assert.deepEqual(withCudaReservation([], reservation), []);
    const given = [cuda()];
    withCudaReservation(given, reservation);
    assert.deepEqual(given, [cuda()]);
  });

  it('writes large and broken numbers as digits', () => {
    const limit = (bytes: number) => withCudaReservation([cuda()], { device: 0, bytes })[0]?.options[1]?.[1];
    assert.equal(limit(Number.MAX_SAFE_INTEGER), '9007199254740991');
    assert.equal(limit(1e22), '10000000000000000000000');
    assert.equal(limit(1024.9), '1024');
  });
});

describe('arenaLimit', () => {
  it('is the reservation without what is meant for the context and the libraries', () => {
    assert.equal(arenaLimit(512 + 1200, 512, 1200), 1200);
    assert.equal(arenaLimit(3000, 512, 1200), 2488, 'experience raised the estimate');
  });

  it('leaves room for the weights where less was reserved, and is never more than the reservation', () => {
    assert.equal(arenaLimit(1400, 512, 1200), 1200);
    assert.equal(arenaLimit(600, 512, 1200), 600);
    assert.equal(arenaLimit(100, 512, 50), 50);
  });
});
