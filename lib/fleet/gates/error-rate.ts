// Whether a new version fails more often than a control group, by more than a margin: a sequential test of two
// proportions, stratified by zone, that may be looked at after every request.
//
// Each statement ("at most the margin more fail", "at least the margin more fail") is tried by an e-process: the mean
// likelihood of many alternatives, over the greatest likelihood that the statement allows. At the truth the numerator
// over the likelihood is a martingale, and the denominator is no smaller; so while the statement is true, the chance that
// the ratio ever reaches 1 / risk is at most `risk` (Ville's inequality), however often and whenever one looks, and
// whatever share of the requests goes to which side. It needs the counts so far and nothing else: no earlier look, no
// plan of looks, no normal approximation, which is poor where errors are rare.
//
// Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970), for the
// mixture; Wasserman, Ramdas, Balakrishnan, "Universal inference", PNAS 117 (2020), section 8, for the denominator;
// Johari, Koomen, Pekelis, Walsh, "Always valid inference", Operations Research 70 (2022), for tests of this kind on live
// traffic.

/** What was counted of one zone. */
export interface Stratum {
  readonly requests: number;
  readonly errors: number;
  /** Of the control group; undefined: there is none, and it counts as one that never fails. */
  readonly control?: { readonly requests: number; readonly errors: number };
}

/** By how much more of all requests may fail than the margin in the alternatives that are tried: octaves. */
const EXCESSES = Array.from({ length: 9 }, (_, i) => 0.0025 * 2 ** i);
/** The alternatives to "at least the margin more", as shares of the margin below it: half of it, none of it, better. */
const SHORTFALLS = [0.5, 1, 2];
/** Points of the integral over the rate of the control group, and what it may leave out, as a logarithm. */
const POINTS = 64;
const NEGLIGIBLE = 20;

/**
 * The logarithm of the evidence that more than `margin` of all requests fail above the rate of the control group, in
 * some zone. At most 0 as long as none was seen to.
 */
export function evidenceOfExcess(strata: readonly Stratum[], margin: number): number {
  const alternatives = EXCESSES.map((excess) => margin + excess).filter((increase) => increase < 1);
  const common = evidence(strata, margin, 'at-most', alternatives);
  if (strata.length < 2) return common;
  // One bad zone among good ones: taken together, the good ones would speak for it. A mean of e-processes is one again.
  const alone = strata.map((one) => evidence([one], margin, 'at-most', alternatives));
  return logMean([common, logMean(alone)]);
}

/** The logarithm of the evidence that not every zone has at least `margin` more failures than its control group. */
export function evidenceOfNoExcess(strata: readonly Stratum[], margin: number): number {
  const alternatives = SHORTFALLS.map((share) => margin - share * margin);
  return evidence(strata, margin, 'at-least', alternatives);
}

/** By how many standard deviations the zone looks worse than the margin allows; 0 when it does not. For one look. */
export function deviation(stratum: Stratum, margin: number): number {
  return Math.sqrt(2 * Math.max(0, bestOf(stratum) - bestWithin(stratum, margin, 'at-most')));
}

type Null = 'at-most' | 'at-least';

function evidence(strata: readonly Stratum[], margin: number, limit: Null, alternatives: readonly number[]): number {
  const within = strata.map((one) => bestWithin(one, margin, limit));
  // No alternative is likelier than the likeliest of all, so this is as much as there can be: mostly next to nothing.
  const most = strata.reduce((sum, one, i) => sum + bestOf(one) - (within[i] as number), 0);
  if (most < 1) return Math.min(0, most);
  return logMean(
    alternatives.map((increase) =>
      strata.reduce((sum, one, i) => sum + meanLikelihood(one, increase) - (within[i] as number), 0),
    ),
  );
}

// All likelihoods are logarithms. `p` is the rate of the control group, `q` that of the new version.
function likelihood({ requests, errors, control }: Stratum, p: number, q: number): number {
  const ofNew = binomial(errors, requests, q);
  return control ? ofNew + binomial(control.errors, control.requests, p) : ofNew;
}

