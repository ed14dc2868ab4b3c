// One look at a base path: which versions are there, which are complete, and which of those the policy wants.
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AspiredError, messageOf } from '../errors.js';
import { maxDigestEntries } from './content-digest.js';
import type { CheckedServable } from './file-system-options.js';
import type { OfferedContent, PendingReason, Readiness, ReadinessLedger } from './readiness.js';
import { compareNames, parseVersionName } from './version-names.js';

/** A version that is offered. */
export interface ListedVersion {
  readonly version: number;
  readonly path: string;
  readonly content: OfferedContent;
}

/**
 * A version directory that is not offered yet: it has no completion marker, it changed within the stability window, or
 * its digest is being computed.
 */
export interface PendingVersion {
  readonly version: number;
  readonly path: string;
  readonly reason: PendingReason;
}

/** Something below a base path that looks like a version and cannot be offered, or not watched for changes in place. */
export interface VersionProblem {
  readonly path: string;
  readonly error: AspiredError;
}

/** What a look at a base path found. */
export interface Listing {
  /** In the order in which they are aspired. */
  readonly versions: readonly ListedVersion[];
  readonly pending: readonly PendingVersion[];
  readonly problems: readonly VersionProblem[];
  /** When something that is not settled should be looked at again. */
  readonly recheckAt: number | undefined;
  /** Each resolves when something that is not settled should be looked at again. */
  readonly digested: readonly Promise<void>[];
  /** Which directory it was: another one may stand under the same path later. */
  readonly identity: string;
}

interface Candidate {
  readonly version: number;
  readonly name: string;
  readonly path: string;
}

/** State of one look: filled while candidates are examined. */
interface Look {
  readonly servable: CheckedServable;
  readonly ledger: ReadinessLedger;
  readonly now: number;
  readonly force: boolean;
  readonly pending: PendingVersion[];
  readonly problems: VersionProblem[];
  readonly digested: Promise<void>[];
  recheckAt: number;
}

/**
 * Lists the base path of a servable. Only the versions that the policy may want are examined.
 * Rejects with ERR_BASE_PATH_NOT_FOUND or ERR_BASE_PATH_UNREADABLE.
 */
export async function listVersions(
  servable: CheckedServable,
  ledger: ReadinessLedger,
  now: number,
  force: boolean,
): Promise<Listing> {
  const look: Look = {
    servable,
    ledger,
    now,
    force,
    pending: [],
    problems: [],
    digested: [],
    recheckAt: Number.POSITIVE_INFINITY,
  };
  const { identity, entries } = await readBasePath(servable);
  const candidates = await candidatesOf(look, entries);
  ledger.listed(
    [...candidates.values()].flatMap((group) => group.map(({ path }) => path)),
    now,
  );
  const chosen = await choose(look, candidates);
  const versions = chosen.map(({ candidate: { version, path }, content }) => ({ version, path, content }));
  const recheckAt = Number.isFinite(look.recheckAt) ? look.recheckAt : undefined;
  return { versions, pending: look.pending, problems: look.problems, recheckAt, digested: look.digested, identity };
}

async function readBasePath(servable: CheckedServable): Promise<{ identity: string; entries: Dirent[] }> {
  try {
    const stats = await stat(servable.basePath);
    const entries = await readdir(servable.basePath, { withFileTypes: true });
    return { identity: `${stats.dev} ${stats.ino}`, entries };
  } catch (cause) {
    throw basePathError(servable, cause);
  }
}

/** The error of a base path that could not be listed. */
export function basePathError({ name, basePath }: CheckedServable, cause: unknown): AspiredError {
  const code = (cause as NodeJS.ErrnoException | null)?.code;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return missing
    ? new AspiredError(
        'ERR_BASE_PATH_NOT_FOUND',
        `The base path of ${JSON.stringify(name)} ${code === 'ENOTDIR' ? 'is no directory' : 'does not exist'}: ${basePath}`,
        { cause },
      )
    : new AspiredError(
        'ERR_BASE_PATH_UNREADABLE',
        `The base path of ${JSON.stringify(name)} cannot be listed: ${basePath}: ${messageOf(cause)}`,
        { cause },
      );
}

/** The directories that stand for versions, by version; within one, the name that wins comes first. */
async function candidatesOf(look: Look, entries: readonly Dirent[]): Promise<Map<number, Candidate[]>> {
  const groups = new Map<number, Candidate[]>();
  for (const entry of [...entries].sort((a, b) => compareNames(b.name, a.name))) {
    const parsed = parseVersionName(entry.name);
    if (parsed.kind === 'other') continue;
    const path = join(look.servable.basePath, entry.name);
    if (parsed.kind === 'out-of-range') {
      const message = `No version can have the number of ${path}: expected an integer from 0 to ${Number.MAX_SAFE_INTEGER}.`;
      look.problems.push({ path, error: new AspiredError('ERR_INVALID_VERSION', message) });
      continue;
    }
    const candidate = { version: parsed.version, name: entry.name, path };
    if (!(await isDirectory(look, entry, candidate))) continue;
    const group = groups.get(candidate.version);
    if (group === undefined) groups.set(candidate.version, [candidate]);
    else group.push(candidate);
  }
  return groups;
}

