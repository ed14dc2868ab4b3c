import { checkNumber, type GateKind, oneLine } from './kind.js';
import type { LoadGate } from './types.js';

/** Hosts that a message names. */
const NAMED = 3;

/** Counts hosts where the new version failed. It needs no traffic, so it is never short of data. */
export const loadGate: GateKind<LoadGate> = {
  keys: ['maxErrors'],
  check: (options, where) => ({
    kind: 'load',
    maxErrors: checkNumber(`${where}.maxErrors`, options.maxErrors, 0, { min: 0, max: 1e6, whole: true }),
  }),
  judge({ maxErrors = 0 }, { loadErrors }) {
    const permanent = loadErrors.filter((error) => error.permanent);
    const figures = { errors: loadErrors.length, permanentErrors: permanent.length, maxErrors };
    if (permanent.length === 0 && loadErrors.length <= maxErrors) {
      const some = loadErrors.length === 0 ? 'No host' : `Only ${loadErrors.length} of ${maxErrors} allowed hosts`;
      return { verdict: 'pass', message: `${some} failed to load the version.`, figures };
    }
    const causes = permanent.length > 0 ? permanent : loadErrors;
    const named = causes.slice(0, NAMED).map(({ host, message }) => `${host} (${oneLine(message, 120)})`);
    const rest = causes.length > NAMED ? ` and ${causes.length - NAMED} more` : '';
    const why = permanent.length > 0 ? 'for good, which no retry will mend' : `, at most ${maxErrors} may`;
    const hosts = causes.length === 1 ? '1 host' : `${causes.length} hosts`;
    const message = `The version failed to load on ${hosts} ${why}: ${named.join(', ')}${rest}.`.replace(' ,', ',');
    return { verdict: 'fail', message, figures };
  },
};