function binomial(hits: number, of: number, rate: number): number {
  if (rate <= 0) return hits === 0 ? 0 : Number.NEGATIVE_INFINITY;
  if (rate >= 1) return hits === of ? 0 : Number.NEGATIVE_INFINITY;
  return (hits === 0 ? 0 : hits * Math.log(rate)) + (hits === of ? 0 : (of - hits) * Math.log(1 - rate));
}

function rateOf({ requests, errors }: { readonly requests: number; readonly errors: number }): number {
  return requests === 0 ? 0 : errors / requests;
}

function bestOf(stratum: Stratum): number {
  return likelihood(stratum, stratum.control ? rateOf(stratum.control) : 0, rateOf(stratum));
}

/** The greatest likelihood where q - p is at most, or at least, the margin. */
function bestWithin(stratum: Stratum, margin: number, limit: Null): number {
  const p = stratum.control ? rateOf(stratum.control) : 0;
  const q = rateOf(stratum);
  if (limit === 'at-most' ? q - p <= margin : q - p >= margin) return bestOf(stratum);
  const bound = stratum.control ? likeliest(stratum, margin) : 0;
  return likelihood(stratum, bound, bound + margin);
}

/** The rate p at which p and q = p + increase are likeliest together. The logarithm is concave, so its slope falls. */
function likeliest({ requests, errors, control }: Stratum, increase: number): number {
  const { requests: others, errors: failed } = control ?? { requests: 0, errors: 0 };
  let low = Math.max(0, -increase);
  let high = Math.min(1, 1 - increase);
  for (let i = 0; i < 50; i++) {
    const p = (low + high) / 2;
    const q = p + increase;
    const slope = failed / p - (others - failed) / (1 - p) + errors / q - (requests - errors) / (1 - q);
    if (slope > 0) low = p;
    else high = p;
  }
  return (low + high) / 2;
}

/**
 * The mean likelihood of q = p + increase over a distribution of p that is fixed beforehand: sqrt(p) is uniform on
 * [0, 1], or with the same chance on [0, 1/4], for rates up to 6 % are usual. Integrated where it is not negligible.
 */
function meanLikelihood(stratum: Stratum, increase: number): number {
  if (!stratum.control) return likelihood(stratum, 0, Math.max(0, increase));
  const lowest = Math.sqrt(Math.max(0, -increase));
  const highest = Math.sqrt(Math.min(1, 1 - increase));
  const at = (x: number): number => likelihood(stratum, x * x, x * x + increase);
  const mode = Math.sqrt(likeliest(stratum, increase));
  const peak = at(mode);
  const floor = peak - NEGLIGIBLE;
  const low = crossing(at, mode, lowest, floor);
  const step = (crossing(at, mode, highest, floor) - low) / POINTS;
  let sum = 0;
  for (let i = 0; i < POINTS; i++) {
    const x = low + (i + 0.5) * step;
    sum += (x < 0.25 ? 2.5 : 0.5) * Math.exp(at(x) - peak);
  }
  return peak + Math.log(sum * step);
}

/** Where the likelihood, on its way from the mode to the end, falls below the floor. */
function crossing(at: (x: number) => number, mode: number, end: number, floor: number): number {
  if (at(end) >= floor) return end;
  let inside = mode;
  let outside = end;
  for (let i = 0; i < 30 && Math.abs(outside - inside) > 1e-3 * Math.abs(inside - mode); i++) {
    const x = (inside + outside) / 2;
    if (at(x) >= floor) inside = x;
    else outside = x;
  }
  return outside;
}

/** The logarithm of the mean of what has these logarithms. */
export function logMean(logs: readonly number[]): number {
  const most = Math.max(...logs);
  if (most === Number.NEGATIVE_INFINITY) return most;
  return most + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - most), 0) / logs.length);
}
