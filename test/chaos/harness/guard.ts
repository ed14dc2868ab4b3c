// Nothing is left behind, however the harness ends: a shell of its own waits for its end, and then ends the processes and
// removes the folders that it was told of.
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';

// Not ended by a signal to the group of the harness: it has a session of its own. A process that has ended is taken off the
// list, for its number may be another one's by then.
const PROGRAM = `
trap '' INT TERM HUP
pids=' '
while read -r word value; do
  case $word in
    +) pids="$pids$value " ;;
    -) pids=$(printf %s "$pids" | sed "s/ $value / /") ;;
    dir) set -- "$@" "$value" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
sleep 0.2
rm -rf "$@"
`;

export class Guard {
  readonly #shell: ChildProcess;
  readonly #pids = new Set<number>();
  readonly #folders = new Set<string>();

  constructor() {
    this.#shell = spawn('/bin/sh', ['-c', PROGRAM, 'guard'], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.#shell.unref();
    (this.#shell.stdin as unknown as { unref(): void }).unref();
  }

  process(pid: number): void {
    this.#pids.add(pid);
    this.#tell(`+ ${pid}`);
  }

  /** It has ended. */
  gone(pid: number): void {
    if (this.#pids.delete(pid)) this.#tell(`- ${pid}`);
  }

  folder(path: string): void {
    this.#folders.add(path);
    this.#tell(`dir ${path}`);
  }

  /** The run is over: ends and removes all of it, but for folders that are to be kept. */
  close(keep: readonly string[] = []): void {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It was faster.
      }
    }
    for (const folder of this.#folders) if (!keep.includes(folder)) rmSync(folder, { recursive: true, force: true });
    // Whatever is on its list is gone, or to be kept.
    this.#shell.kill('SIGKILL');
  }

  #tell(line: string): void {
    this.#shell.stdin?.write(`${line}\n`);
  }
}
