// Draws a timeline as an SVG that stands for itself: no script, no font of its own, readable in light and dark.
import { duration } from './progress.js';
import type { Lane, Span, Timeline, TrafficPoint } from './timeline.js';
import { STYLE } from './timeline-style.js';

const WIDTH = 1240;
const LEFT = 118;
const RIGHT = 1212;
const TOP = 138;
const LANE_HEIGHT = 30;
const PANEL_GAP = 46;
const STEP_ROW = 22;

interface Panel {
  readonly title: string;
  readonly top: number;
  readonly height: number;
  readonly max: number;
  readonly ticks: readonly number[];
  readonly unit: (value: number) => string;
}

/** The picture of a timeline. */
export function timelineSvg(timeline: Timeline): string {
  const lanesBottom = TOP + timeline.lanes.length * LANE_HEIGHT;
  const panels = makePanels(timeline, lanesBottom + PANEL_GAP);
  const [rate, latency, right] = panels as [Panel, Panel, Panel];
  const bottom = right.top + right.height;
  const stepsTop = bottom + 74;
  const rows = Math.ceil(timeline.steps.length / 2);
  const height = stepsTop + rows * STEP_ROW + 20;
  const x = (time: number): number => LEFT + (time / timeline.lengthMs) * (RIGHT - LEFT);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif">`,
    `<title>${xml(timeline.title)}</title>`,
    `<style>${STYLE}</style>`,
    HATCH,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    text(LEFT - 94, 36, timeline.title, 'title'),
    text(LEFT - 94, 58, timeline.subtitle, 'muted'),
    legend(),
    stepBands(timeline, bottom, x),
    ...timeline.lanes.map((lane, i) => drawLane(lane, TOP + i * LANE_HEIGHT, x)),
    answeringLine(timeline, x),
    ...panels.map(axes),
    stackedRates(timeline, rate, x),
    curveKey(latency),
    curve(timeline.traffic, latency, x, ({ p99 }) => p99, 'p99'),
    curve(timeline.traffic, latency, x, ({ p50 }) => p50, 'p50'),
    curve(timeline.traffic, right, x, (point) => point.right * 100, 'right'),
    failures(timeline.traffic, rate, x),
    timeAxis(timeline.lengthMs, bottom, x),
    stepBadges(timeline, x),
    stepList(timeline, stepsTop),
    '</svg>',
    '',
  ].join('\n');
}

const HATCH = `<defs><pattern id="loading" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="loading-a" width="6" height="6"/><rect class="loading-b" width="3" height="6"/></pattern><pattern id="unloading" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="unloading-a" width="6" height="6"/><rect class="unloading-b" width="2" height="6"/></pattern></defs>`;

function makePanels(timeline: Timeline, top: number): readonly Panel[] {
  const most = Math.max(1, ...timeline.traffic.map(({ rate }) => [...rate.values()].reduce((a, b) => a + b, 0)));
  const slowest = Math.max(1, ...timeline.traffic.map(({ p99 }) => p99));
  const rates = niceTicks(most * 1.02, 5);
  const latencies = niceTicks(slowest, 4);
  const rate = { title: 'answers per second, by version', top, height: 96, ...rates, unit: thousands };
  const latencyTop = top + rate.height + PANEL_GAP;
  const latency = {
    title: 'latency from when a request was due, ms',
    top: latencyTop,
    height: 96,
    ...latencies,
    unit: String,
  };
  const rightTop = latencyTop + latency.height + PANEL_GAP;
  const right = { title: 'right answers, %', top: rightTop, height: 60, max: 100, ticks: [0, 50, 100], unit: String };
  return [rate, latency, right];
}

function niceTicks(most: number, count: number): { max: number; ticks: number[] } {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const steps = Math.ceil(most / step - 1e-9);
  return { max: steps * step, ticks: Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toFixed(6))) };
}

function yOf(panel: Panel, value: number): number {
  return panel.top + panel.height * (1 - Math.min(value, panel.max) / panel.max);
}

function axes(panel: Panel): string {
  const lines = panel.ticks.map((tick) => {
    const y = yOf(panel, tick);
    return `<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${n(y)}" y2="${n(y)}"/>${text(LEFT - 10, y + 4, panel.unit(tick), 'tick', 'end')}`;
  });
  return `<g>${lines.join('')}${text(LEFT, panel.top - 12, panel.title, 'label')}</g>`;
}

