// The redis-server that the tests of the fleet start for themselves: found, or installed from the system's packages.
import { accessSync, constants, existsSync } from 'node:fs';
import { say, step } from './progress.mjs';
import { ask, run, which } from './run.mjs';

const HINT =
  'redis-server is not installed, so the tests of the fleet that need one are skipped. Type one of\n' +
  '  sudo apt-get install redis-server      Debian, Ubuntu\n' +
  '  sudo dnf install redis                 Fedora\n' +
  '  sudo apk add redis                     Alpine\n' +
  '  brew install redis                     macOS\n' +
  'or set ASPIRED_REDIS_SERVER to the path of one, 7.0 or newer.';

/** How packages are installed: the refresh of the lists, and the installation. A service is not started. */
const MANAGERS = [
  {
    name: 'apt-get',
    install: ['-q', 'install', '-y', '--no-install-recommends', 'redis-server'],
    refresh: ['-q', 'update'],
  },
  { name: 'dnf', install: ['-q', '-y', 'install', 'redis'] },
  { name: 'apk', install: ['add', '--no-cache', 'redis'] },
  { name: 'brew', install: ['install', '--quiet', 'redis'], asUser: true },
];

/** Its path; undefined when there is none. */
export function redisServer() {
  const given = process.env.ASPIRED_REDIS_SERVER;
  if (!given) return which('redis-server');
  try {
    accessSync(given, constants.X_OK);
    return given;
  } catch {
    return undefined;
  }
}

// Debian's package starts a service: a policy that says no, for this installation only, keeps it from doing so. In an
// installation that has one already, that one decides.
const POLICY = '/usr/sbin/policy-rc.d';
const QUIET_APT = `if [ ! -e ${POLICY} ]; then trap 'rm -f ${POLICY}' EXIT; printf '#!/bin/sh\\nexit 101\\n' > ${POLICY}; chmod +x ${POLICY}; fi; "$@"`;

function commandOf({ name, asUser }, args) {
  const plain = [name, ...args];
  const quiet =
    name === 'apt-get' ? ['env', 'DEBIAN_FRONTEND=noninteractive', 'sh', '-c', QUIET_APT, 'sh', ...plain] : plain;
  if (asUser || process.getuid?.() === 0) return quiet;
  return which('sudo') && ask('sudo', ['-n', 'true']) !== undefined ? ['sudo', '-n', ...quiet] : undefined;
}

/** Installs it where that is allowed. Answers whether it is there; says what to type when it is not. */
export async function ensureRedisServer() {
  if (redisServer()) return true;
  const manager = MANAGERS.find(({ name }) => which(name));
  const command = manager && commandOf(manager, manager.install);
  if (process.env.ASPIRED_REDIS_SERVER || process.platform === 'win32' || !command) {
    say(HINT);
    return false;
  }
  const execute = ([program, ...args], report) => run(program, args, { report });
  try {
    await step(`redis-server (${manager.name})`, async (report) => {
      // Package lists may be missing or old: try without, then refresh them once.
      await execute(command, report).catch(async (error) => {
        if (!manager.refresh) throw error;
        await execute(commandOf(manager, manager.refresh), report);
        await execute(command, report);
      });
    });
  } catch (error) {
    say(error.message);
  }
  if (!redisServer() && existsSync('/usr/sbin/redis-server')) {
    say('redis-server is in /usr/sbin, which is not on PATH: set ASPIRED_REDIS_SERVER=/usr/sbin/redis-server');
  } else if (!redisServer()) say(HINT);
  return redisServer() !== undefined;
}
