import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BakeReport } from 'aspired';
import type { Step } from './measured-step.js';
import { duration } from './progress.js';
import { DIGITS, LARGE, SLOW_VERSION, type Stage } from './stage.js';
import type { Traffic } from './traffic.js';

type Held = ReturnType<Stage['manager']['getServableHandle']>;

/** The transitions of the main job, in order. Each starts where the one before it ended. */
export function scenario(stage: Stage, traffic: Traffic): readonly Step[] {
  const held: Held[] = [];
  return [
    promote(stage, traffic),
    refuse(stage, traffic),
    expand(stage),
    movePrimary(stage, 2, 1),
    movePrimary(stage, 1, 2),
    reAspireOld(stage, held),
    reAspireNew(stage, held),
    coldRollback(stage, traffic),
    cancelLoading(stage, traffic),
    promoteAgain(stage, traffic),
    backToStandby(stage, 2, 1),
    backToStandby(stage, 1, 2),
    failBake(stage, traffic),
    loadLarge(stage),
    replaceLarge(stage),
  ];
}

function promote(stage: Stage, traffic: Traffic): Step {
  return {
    title: '1 → 2, its directory is dropped in',
    async run(started, signal) {
      const first = traffic.firstAnswer(2, started, signal);
      const event = stage.events.events.length;
      await stage.drop(DIGITS, 2);
      const available = await stage.events.reached(DIGITS, 2, 'Available', event, signal);
      const switchedMs = (await first) - started;
      const gone = await stage.events.reached(DIGITS, 1, 'End', event, signal);
      expect(gone.at >= available.at - 1, 'version 1 was gone before version 2 was available');
      return { switchedMs, note: 'version 1 drained and unloaded' };
    },
  };
}

function refuse(stage: Stage, traffic: Traffic): Step {
  return {
    title: '2 → 3, which its warm-up refuses',
    async run(_started, signal) {
      const event = stage.events.events.length;
      await stage.drop(DIGITS, 3);
      const { event: end } = await stage.events.reached(DIGITS, 3, 'End', event, signal);
      expect(end.error !== undefined, 'version 3 ended without an error');
      expect(!stage.events.find(DIGITS, 3, 'Available', event), 'version 3 became available');
      expect(readVersion(stage) === 2 && traffic.latestVersion === 2, 'version 2 did not stay');
      await stage.withdraw(DIGITS, 3);
      await stage.aspire(DIGITS, { specific: [2] });
      return { note: `2 stays; ${rootMessage(end.error)}` };
    },
  };
}

function expand(stage: Stage): Step {
  return {
    title: '2 → {1, 2}, 2 stays the primary',
    async run(_started, signal) {
      const event = stage.events.events.length;
      stage.manager.setVersionLabels(DIGITS, {}, { primary: 2 });
      await stage.aspire(DIGITS, { specific: [1, 2] });
      await stage.events.reached(DIGITS, 1, 'Available', event, signal);
      expect(readVersion(stage) === 2, 'readers left the primary');
      return {};
    },
  };
}

function movePrimary(stage: Stage, from: number, to: number): Step {
  return {
    title: `${from} → ${to}, by moving the primary`,
    async run(_started, signal) {
      const began = performance.now();
      stage.manager.setVersionLabels(DIGITS, {}, { primary: to });
      await untilRead(stage, to, signal);
      const switchedMs = performance.now() - began;
      return { switchedMs, note: `readers moved after ${duration(switchedMs)}, both stay resident` };
    },
  };
}

