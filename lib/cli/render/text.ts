// Lines of styled text: what is said is decided before how it looks, so that a line is cut by its characters and not by
// the codes in it, and so that tests compare words.

/** How a stretch of text looks where there is colour. */
export type Style = 'plain' | 'good' | 'busy' | 'bad' | 'warn' | 'dim' | 'strong';

export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

const CODES: Readonly<Record<Style, string>> = {
  plain: '',
  good: '32',
  busy: '36',
  bad: '31',
  warn: '33',
  dim: '2',
  strong: '1',
};

export const plain = (text: string): Span => ({ text, style: 'plain' });
export const dim = (text: string): Span => ({ text, style: 'dim' });
export const strong = (text: string): Span => ({ text, style: 'strong' });
export const styled = (text: string, style: Style): Span => ({ text, style });

/** One line of text for the output: cut to `columns` characters, with colour or without. */
export function paint(line: Line, { color, columns }: { readonly color: boolean; readonly columns?: number }): string {
  const spans = columns === undefined ? line : cut(line, columns);
  const text = spans.map(({ text, style }) => {
    const safe = printable(text);
    const code = CODES[style];
    return color && code !== '' && safe !== '' ? `\u001b[${code}m${safe}\u001b[0m` : safe;
  });
  return text.join('').trimEnd();
}

/** What came from elsewhere (messages, names) moves no cursor and ends no line. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

function cut(line: Line, columns: number): Line {
  const spans: Span[] = [];
  let left = columns;
  for (const { text, style } of line) {
    const characters = [...text];
    if (characters.length <= left) {
      spans.push({ text, style });
      left -= characters.length;
      continue;
    }
    spans.push({ text: `${characters.slice(0, Math.max(0, left - 1)).join('')}…`, style });
    break;
  }
  return spans;
}

/** `52s`, `3m12s`, `1h04m`, `2d03h`: whole seconds, rounded up, so that a countdown ends at 0s and not before. */
export function shortTime(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (value: number): string => String(value).padStart(2, '0');
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  return `${Math.floor(minutes / 1440)}d${two(Math.floor(minutes / 60) % 24)}h`;
}

/** `2026-11-24T23:51:04Z`. */
export function isoTime(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** Columns that line up, two spaces between them. Numbers of digits and percent stand at the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly Line[] {
  const width = (column: number): number =>
    Math.max(...[head, ...rows].map((row) => [...printable(row[column] ?? '')].length));
  const widths = head.map((_, column) => width(column));
  const isNumeric = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^[\d,.]*%?$/.test(row[column] ?? '')),
  );
  const cells = (row: readonly string[], style: Style): Line =>
    row.flatMap((cell, column) => {
      const text = printable(cell);
      const pad = ' '.repeat((widths[column] as number) - [...text].length);
      return [styled(isNumeric[column] ? pad + text : text + pad, style), plain(column < row.length - 1 ? '  ' : '')];
    });
  return [cells(head, 'dim'), ...rows.map((row) => cells(row, 'plain'))];
}
