// Progress of long steps. On a terminal one status line with the elapsed time, elsewhere (CI, pipes) plain lines.
// Everything goes to stderr; colour only on a terminal without NO_COLOR.
import { stderr } from 'node:process';

const live = Boolean(stderr.isTTY) && !process.env.CI && process.env.TERM !== 'dumb';
const colour = live && !process.env.NO_COLOR;
const paint = (code, text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
const PLAIN_INTERVAL_MS = 10_000;
const LIVE_INTERVAL_MS = 200;

export const seconds = (ms) => (ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`);

/** Prints a line, above the status line if there is one. */
export function say(line) {
  stderr.write(live ? `\r\x1b[2K${line}\n` : `${line}\n`);
}

/** Runs `work(report)`; `report(text)` sets what is shown beside the elapsed time. Rethrows what `work` throws. */
export async function step(label, work) {
  const start = performance.now();
  const elapsed = () => seconds(performance.now() - start);
  let detail = '';
  const show = () => {
    const tail = detail ? `  ${detail}` : '';
    if (!live) {
      say(`${label}: ${elapsed()}${tail}`);
      return;
    }
    const line = `${label}: ${elapsed()}${tail}`;
    stderr.write(`\r\x1b[2K${line.slice(0, (stderr.columns ?? 80) - 1)}`);
  };
  if (!live) say(`${label} ...`);
  const timer = setInterval(show, live ? LIVE_INTERVAL_MS : PLAIN_INTERVAL_MS);
  try {
    const result = await work((text) => {
      detail = text;
    });
    say(`${paint(32, 'ok')} ${label}, ${elapsed()}`);
    return result;
  } catch (error) {
    say(`${paint(31, 'failed')} ${label}, ${elapsed()}`);
    throw error;
  } finally {
    clearInterval(timer);
  }
}