function timeAxis(lengthMs: number, y: number, x: (time: number) => number): string {
  const { ticks } = niceTicks(lengthMs / 1000, 12);
  const marks = ticks
    .filter((seconds) => seconds * 1000 <= lengthMs)
    .map((seconds) => text(x(seconds * 1000), y + 20, `${seconds} s`, 'tick', 'middle'));
  return `<g>${marks.join('')}</g>`;
}

function drawLane(lane: Lane, top: number, x: (time: number) => number): string {
  const y = top + 4;
  const height = LANE_HEIGHT - 10;
  const spans = lane.spans.map((span) => {
    const left = x(span.from);
    // A state that lasted a millisecond is still worth a mark.
    const width = Math.max(span.state === 'Available' ? 1 : 2, x(span.to) - left);
    const tip = `<title>${xml(`${lane.name}/${lane.version} ${span.state}, ${duration(span.to - span.from)}`)}</title>`;
    return `<rect class="${classOf(span, lane)}" x="${n(left)}" y="${y}" width="${n(width)}" height="${height}" rx="2">${tip}</rect>${span.broken ? cross(x(span.to) + 9, y + height / 2, span.broken) : ''}`;
  });
  const name = text(LEFT - 10, y + height - 5, `${lane.name} ${lane.version}`, 'lane', 'end');
  const base = `<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${top + LANE_HEIGHT - 1}" y2="${top + LANE_HEIGHT - 1}"/>`;
  return `<g>${base}${name}${spans.join('')}</g>`;
}

function classOf(span: Span, lane: Lane): string {
  if (span.state === 'Available') return lane.name === 'digits' ? `soft v${hue(lane.version)}` : 'soft other';
  return { Start: 'waiting', Loading: 'loading', Unloading: 'unloading' }[span.state];
}

function cross(x: number, y: number, kind: 'failed' | 'cancelled'): string {
  return `<path class="cross ${kind}" d="M${n(x - 4)} ${n(y - 4)}l8 8m0 -8l-8 8"/>`;
}

/** In the lanes: which version gives the answers. */
function answeringLine(timeline: Timeline, x: (time: number) => number): string {
  const parts = timeline.lanes.flatMap((lane, i) => {
    if (lane.name !== 'digits') return [];
    const y = TOP + i * LANE_HEIGHT + 4;
    return runs(timeline.traffic, ({ rate }) => (rate.get(lane.version) ?? 0) > 0).map(([first, last]) => {
      const from = x(first.at - timeline.bucketMs / 2);
      const to = x(last.at + timeline.bucketMs / 2);
      return `<rect class="solid v${hue(lane.version)}" x="${n(from)}" y="${y + LANE_HEIGHT - 15}" width="${n(to - from)}" height="5" rx="1"/>`;
    });
  });
  return `<g>${parts.join('')}</g>`;
}

function runs(
  points: readonly TrafficPoint[],
  holds: (point: TrafficPoint) => boolean,
): [TrafficPoint, TrafficPoint][] {
  const found: [TrafficPoint, TrafficPoint][] = [];
  let open: [TrafficPoint, TrafficPoint] | undefined;
  for (const point of points) {
    if (!holds(point)) open = undefined;
    else if (open) open[1] = point;
    else {
      open = [point, point];
      found.push(open);
    }
  }
  return found;
}

function stackedRates(timeline: Timeline, panel: Panel, x: (time: number) => number): string {
  const versions = [...new Set(timeline.traffic.flatMap(({ rate }) => [...rate.keys()]))].sort((a, b) => a - b);
  let below = timeline.traffic.map(() => 0);
  const areas = versions.map((version) => {
    const above = timeline.traffic.map(({ rate }, i) => (below[i] as number) + (rate.get(version) ?? 0));
    // Two points per bucket: a switch is a step, not a slope.
    const edge = (values: readonly number[]): string[] =>
      timeline.traffic.flatMap(({ at }, i) => {
        const y = n(yOf(panel, values[i] as number));
        return [`${n(x(at - timeline.bucketMs / 2))} ${y}`, `${n(x(at + timeline.bucketMs / 2))} ${y}`];
      });
    const outline = [...edge(above), ...edge(below).reverse()].join('L');
    below = above;
    return `<path class="area v${hue(version)}" d="M${outline}Z"/>`;
  });
  return `<g>${areas.join('')}</g>`;
}