async function isDirectory(look: Look, entry: Dirent, candidate: Candidate): Promise<boolean> {
  if (entry.isDirectory()) return true;
  try {
    if (entry.isSymbolicLink() && (await stat(candidate.path)).isDirectory()) return true;
    addProblem(look, candidate, 'it is no directory');
  } catch (cause) {
    addProblem(look, candidate, messageOf(cause), cause);
  }
  return false;
}

interface Choice {
  readonly candidate: Candidate;
  readonly content: OfferedContent;
}

async function choose(look: Look, groups: ReadonlyMap<number, readonly Candidate[]>): Promise<Choice[]> {
  const { policy } = look.servable;
  switch (policy.kind) {
    case 'latest': {
      const descending = [...groups.keys()].sort((a, b) => b - a);
      return readyOf(look, groups, descending, policy.count);
    }
    case 'all': {
      const chosen = await readyOf(look, groups, [...groups.keys()]);
      return chosen.sort((a, b) => compareNames(a.candidate.name, b.candidate.name));
    }
    case 'specific': {
      const chosen = await readyOf(look, groups, policy.versions);
      if (chosen.length < policy.versions.length) chosen.sort((a, b) => a.candidate.version - b.candidate.version);
      return chosen;
    }
  }
}

/** The first `count` of `versions` that are complete, in their order. */
async function readyOf(
  look: Look,
  groups: ReadonlyMap<number, readonly Candidate[]>,
  versions: readonly number[],
  count = Number.POSITIVE_INFINITY,
): Promise<Choice[]> {
  const chosen: Choice[] = [];
  for (const version of versions) {
    if (chosen.length >= count) break;
    const group = groups.get(version);
    if (group === undefined) {
      addMissing(look, version);
      continue;
    }
    const choice = await firstReady(look, group);
    if (choice !== undefined) chosen.push(choice);
  }
  return chosen;
}

/** Of several directories with one number the first complete one stands for it; the others are problems. */
async function firstReady(look: Look, group: readonly Candidate[]): Promise<Choice | undefined> {
  let choice: Choice | undefined;
  for (const candidate of group) {
    if (choice !== undefined) {
      const message = `${candidate.path} and ${choice.candidate.path} are the same version; the latter is used.`;
      const id = { name: look.servable.name, version: candidate.version };
      look.problems.push({
        path: candidate.path,
        error: new AspiredError('ERR_DUPLICATE_VERSION', message, { servable: id }),
      });
      continue;
    }
    const content = await contentIfReady(look, candidate);
    if (content === undefined) continue;
    choice = { candidate, content };
    if (content.unwatched) addUnwatched(look, candidate);
  }
  return choice;
}

async function contentIfReady(look: Look, candidate: Candidate): Promise<OfferedContent | undefined> {
  const { version, path } = candidate;
  let readiness: Readiness;
  try {
    readiness = await look.ledger.check(path, look.now, look.force);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException | null)?.code === 'ENOENT') return undefined;
    addProblem(look, candidate, messageOf(cause), cause);
    // A version that cannot be looked at for a while is still the version that is served.
    return look.ledger.offered(path);
  }
  if (readiness.recheckAt !== undefined) look.recheckAt = Math.min(look.recheckAt, readiness.recheckAt);
  if (readiness.digested !== undefined) look.digested.push(readiness.digested);
  if (readiness.ready) return readiness.content;
  look.pending.push({ version, path, reason: readiness.reason });
  return undefined;
}

function addMissing(look: Look, version: number): void {
  const { name, basePath } = look.servable;
  const path = join(basePath, String(version));
  const id = { name, version };
  // One that is there but unfit has its own entry already.
  if (look.problems.some(({ error }) => error.servable?.version === version)) return;
  const error = new AspiredError(
    'ERR_SOURCE_ERROR',
    `Version ${version} of ${JSON.stringify(name)} is not there: ${path}`,
    {
      servable: id,
    },
  );
  look.problems.push({ path, error });
}

function addUnwatched(look: Look, { version, path }: Candidate): void {
  const message = `A change of ${path} in place would not be noticed: it has more than ${maxDigestEntries} entries.`;
  const id = { name: look.servable.name, version };
  look.problems.push({ path, error: new AspiredError('ERR_SOURCE_ERROR', message, { servable: id }) });
}

function addProblem(look: Look, candidate: Candidate, why: string, cause?: unknown): void {
  const { version, path } = candidate;
  const message = `Version ${version} of ${JSON.stringify(look.servable.name)} cannot be offered: ${path}: ${why}`;
  const options = { servable: { name: look.servable.name, version }, ...(cause === undefined ? {} : { cause }) };
  look.problems.push({ path, error: new AspiredError('ERR_SOURCE_ERROR', message, options) });
}
