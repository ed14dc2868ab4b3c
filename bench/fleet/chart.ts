// A line chart as SVG, both axes logarithmic: figures over the size of the fleet.

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Drawn as a level across the chart instead. */
  readonly isAim?: boolean;
}

/** A chart with one unit. */
export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
}

const WIDTH = 460;
const HEIGHT = 320;
const LEFT = 70;
const TOP = 46;
const PLOT_WIDTH = 360;
const PLOT_HEIGHT = 210;
const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700'];

/** Charts side by side, two in a row. */
export function toSvg(title: string, charts: readonly Chart[], note: string): string {
  const rows = Math.ceil(charts.length / 2);
  const height = 40 + rows * HEIGHT + 24;
  const parts = charts.map((chart, i) => {
    const x = (i % 2) * WIDTH;
    const y = 40 + Math.floor(i / 2) * HEIGHT;
    return `<g transform="translate(${x} ${y})">${drawChart(chart)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${2 * WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(20, 26, title, 'font-size="16" font-weight="bold"'),
    ...parts,
    text(20, height - 10, note, 'fill="#57606a" font-size="11"'),
    '</svg>',
    '',
  ].join('\n');
}

function drawChart({ title, unit, lines }: Chart): string {
  const xs = lines.flatMap(({ points }) => points.map(({ x }) => x));
  const ys = lines.flatMap(({ points }) => points.map(({ y }) => y)).filter((y) => y > 0);
  const toX = scale(xs, LEFT, LEFT + PLOT_WIDTH);
  const toY = scale(ys, TOP + PLOT_HEIGHT, TOP);
  const out = [text(LEFT, 20, `${title} (${unit})`, 'font-weight="bold"')];
  for (const y of ticks(ys)) {
    out.push(`<path d="M${LEFT} ${toY(y)}H${LEFT + PLOT_WIDTH}" stroke="#d0d7de"/>`);
    out.push(text(LEFT - 8, toY(y) + 4, label(y), 'text-anchor="end"'));
  }
  for (const x of new Set(xs)) {
    out.push(`<path d="M${toX(x)} ${TOP}V${TOP + PLOT_HEIGHT}" stroke="#eaeef2"/>`);
    out.push(text(toX(x), TOP + PLOT_HEIGHT + 18, label(x), 'text-anchor="middle"'));
  }
  out.push(text(LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 36, 'hosts', 'text-anchor="middle" fill="#57606a"'));
  lines.forEach(({ name, points, isAim }, i) => {
    const colour = isAim ? '#8c959f' : (COLOURS[i % COLOURS.length] as string);
    const path = points.map(({ x, y }, j) => `${j === 0 ? 'M' : 'L'}${toX(x)} ${toY(y)}`).join('');
    const dashes = isAim ? ' stroke-dasharray="5 4"' : '';
    out.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>`);
    if (!isAim) out.push(...points.map(({ x, y }) => `<circle cx="${toX(x)}" cy="${toY(y)}" r="3" fill="${colour}"/>`));
    out.push(`<path d="M${LEFT + i * 120} 33h18" stroke="${colour}" stroke-width="2"${dashes}/>`);
    out.push(text(LEFT + 24 + i * 120, 37, name));
  });
  return out.join('\n');
}

/** From a value to its place, by the logarithm, over whole decades. */
function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const { low, high } = decades(values);
  return (value) => {
    const share = (Math.log10(Math.max(value, 10 ** low)) - low) / Math.max(1, high - low);
    return Math.round((from + share * (to - from)) * 10) / 10;
  };
}

function decades(values: readonly number[]): { readonly low: number; readonly high: number } {
  if (values.length === 0) return { low: 0, high: 1 };
  const low = Math.floor(Math.log10(Math.min(...values)));
  return { low, high: Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)))) };
}

function ticks(values: readonly number[]): number[] {
  const { low, high } = decades(values);
  return Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
}

function label(value: number): string {
  return value >= 1 ? value.toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;');
}