function curveKey(panel: Panel): string {
  const keys = ['p99', 'p50'].map((kind, i) => {
    const left = RIGHT - 84 + i * 46;
    const y = panel.top - 12;
    return `<line class="line ${kind}" x1="${left}" x2="${left + 14}" y1="${y - 4}" y2="${y - 4}"/>${text(left + 18, y, kind, 'tick')}`;
  });
  return `<g>${keys.join('')}</g>`;
}

function curve(
  points: readonly TrafficPoint[],
  panel: Panel,
  x: (time: number) => number,
  value: (point: TrafficPoint) => number,
  kind: string,
): string {
  const path = points.map((point) => `${n(x(point.at))} ${n(yOf(panel, value(point)))}`).join('L');
  return `<path class="line ${kind}" d="M${path}"/>`;
}

function failures(points: readonly TrafficPoint[], panel: Panel, x: (time: number) => number): string {
  const failed = points.filter((point) => point.failed > 0);
  return `<g>${failed.map((point) => cross(x(point.at), panel.top + 8, 'failed')).join('')}</g>`;
}

function stepBands(timeline: Timeline, bottom: number, x: (time: number) => number): string {
  const bands = timeline.steps.map((step) => {
    const from = x(step.from - timeline.origin);
    const width = Math.max(1.5, x(step.to - timeline.origin) - from);
    return `<rect class="band" x="${n(from)}" y="${TOP - 8}" width="${n(width)}" height="${n(bottom - TOP + 8)}"/>`;
  });
  return `<g>${bands.join('')}</g>`;
}

function stepBadges(timeline: Timeline, x: (time: number) => number): string {
  const badges = timeline.steps.map((step) =>
    badge(x(step.from - timeline.origin), TOP - 19, step.number, step.problem !== undefined),
  );
  return `<g>${badges.join('')}</g>`;
}

function badge(x: number, y: number, number: number, failed: boolean): string {
  return `<circle class="${failed ? 'badge bad' : 'badge'}" cx="${n(x)}" cy="${y}" r="9.5"/>${text(x, y + 4, String(number), 'badge-text', 'middle')}`;
}

function stepList(timeline: Timeline, top: number): string {
  const rows = Math.ceil(timeline.steps.length / 2);
  const items = timeline.steps.map((step, i) => {
    const left = 34 + Math.floor(i / rows) * 606;
    const y = top + (i % rows) * STEP_ROW;
    const failed = step.during.failed === 0 ? 'none failed' : `${step.during.failed} FAILED`;
    const facts = `${duration(step.to - step.from)} · ${step.during.served} served, ${failed} · p99 ${step.before.p99.toFixed(1)} → ${step.during.p99.toFixed(1)} ms`;
    return `${badge(left, y - 4, step.number, step.problem !== undefined)}${text(left + 18, y, step.title, 'step')}${text(left + 266, y, facts, 'facts')}`;
  });
  return `<g>${items.join('')}</g>`;
}

function legend(): string {
  const items = [
    ['waiting', 'Start'],
    ['loading', 'Loading'],
    ['soft v1', 'Available'],
    ['solid v1 thin', 'gives the answers'],
    ['unloading', 'Unloading'],
    ['failed', 'refused'],
    ['cancelled', 'taken back'],
  ] as const;
  let x = LEFT - 94;
  const parts = items.map(([kind, label]) => {
    const thin = kind.endsWith('thin');
    const swatch =
      kind === 'failed' || kind === 'cancelled'
        ? cross(x + 8, 80, kind)
        : `<rect class="${kind}" x="${x}" y="${thin ? 78 : 74}" width="16" height="${thin ? 5 : 12}" rx="2"/>`;
    const item = `${swatch}${text(x + 22, 84, label, 'tick')}`;
    x += label.length * 6.2 + 42;
    return item;
  });
  return `<g>${parts.join('')}</g>`;
}

function hue(version: number): number {
  return ((version - 1) % 3) + 1;
}

function text(x: number, y: number, content: string, kind: string, anchor = 'start'): string {
  return `<text class="${kind}" x="${n(x)}" y="${n(y)}" text-anchor="${anchor}">${xml(content)}</text>`;
}

function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function thousands(value: number): string {
  return value >= 1000 ? `${value / 1000}k` : String(value);
}

function xml(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
