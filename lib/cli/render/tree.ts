// A rollout as a tree: rollout, waves, zones, the hosts that need attention, gates, and what it waits for. A pure function
// of the view: the same moment gives the same lines.
import type { Gate, RolloutPlan, RolloutState, RolloutView } from '../../fleet/index.js';
import {
  countStates,
  goesBack,
  HOST_STATES,
  type HostCounts,
  type HostState,
  hostState,
  NEEDS_ATTENTION,
  zonesOfWave,
} from '../view.js';
import { dim, type Line, plain, type Span, shortTime, strong, styled } from './text.js';

const BAR_WIDTH = 20;
/** Hosts that are named in one zone; the others are counted. */
const HOSTS_PER_ZONE = 5;
/** Ids of a hold that are named. */
const HOSTS_OF_HOLD = 5;

const DONE = styled('✔', 'good');
const BUSY = styled('◌', 'busy');
const WAITS = styled('◷', 'dim');
const STOPPED = styled('॥', 'warn');
const FAILED = styled('✖', 'bad');
const ATTENTION = styled('⚠', 'warn');

/** A line of the tree with what hangs below it. */
interface Node {
  readonly line: Line;
  readonly below: readonly Node[];
}

const leaf = (...line: Span[]): Node => ({ line, below: [] });

/** The tree, without colour codes; paint() makes text of each line. */
export function rolloutTree(view: RolloutView): readonly Line[] {
  const { plan, state } = view.record;
  const width = Math.max(...plan.waves.map((name) => [...name].length));
  return [
    headline(view),
    [plain('│  '), ...progressLine(view)],
    ...draw([
      ...plan.waves.map((name, wave) => waveNode(view, wave, name.padEnd(width))),
      ...plan.gates.map((gate, index) => gateNode(gate, index, plan, state)),
      lastNode(view),
    ]),
  ];
}

function draw(nodes: readonly Node[], indent = ''): Line[] {
  return nodes.flatMap(({ line, below }, index) => {
    const last = index === nodes.length - 1;
    return [[plain(`${indent}${last ? '└─ ' : '├─ '}`), ...line], ...draw(below, `${indent}${last ? '   ' : '│  '}`)];
  });
}

function headline({ record: { id, model, plan, state, revision } }: RolloutView): Line {
  const from = state.from === undefined ? 'none' : `v${state.from}`;
  const wave =
    state.phase === 'Ended' ? '' : `  wave ${state.wave + 1}/${plan.waves.length} (${plan.waves[state.wave]})`;
  return [
    strong(id),
    plain(`  ${model} ${from} → v${plan.version}  `),
    rolloutGlyph(state),
    strong(` ${phaseName(state)}`),
    plain(wave),
    dim(`  rev ${revision}`),
  ];
}

/** What the phase is called on the screen: how it ended, once it has. */
export function phaseName({ phase, outcome, frozenIn, paused }: RolloutState): string {
  if (phase === 'Ended') return outcome ?? phase;
  const name = phase === 'Frozen' && frozenIn !== undefined ? `Frozen in ${frozenIn}` : phase;
  return paused ? `${name}, paused` : name;
}

function rolloutGlyph({ phase, paused, outcome }: RolloutState): Span {
  if (phase === 'Ended') return outcome === 'Promoted' || outcome === 'FastPromoted' ? DONE : FAILED;
  if (phase === 'Frozen' || paused) return STOPPED;
  return phase === 'Rollback' ? FAILED : BUSY;
}

function progressLine(view: RolloutView): Line {
  const { plan, state } = view.record;
  const total = plan.hosts.length;
  const counts = countStates(view, plan.hosts.keys());
  const done = goesBack(state) ? counts.back : counts.serving;
  const full = total === 0 ? 0 : Math.floor((BAR_WIDTH * done) / total);
  const what = goesBack(state) ? 'hosts are back' : 'hosts serve it';
  return [
    styled('█'.repeat(full), goesBack(state) ? 'warn' : 'good'),
    dim('░'.repeat(BAR_WIDTH - full)),
    plain(` ${done}/${total} ${what}`),
    dim(`  ${timeLine(view)}  by ${state.actor}: ${state.reason}`),
  ];
}

function timeLine({ record: { plan, state, stamps }, now }: RolloutView): string {
  if (stamps.endedAt !== undefined) return `took ${shortTime(stamps.endedAt - stamps.startedAt)}`;
  const left = (state.deadlineFrom ?? stamps.startedAt) + plan.deadlineMs - now;
  return `for ${shortTime(now - stamps.startedAt)}, ${left > 0 ? `deadline in ${shortTime(left)}` : 'deadline passed'}`;
}

function waveNode(view: RolloutView, wave: number, name: string): Node {
  const { state, plan } = view.record;
  const zones = zonesOfWave(view, wave);
  const places = [...zones.values()].flat();
  const counts = countStates(view, places);
  const isNow = wave === state.wave && state.phase !== 'Ended';
  const open = isNow || HOST_STATES.some((of) => NEEDS_ATTENTION.has(of) && counts[of] > 0);
  return {
    line: [
      glyphOf(counts, places.length),
      plain(` wave ${wave + 1}  ${name}  `),
      ...countSpans(counts, places.length, state),
    ],
    below: open ? zoneNodes(view, zones, plan.zones.length > 1) : [],
  };
}