function reAspireOld(stage: Stage, held: Held[]): Step {
  return {
    title: '2 → 1, re-aspired before it has drained',
    async prepare(signal) {
      for (const version of [1, 2]) held.push(stage.manager.getServableHandle({ name: DIGITS, version }));
      await stage.aspire(DIGITS, { specific: [2] });
      stage.manager.setVersionLabels(DIGITS, {}, { primary: null });
      await untilDraining(stage, 1, signal);
    },
    async run(_started, signal) {
      const loads = stage.loads(DIGITS, 1);
      const began = performance.now();
      await stage.aspire(DIGITS, { specific: [1] });
      await untilRead(stage, 1, signal);
      const switchedMs = performance.now() - began;
      expect(stage.loads(DIGITS, 1) === loads, 'version 1 was loaded again');
      await untilDraining(stage, 2, signal);
      return {
        switchedMs,
        note: `a held handle kept 1 resident; no load, readers moved after ${duration(switchedMs)}`,
      };
    },
  };
}

function reAspireNew(stage: Stage, held: Held[]): Step {
  return {
    title: '1 → 2, re-aspired before it has drained',
    async run(_started, signal) {
      const event = stage.events.events.length;
      const loads = stage.loads(DIGITS, 2);
      const began = performance.now();
      await stage.aspire(DIGITS, { specific: [2] });
      await untilRead(stage, 2, signal);
      const switchedMs = performance.now() - began;
      expect(stage.loads(DIGITS, 2) === loads, 'version 2 was loaded again');
      for (const handle of held.splice(0)) handle.release();
      await stage.events.reached(DIGITS, 1, 'End', event, signal);
      return { switchedMs, note: `no load; 1 unloaded when its handle was released` };
    },
  };
}

function coldRollback(stage: Stage, traffic: Traffic): Step {
  return {
    title: '2 → 1, loaded again from disk',
    async run(started, signal) {
      const event = stage.events.events.length;
      const first = traffic.firstAnswer(1, started, signal);
      await stage.aspire(DIGITS, { specific: [1] });
      const switchedMs = (await first) - started;
      await stage.events.reached(DIGITS, 2, 'End', event, signal);
      return { switchedMs };
    },
  };
}

function cancelLoading(stage: Stage, traffic: Traffic): Step {
  return {
    title: '1 → 2, taken back while 2 is loading',
    async run(_started, signal) {
      const event = stage.events.events.length;
      const validating = stage.holdValidation(2);
      await stage.aspire(DIGITS, { specific: [2] });
      await validating;
      const back = performance.now();
      await stage.aspire(DIGITS, { specific: [1] });
      const end = await stage.events.reached(DIGITS, 2, 'End', event, signal);
      expect(!stage.events.find(DIGITS, 2, 'Available', event), 'version 2 became available');
      expect(!stage.events.find(DIGITS, 1, 'Unloading', event), 'version 1 was unloaded');
      expect(readVersion(stage) === 1 && traffic.latestVersion === 1, 'version 1 did not stay');
      return {
        note: `2 never visible, gone ${duration(Math.max(0, end.at - back))} after the change of mind; 1 never left`,
      };
    },
  };
}

function promoteAgain(stage: Stage, traffic: Traffic): Step {
  return {
    title: '1 → 2, which leaves 1 as a standby',
    async run(started, signal) {
      stage.manager.setServableOptions(DIGITS, { standby: { versions: 1, for: '1m' } });
      const first = traffic.firstAnswer(2, started, signal);
      await stage.aspire(DIGITS, { specific: [2] });
      const switchedMs = (await first) - started;
      await untilStandby(stage, 1, signal);
      return { switchedMs, note: '1 is closed to readers and stays in memory' };
    },
  };
}

function backToStandby(stage: Stage, from: number, to: number): Step {
  return {
    title: `${from} → ${to}, which is a standby`,
    async run(_started, signal) {
      const loads = stage.loads(DIGITS, to);
      const began = performance.now();
      await stage.aspire(DIGITS, { specific: [to] });
      await untilRead(stage, to, signal);
      const switchedMs = performance.now() - began;
      expect(stage.loads(DIGITS, to) === loads, `version ${to} was loaded again`);
      await untilStandby(stage, from, signal);
      return { switchedMs, note: `no load, readers moved after ${duration(switchedMs)}` };
    },
  };
}

