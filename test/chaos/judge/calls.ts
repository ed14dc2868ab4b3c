// I10: what was asked outside, by what the webhook wrote down, and which of its answers count.
import { type EventOf, eventsOf, type History, type Violation } from '../history/events.js';
import { type Checker, epochOf, epochOfCommits, grouped } from './timeline.js';

/** I10: a question has one key, a key one question, and of the answers to it one counts, which was really given. */
export const calls: Checker = (history) => {
  const asked = eventsOf(history, 'call').sort((a, b) => a.sent - b.sent);
  return [...mixedKeys(asked), ...askedAgain(history, asked), ...counting(history, asked)];
};

type Call = EventOf<'call'>;

function mixedKeys(asked: readonly Call[]): Violation[] {
  const questionOf = ({ rollout, wave, asks }: Call): string => `${rollout} wave ${wave} ${asks}`;
  return [...grouped(asked, ({ key }) => key)].flatMap(([key, all]): Violation[] => {
    const other = all.find((call) => questionOf(call) !== questionOf(all[0] as Call));
    if (!other) return [];
    return [{ invariant: 'I10', t: other.t, message: `${key} is two questions: ${questionOf(other)} is another one` }];
  });
}

/** Another key is another effect outside: only after an answer that was no verdict, or when an operator wants it. */
function askedAgain(history: History, asked: readonly Call[]): Violation[] {
  const epoch = epochOf(history);
  const wishes = eventsOf(history, 'verb').filter(({ verb }) => verb === 'retry' || verb === 'resume');
  const undecided = new Set(
    eventsOf(history, 'gate-result')
      .filter(({ result }) => result.includes('insufficient-data'))
      .map(({ rollout, key }) => `${rollout}-${key}`),
  );
  const questions = grouped(asked, ({ rollout, wave, sent }) => `${epoch(sent)} ${rollout} ${wave}`);
  return [...questions.values()].flatMap((all): Violation[] => {
    const firsts = [...grouped(all, ({ key }) => key).values()].map(([first]) => first as Call);
    return firsts.flatMap(({ rollout, key, sent, t }, index): Violation[] => {
      const before = firsts.slice(0, index).map((call) => call.key);
      const wished = wishes.filter((verb) => verb.rollout === rollout && verb.sent <= sent).length;
      if (index <= wished + before.filter((earlier) => undecided.has(earlier)).length) return [];
      return [
        { invariant: 'I10', t, message: `${key} asks again what ${before.at(-1)} has asked, and nobody wanted it` },
      ];
    });
  });
}

interface Counted {
  readonly t: number;
  readonly epoch: number;
  readonly key: string;
  readonly rollout: string;
  readonly text: string;
}

/** Answers that a controller went by, or may go by. */
function countedIn(history: History): Counted[] {
  const epoch = epochOf(history);
  const commitEpoch = epochOfCommits(history);
  const stored = eventsOf(history, 'gate-result').map(({ t, rollout, key, result }) => {
    const { message } = JSON.parse(result) as { readonly message: string };
    return { t, epoch: epoch(t), rollout, key: `${rollout}-${key}`, text: message };
  });
  const used = eventsOf(history, 'commit').flatMap((commit) => {
    const { t, rollout, outcome, answers = [] } = commit;
    if (outcome !== 'committed') return [];
    return answers.map((text) => ({ t, epoch: commitEpoch(commit), rollout, key: keyIn(text) ?? '', text }));
  });
  return [...stored, ...used].sort((a, b) => a.t - b.t);
}

const keyIn = (text: string): string | undefined => /^call \d+ for (.+)$/.exec(text)?.[1];

function counting(history: History, asked: readonly Call[]): Violation[] {
  const counted = countedIn(history);
  const found: Violation[] = [];
  for (const answers of grouped(counted, ({ epoch, key }) => `${epoch} ${key}`).values()) {
    const [first, ...rest] = answers;
    const other = rest.find(({ text }) => text !== first?.text);
    if (other)
      found.push({ invariant: 'I10', t: other.t, message: `${other.key}: ${first?.text} became ${other.text}` });
  }
  const given = new Map(asked.flatMap((call) => (call.verdict === undefined ? [] : [[call.answer, call] as const])));
  for (const { t, key, rollout, text } of counted) {
    if (keyIn(text) === undefined) continue; // the controller's own word: nobody was reached
    const call = given.get(text);
    if (call?.key === key && call.rollout === rollout) continue;
    found.push({ invariant: 'I10', t, message: `${rollout} goes by ${text} for ${key}, which was never answered so` });
  }
  return found;
}