function zoneNodes(view: RolloutView, zones: ReadonlyMap<string, readonly number[]>, named: boolean): Node[] {
  // With one zone there is nothing to tell apart.
  if (!named) return hostNodes(view, [...zones.values()].flat());
  return [...zones].map(([zone, places]) => {
    const counts = countStates(view, places);
    return {
      line: [
        glyphOf(counts, places.length),
        plain(` ${zone}  `),
        ...countSpans(counts, places.length, view.record.state),
      ],
      below: hostNodes(view, places),
    };
  });
}

function hostNodes(view: RolloutView, places: readonly number[]): Node[] {
  const bad = places.filter((place) => NEEDS_ATTENTION.has(hostState(view, place)));
  const nodes = bad.slice(0, HOSTS_PER_ZONE).map((place) => {
    const state = hostState(view, place);
    const why = state === 'away' ? 'no lease: its agent is away' : (view.errors.get(place) ?? 'the load failed');
    return leaf(state === 'away' ? ATTENTION : FAILED, plain(` ${view.record.plan.hosts[place]}  ${why}`));
  });
  const rest = bad.length - nodes.length;
  return rest > 0 ? [...nodes, leaf(dim(`… ${rest} more`))] : nodes;
}

function glyphOf(counts: HostCounts, total: number): Span {
  if (counts.failed > 0) return FAILED;
  if (counts.away > 0) return ATTENTION;
  if (counts.serving + counts.back + counts.cordoned === total) return DONE;
  return counts.waiting + counts.cordoned === total ? WAITS : BUSY;
}

const STYLES: Partial<Readonly<Record<HostState, Span['style']>>> = { failed: 'bad', away: 'warn', waiting: 'dim' };

function countSpans(counts: HostCounts, total: number, state: RolloutState): Line {
  const goal: HostState = goesBack(state) ? 'back' : 'serving';
  const others = HOST_STATES.filter((of) => of !== goal && counts[of] > 0);
  return [
    plain(`${counts[goal]}/${total}`),
    ...others.map((of) => styled(`  ${counts[of]} ${of}`, STYLES[of] ?? 'plain')),
  ];
}

function gateNode(gate: Gate, index: number, plan: RolloutPlan, state: RolloutState): Node {
  const name = plan.gates.filter(({ kind }) => kind === gate.kind).length > 1 ? `${gate.kind} ${index + 1}` : gate.kind;
  const result = state.verdicts?.[index];
  if (!result) return leaf(WAITS, plain(` gate ${name}  `), dim('not judged in this wave yet'));
  const glyph = { pass: DONE, fail: FAILED, 'insufficient-data': WAITS }[result.verdict];
  const lead = result.verdict === 'insufficient-data' ? 'insufficient data: ' : '';
  return leaf(glyph, plain(` gate ${name}  ${lead}${result.message}`));
}

function lastNode(view: RolloutView): Node {
  const { state, plan, stamps } = view.record;
  if (state.phase === 'Ended') return leaf(rolloutGlyph(state), plain(` ${endLine(state, plan)}`));
  const { hold, rollback } = state;
  const parts: string[] = [];
  if (rollback) parts.push(`going back: ${clause(rollback.reason)}`);
  if (state.phase === 'Bake') parts.push(`bake ${shortTime(stamps.phaseAt + plan.bakeMs - view.now)} left`);
  // The countdown says it already.
  if (hold && !(hold.code === 'bake' && state.phase === 'Bake')) parts.push(clause(hold.message) + untilText(view));
  if (hold && hold.hosts.length > 0) parts.push(hostsText(hold.hosts, hold.hostCount));
  const text = parts.length > 0 ? parts.join('; ') : 'nothing, the next step is due';
  return leaf(state.paused || state.phase === 'Frozen' ? STOPPED : BUSY, plain(` waits for: ${text}`));
}

/** A sentence that others follow on the same line. */
function clause(sentence: string): string {
  return sentence.replace(/\.$/, '');
}

function untilText({ record: { state }, now }: RolloutView): string {
  const until = state.hold?.until;
  return until !== undefined && until > now ? ` (at least ${shortTime(until - now)} more)` : '';
}

function hostsText(hosts: readonly string[], count: number): string {
  const named = hosts.slice(0, HOSTS_OF_HOLD);
  const rest = count - named.length;
  return named.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function endLine(state: RolloutState, plan: RolloutPlan): string {
  const { outcome, rollback } = state;
  if (rollback) return `${clause(rollback.reason)}${rollback.tombstone ? `; v${plan.version} is tombstoned` : ''}`;
  return outcome === 'FastPromoted' ? 'promoted in full, without waiting for its gates' : `v${plan.version} is stable`;
}