function failBake(stage: Stage, traffic: Traffic): Step {
  return {
    title: `2 → ${SLOW_VERSION}, which is slow: its bake takes it back`,
    async run(started, signal) {
      const event = stage.events.events.length;
      const bake = { for: '5s', minRequests: 100, maxLatencyIncrease: 4 };
      stage.manager.setServableOptions(DIGITS, { standby: false, bake });
      const first = traffic.firstAnswer(SLOW_VERSION, started, signal);
      await stage.drop(DIGITS, SLOW_VERSION, 2);
      await stage.aspire(DIGITS, { specific: [SLOW_VERSION] });
      const switchedAt = await first;
      const { event: end } = await stage.events.reached(DIGITS, SLOW_VERSION, 'End', event, signal);
      if (end.error?.code !== 'ERR_BAKE_FAILED') throw new Error(`It did not fail its bake: ${end.error?.message}`);
      expect(!stage.events.find(DIGITS, 2, 'Unloading', event), 'version 2 was unloaded');
      expect(readVersion(stage) === 2, 'readers are not back on version 2');
      const { requests, elapsedMs, latencyMs, previous } = end.error.cause as BakeReport;
      await stage.aspire(DIGITS, { specific: [2] });
      await stage.withdraw(DIGITS, SLOW_VERSION);
      stage.manager.setServableOptions(DIGITS, { bake: false });
      return {
        switchedMs: switchedAt - started,
        note:
          `2 never left; ${SLOW_VERSION} was gone ${duration(elapsedMs)} after the switch, ${requests} requests were slow: ` +
          `p99 ${duration(latencyMs.p99)} instead of ${duration(previous?.latencyMs.p99 ?? 0)}`,
      };
    },
  };
}

function loadLarge(stage: Stage): Step {
  return {
    title: 'the large model loads beside',
    async run(_started, signal) {
      const event = stage.events.events.length;
      await stage.drop(LARGE, 1);
      await stage.aspire(LARGE, { latest: 1 });
      await stage.events.reached(LARGE, 1, 'Available', event, signal);
      return {};
    },
  };
}

function replaceLarge(stage: Stage): Step {
  return {
    title: 'large 1 → 2, resource-preserving',
    async run(_started, signal) {
      const event = stage.events.events.length;
      await stage.drop(LARGE, 2, 1);
      await stage.events.reached(LARGE, 2, 'Available', event, signal);
      const gone = stage.events.indexOf(LARGE, 1, 'End', event);
      const loading = stage.events.indexOf(LARGE, 2, 'Loading', event);
      expect(gone >= 0 && gone < loading, 'version 2 began to load before version 1 was gone');
      return { note: '1 was unloaded before 2 began to load' };
    },
  };
}

/** The version a plain name resolves to now. */
function readVersion(stage: Stage): number {
  const handle = stage.manager.getServableHandle(DIGITS);
  const { version } = handle.id;
  handle.release();
  return version;
}

async function untilRead(stage: Stage, version: number, signal: AbortSignal): Promise<void> {
  while (readVersion(stage) !== version) {
    if (signal.aborted) throw new Error(`Readers did not get version ${version} in time`);
    await nextTurn();
  }
}

async function untilDraining(stage: Stage, version: number, signal: AbortSignal): Promise<void> {
  const draining = (): boolean =>
    stage.manager
      .getServableStates(DIGITS)
      .some(({ id, state }) => id.version === version && (state === 'UnloadRequested' || state === 'Quiescing'));
  while (!draining()) {
    if (signal.aborted) throw new Error(`Version ${version} did not begin to drain in time`);
    await nextTurn();
  }
}

async function untilStandby(stage: Stage, version: number, signal: AbortSignal): Promise<void> {
  while (!stage.manager.getServableStates(DIGITS).some(({ id, standby }) => id.version === version && standby)) {
    if (signal.aborted) throw new Error(`Version ${version} did not become a standby in time`);
    await nextTurn();
  }
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

function rootMessage(error: unknown): string {
  let root = error;
  while (root instanceof Error && root.cause !== undefined) root = root.cause;
  return root instanceof Error ? root.message : String(root);
}
