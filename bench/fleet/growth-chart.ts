// The figures of the suites over the size of the fleet, as charts.
import type { VariantResult } from '../harness.js';
import type { Report } from '../report.js';
import { type Chart, type Line, toSvg } from './chart.js';

/** The number of hosts that the name of a variant begins with. */
function sizeOf({ variant }: VariantResult): number {
  return Number(/^([\d,]+) hosts$/.exec(variant)?.[1]?.replaceAll(',', '') ?? Number.NaN);
}

function line(results: readonly VariantResult[], suite: string, key: string, name: string): Line {
  const points = results
    .filter((result) => result.suite === suite && !result.competitor)
    .flatMap((result) => {
      const y = result.figures.find((figure) => figure.key === key)?.median;
      const x = sizeOf(result);
      return y !== undefined && Number.isFinite(y) && Number.isFinite(x) ? [{ x, y }] : [];
    });
  return { name, points: points.sort((a, b) => a.x - b.x) };
}

function aim({ points }: Line, y: number): Line {
  return { name: 'aim at 1,000', points: points.map(({ x }) => ({ x, y })), isAim: true };
}

/** The SVG; undefined when there is nothing to draw. */
export function growthChart({ results, machine, trials }: Report): string | undefined {
  const p99 = line(results, 'growth', 'p99', 'p99');
  if (p99.points.length < 2) return undefined;
  const commands = line(results, 'growth', 'commands', 'commands');
  const charts: Chart[] = [
    {
      title: 'A change, from the write until accepted',
      unit: 'ms',
      lines: [line(results, 'growth', 'p50', 'p50'), p99, aim(p99, 250)],
    },
    {
      title: 'Redis, per host and change',
      unit: 'CPU us, commands',
      lines: [line(results, 'growth', 'cpu', 'CPU'), commands, aim(commands, 60)],
    },
  ];
  const seconds = line(results, 'rollout', 'seconds', 'start to end');
  if (seconds.points.length > 1) {
    charts.push({ title: 'A whole rollout, no-op model', unit: 's', lines: [seconds, aim(seconds, 15)] });
    charts.push({
      title: 'Redis, per host and rollout',
      unit: 'CPU us, commands',
      lines: [line(results, 'rollout', 'cpu', 'CPU'), line(results, 'rollout', 'commands', 'commands')],
    });
  }
  const note = `${machine.cpu}, ${machine.cores} cores, ${machine.date.slice(0, 10)}, revision ${machine.revision}, ${trials} ${trials === 1 ? 'trial' : 'trials'}`;
  return toSvg('The fleet as it grows', charts, note);
}
