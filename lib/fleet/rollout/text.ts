// Sentences, and figures in them.

/** '1 host', '1,200 hosts'. */
export function count(n: number, what: string): string {
  return `${figure(n)} ${what}${n === 1 ? '' : 's'}`;
}

// toLocaleString() takes longer than the tick that it is for.
function figure(n: number): string {
  const digits = String(n);
  return digits.length > 3 ? digits.replace(/\B(?=(\d{3})+$)/g, ',') : digits;
}

/** A duration for people: '250 ms', '45 s', '10 min', '1 h 30 min'. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest === 0 ? '' : ` ${rest} min`}`;
}

/** A host that has seen more than the store has. */
export interface Witness {
  readonly host: string;
  readonly generation: number;
}

/** What a host testifies, as a reason to go back. */
export function witnessText({ host, generation }: Witness, version: number): string {
  return `host ${host} has seen generation ${generation}, which took version ${version} back`;
}
