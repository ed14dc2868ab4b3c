import type { RolloutView } from 'aspired/fleet';
import { follow } from '#lib/cli/follow.js';
import { momentKey, rolloutLine } from '#lib/cli/render/plain.js';
import { paint } from '#lib/cli/render/text.js';
import { rolloutTree } from '#lib/cli/render/tree.js';
import { Screen } from '#lib/cli/screen.js';
import type { FleetTool } from '#lib/cli/tool.js';

const POLL_MS = 250;

/** Prints lines, and the tree of a rollout below them while it runs; without a terminal a line per change. */
export class DemoScreen {
  readonly #out = process.stdout;
  readonly #screen = new Screen(process.stdout);
  readonly #isLive = process.stdout.isTTY === true;
  readonly #color = this.#isLive && !process.env.NO_COLOR;
  #tree: readonly string[] = [];

  line(text: string): void {
    // Over the tree, which is drawn again below it.
    if (this.#tree.length > 0) this.#screen.draw([]);
    this.#screen.keep();
    this.#out.write(`${text}\n`);
    if (this.#tree.length > 0) this.#screen.draw(this.#tree);
  }

  /** Follows a rollout to its end; `look` sees every moment of it. */
  async follow(
    tool: FleetTool,
    rollout: string,
    signal: AbortSignal,
    look: (view: RolloutView) => Promise<void>,
  ): Promise<RolloutView> {
    let key = '';
    for await (const { view } of follow(tool, rollout, { pollMs: POLL_MS, signal })) {
      if (view === undefined) continue;
      this.#show(view, key);
      key = momentKey(view);
      await look(view);
      if (view.record.state.phase !== 'Ended') continue;
      this.#tree = [];
      this.#screen.keep();
      return view;
    }
    throw signal.reason;
  }

  #show(view: RolloutView, before: string): void {
    if (this.#isLive) {
      const how = { color: this.#color, columns: this.#out.columns ?? 80 };
      this.#tree = rolloutTree(view).map((line) => paint(line, how));
      this.#screen.draw(this.#tree);
    } else if (momentKey(view) !== before) this.#out.write(`${rolloutLine(view)}\n`);
  }
}
