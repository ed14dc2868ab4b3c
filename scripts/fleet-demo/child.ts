// What every process of the demonstration does: take its task, say that it is ready, stop when it is told to, and end when
// the demonstration is gone.
import { inspect } from 'node:util';
import type { Command, Message } from './messages.js';

/** A process of the demonstration, while it runs. */
export interface Running {
  onCommand?(command: Command): void;
  stop(): Promise<void>;
}

export function say(message: Message): void {
  // The demonstration may be gone already.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/** Tells an error that is no reason to end. */
export function tellError(error: unknown): void {
  say({ said: 'error', message: inspect(error, { depth: 1 }) });
}

/** Runs a process with the task in its first argument. */
export async function runChild<Task>(start: (task: Task) => Promise<Running>): Promise<void> {
  // Ctrl-C goes to the whole group; the demonstration is the one that decides.
  process.on('SIGINT', () => {});
  process.once('disconnect', () => process.exit(0));
  const running = await start(JSON.parse(process.argv[2] ?? '') as Task);
  process.on('message', (command: Command) => {
    if (command.do !== 'stop') running.onCommand?.(command);
    else
      running.stop().then(
        () => process.exit(0),
        (error: unknown) => {
          tellError(error);
          process.exit(1);
        },
      );
  });
  say({ said: 'ready' });
}
