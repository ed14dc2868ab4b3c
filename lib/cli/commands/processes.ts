// aspired fleet agent | controller: processes that run until they are told to stop.
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { AspiredError, messageOf } from '../../errors.js';
import { EXIT, UsageError } from '../exit-codes.js';
import { JSON_SCHEMA } from '../json.js';
import { addressOf, durationArgument, integerArgument, labelArgument } from '../options.js';
import { bytesArgument } from '../plan-options.js';
import type { Actions, Context } from './context.js';

interface AgentOptions {
  readonly id: string;
  readonly zone?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly capacity?: number;
  readonly models?: string;
  readonly state?: string;
  readonly heartbeat?: number;
  readonly threads: number;
}

interface ControllerOptions {
  readonly create?: true;
  readonly heartbeat?: number;
  readonly notify?: readonly string[];
  readonly archive?: string;
}

export function addProcesses(fleet: Command, actions: Actions): void {
  fleet
    .command('agent')
    .description('be a host: load the ONNX models of a directory as the fleet desires them; until Ctrl-C')
    .option('--id <name>', 'id of this host', hostname())
    .option('--zone <name>', 'failure domain')
    .option('--label <key=value>', 'a label; again for more', labelArgument)
    .option(
      '--capacity <size>',
      "memory that models may take: '8GiB' (default the limit of the process)",
      bytesArgument,
    )
    .option('--models <dir>', 'where models are: DIR/MODEL/VERSION/ (required)')
    .option('--state <dir>', 'where hosts of this machine write down what they accepted (required)')
    .option('--heartbeat <duration>', 'how often it reports', durationArgument)
    .option('--threads <n>', 'threads inside one run of a model', integerArgument(1), 1)
    .action(actions.local<[], AgentOptions>(agent));
  fleet
    .command('controller')
    .description('drive rollouts, beside any number of other controllers; until Ctrl-C')
    .option('--create', 'make the fleet where there is none: for a first start')
    .option('--heartbeat <duration>', 'that of the agents', durationArgument)
    .option('--notify <url>', 'POST each line of the audit trail there; again for more', urls)
    .option('--archive <dir>', 'append the audit trail to files there, each hour')
    .action(actions.local<[], ControllerOptions>(controller));
}

async function agent(context: Context, options: AgentOptions): Promise<number> {
  const { models, state, id, threads } = options;
  if (!models) throw new UsageError('Say where the models are: --models DIR, which holds MODEL/VERSION/');
  if (!state) throw new UsageError('Say where to write down what was accepted: --state DIR');
  const { AspiredVersionsManager, onnxLoader } = await import('../../index.js');
  const { FleetAgent } = await import('../../fleet/index.js');
  const { redis, fleet } = addressOf(context.globals, context.io);
  const directory = resolve(models);
  // What the fleet plans with is also what the manager keeps to. 0 is 'not known', here as there.
  const manager = new AspiredVersionsManager(options.capacity ? { resources: { ram: options.capacity } } : {});
  try {
    const running = await FleetAgent.start({
      fleet,
      id,
      ...(options.zone === undefined ? {} : { zone: options.zone }),
      ...(options.label === undefined ? {} : { labels: options.label }),
      ...(options.capacity === undefined ? {} : { capacity: options.capacity }),
      ...(options.heartbeat === undefined ? {} : { heartbeatIntervalMs: options.heartbeat }),
      store: { redis },
      stateDir: resolve(state),
      manager,
      loader: ({ name, version }) => onnxLoader(join(directory, name, String(version)), { intraOpNumThreads: threads }),
      onError: (error) => tellError(context, error),
    });
    try {
      tell(context, { host: id, fleet, models: directory, pid: process.pid }, `host ${id}, models in ${directory}`);
      const joined = running.joined.then(() => tell(context, { joined: fleet }, `joined the fleet ${fleet}`));
      await Promise.race([stopped(context.io.signal), missingPeer(joined)]);
    } finally {
      await running.close();
    }
  } finally {
    await manager.close();
  }
  return EXIT.OK;
}

function urls(url: string, before: readonly string[] = []): readonly string[] {
  return [...before, url];
}

async function controller(context: Context, options: ControllerOptions): Promise<number> {
  const { FleetController } = await import('../../fleet/index.js');
  const { redis, fleet, minReplicas } = addressOf(context.globals, context.io);
  const running = await FleetController.start({
    fleet,
    store: { redis },
    create: options.create === true,
    ...(minReplicas === undefined ? {} : { minReplicas }),
    ...(options.heartbeat === undefined ? {} : { heartbeatIntervalMs: options.heartbeat }),
    ...(options.notify === undefined ? {} : { notify: options.notify }),
    ...(options.archive === undefined ? {} : { archiveDirectory: resolve(options.archive) }),
    onError: (error) => tellError(context, error),
  });
  tell(context, { controller: fleet, pid: process.pid }, `controller of fleet ${fleet}`);
  await stopped(context.io.signal);
  await running.close();
  return EXIT.OK;
}

/**
 * Rejects when a package is missing: no time mends that. Everything else that is wrong with the store the agent goes on
 * trying, and serves meanwhile; onError tells it.
 */
function missingPeer(joined: Promise<void>): Promise<never> {
  return new Promise((_resolve, reject) => {
    joined.catch((error: unknown) => {
      if (error instanceof AspiredError && error.code === 'ERR_PEER_NOT_FOUND') reject(error);
    });
  });
}

function tell({ printer }: Context, json: Record<string, unknown>, text: string): void {
  if (printer.isJson) printer.json({ schema: JSON_SCHEMA, ...json });
  else printer.text(text);
}

function tellError({ io }: Context, error: unknown): void {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  io.stderr.write(`${typeof code === 'string' ? `${code}: ` : ''}${messageOf(error)}\n`);
}

function stopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    // Nothing else may keep a process alive that has only timers which do not.
    const alive = setInterval(() => {}, 2 ** 30);
    signal.addEventListener('abort', () => {
      clearInterval(alive);
      resolve();
    });
  });
}
