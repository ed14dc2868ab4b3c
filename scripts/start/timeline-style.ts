// Colours of the timeline, once for a light page and once for a dark one. Plain properties, no variables: some viewers
// of SVG files know none.

interface Palette {
  readonly page: string;
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
  readonly band: string;
  readonly versions: readonly [string, string, string];
  readonly other: string;
  readonly loading: readonly [string, string];
  readonly unloading: readonly [string, string];
  readonly waiting: string;
  readonly bad: string;
  readonly badge: string;
  readonly badgeInk: string;
  readonly softness: number;
}

const LIGHT: Palette = {
  page: '#ffffff',
  ink: '#1b1f24',
  muted: '#5b6570',
  grid: '#e4e8ec',
  band: '#1b1f24',
  versions: ['#2f6fd6', '#12906f', '#b4489b'],
  other: '#7a6bc9',
  loading: ['#f6c15c', '#e39b16'],
  unloading: ['#d6dbe1', '#a3adb8'],
  waiting: '#c4cbd3',
  bad: '#cf2f2f',
  badge: '#1b1f24',
  badgeInk: '#ffffff',
  softness: 0.34,
};

const DARK: Palette = {
  page: '#12161b',
  ink: '#e8ecf0',
  muted: '#98a3af',
  grid: '#262d35',
  band: '#e8ecf0',
  versions: ['#6aa3ff', '#3ecba3', '#e084ca'],
  other: '#a99cf5',
  loading: ['#c98a17', '#8f6008'],
  unloading: ['#3a434d', '#5d6975'],
  waiting: '#57616c',
  bad: '#ff6b6b',
  badge: '#e8ecf0',
  badgeInk: '#12161b',
  softness: 0.4,
};

function rules(palette: Palette): string {
  const { versions, loading, unloading } = palette;
  return [
    `.page{fill:${palette.page}}`,
    `text{fill:${palette.ink}}.muted,.tick,.facts{fill:${palette.muted}}`,
    `.grid{stroke:${palette.grid}}.band{fill:${palette.band};opacity:.09}`,
    ...versions.map((colour, i) => `.v${i + 1}{fill:${colour}}`),
    `.other{fill:${palette.other}}.soft{opacity:${palette.softness}}.area{opacity:.75}`,
    `.loading-a{fill:${loading[0]}}.loading-b{fill:${loading[1]}}`,
    `.unloading-a{fill:${unloading[0]}}.unloading-b{fill:${unloading[1]}}.waiting{fill:${palette.waiting}}`,
    `.failed{stroke:${palette.bad}}.cancelled{stroke:${palette.muted}}.badge{fill:${palette.badge}}.bad{fill:${palette.bad}}`,
    `.badge-text{fill:${palette.badgeInk}}`,
    `.p99{stroke:${palette.bad}}.p50{stroke:${palette.muted}}.right{stroke:${versions[1]}}`,
  ].join('');
}

/** The style sheet of the picture. */
export const STYLE = [
  'text{font-size:12px}.title{font-size:20px;font-weight:600}.muted{font-size:13px}.tick{font-size:11px}',
  '.label{font-size:12px;font-weight:600}.lane{font-weight:600}.step{font-size:12.5px}.facts{font-size:11.5px}',
  '.badge-text{font-size:11px;font-weight:600}.grid{stroke-width:1}.cross{stroke-width:2.5;stroke-linecap:round;fill:none}',
  '.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.loading{fill:url(#loading)}.unloading{fill:url(#unloading)}',
  rules(LIGHT),
  `@media (prefers-color-scheme:dark){${rules(DARK)}}`,
].join('');
