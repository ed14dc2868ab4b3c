// What the main job makes of its measurements: percentiles, lanes, the table and the picture.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ManagerState, ServableStateEvent } from 'aspired';
import type { LoggedEvent } from '../../../scripts/start/event-log.js';
import type { StepResult } from '../../../scripts/start/measured-step.js';
import { duration } from '../../../scripts/start/progress.js';
import { RequestLog } from '../../../scripts/start/request-log.js';
import { table } from '../../../scripts/start/table.js';
import { makeTimeline } from '../../../scripts/start/timeline.js';
import { timelineSvg } from '../../../scripts/start/timeline-svg.js';

function event(at: number, version: number, managerState: ManagerState, status?: string): LoggedEvent {
  const error = status === undefined ? {} : { error: { status } as ServableStateEvent['error'] & object };
  return { at, event: { id: { name: 'digits', version }, managerState, at, incarnation: 1, ...error } };
}

function requests(): RequestLog {
  const log = new RequestLog();
  for (let i = 0; i < 1000; i++) log.answered(i, i < 990 ? 1 : 50, i < 500 ? 1 : 2, i % 2 === 0);
  return log;
}

function step(number: number, log: RequestLog, problem?: string): StepResult {
  return {
    number,
    title: 'a < b & c',
    from: 500,
    to: 502,
    windowTo: 900,
    before: log.window(0, 500),
    during: log.window(500, 900),
    timerGapMs: 3.2,
    monitorGapMs: 3.1,
    ...(problem === undefined ? {} : { problem }),
  };
}

describe('the report of the main job', () => {
  it('a window counts exactly the requests that were due in it, failed ones apart', () => {
    const log = requests();
    log.failed(600, new Error('lost'));
    const all = log.window(0, 1000);
    assert.equal(all.served, 1000);
    assert.equal(all.failed, 1);
    assert.equal(all.right, 0.5);
    assert.ok(Math.abs(all.p50 - 1) < 0.01 && all.p99 < 1.1);
    assert.ok(log.window(900, 1000).p99 > 49);
    assert.deepEqual(
      [...log.window(400, 600).byVersion],
      [
        [1, 100],
        [2, 100],
      ],
    );
    assert.equal(log.window(2000, 3000).served, 0);
    assert.equal(log.latest(10).p50.toFixed(0), '50');
  });

  it('the log keeps everything when it outgrows its columns', () => {
    const log = new RequestLog();
    for (let i = 0; i < 150_000; i++) log.answered(i, 2, 1, true);
    assert.equal(log.served, 150_000);
    assert.equal(log.window(0, 150_000).served, 150_000);
    assert.ok(Math.abs(log.window(140_000, 150_000).p99 - 2) < 0.01);
  });

  it('lanes tell apart what failed and what was taken back, and an open state ends with the timeline', () => {
    const log = requests();
    const events = [
      event(-50, 1, 'Available'),
      event(500, 2, 'Loading'),
      event(520, 2, 'End', 'INTERNAL'),
      event(600, 2, 'Loading'),
      event(620, 2, 'End', 'CANCELLED'),
    ];
    const { lanes } = makeTimeline(
      { events, requests: log, steps: [], from: 0, to: 1000 },
      { title: 't', subtitle: 's' },
    );
    assert.deepEqual(
      lanes.map(({ version, spans }) => [version, spans]),
      [
        [1, [{ state: 'Available', from: 0, to: 1000 }]],
        [
          2,
          [
            { state: 'Loading', from: 500, to: 520, broken: 'failed' },
            { state: 'Loading', from: 600, to: 620, broken: 'cancelled' },
          ],
        ],
      ],
    );
  });

  it('the picture is well-formed, has both colour schemes and no number that is none', () => {
    const log = requests();
    const events = [event(0, 1, 'Available'), event(500, 2, 'Loading'), event(520, 2, 'Available')];
    const svg = timelineSvg(
      makeTimeline(
        { events, requests: log, steps: [step(1, log), step(2, log, 'went wrong')], from: 0, to: 1000 },
        { title: 'a title', subtitle: 'a & b' },
      ),
    );
    assert.ok(svg.includes('prefers-color-scheme:dark'));
    assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
    assert.ok(svg.includes('a &lt; b &amp; c'));
    const open: string[] = [];
    for (const [, close, name, rest] of svg.matchAll(/<(\/?)([a-z]+)([^>]*)>/gi)) {
      if (close) assert.equal(open.pop(), name);
      else if (!rest?.endsWith('/')) open.push(name as string);
    }
    assert.deepEqual(open, []);
  });

  it('the table has a row per transition and marks the ones that went wrong', () => {
    const log = requests();
    const lines = table([step(1, log), step(2, log, 'went wrong')]).split('\n');
    assert.match(lines[2] as string, /^1 +a < b & c +2\.0 ms +– +400 +0 .*✓$/);
    assert.match(lines[3] as string, /✗$/);
  });

  it('durations keep the digits that matter', () => {
    assert.deepEqual([0.0853, 4.21, 640.4, 1240].map(duration), ['85 µs', '4.2 ms', '640 ms', '1.24 s']);
  });
});
