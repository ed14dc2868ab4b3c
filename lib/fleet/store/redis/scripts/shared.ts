// What the scripts share. Rules for all of them: time is redis.call('TIME'), every key is in KEYS, numbers travel as text
// (Lua's numbers lose digits when they become text), and the first word of the answer says what happened.

/** A script and the name of its command. */
export interface Script {
  readonly name: string;
  readonly lua: string;
}

/** Operations that a record remembers: more than one connection can have unanswered. */
const REMEMBERED = 32;
/** Entries of an audit trail that are kept, about. */
const AUDIT_LENGTH = 10_000;

/** now(): ms since the epoch, as text. */
export const NOW = `
local function now()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
`;

/** recall(text, op): what was remembered of the operation; remember(text, op, answer): the text with it in front. */
export const OPERATIONS = `
local function recall(text, op)
  local line = '\\n' .. op .. '\\t'
  local at, last = string.find('\\n' .. (text or ''), line, 1, true)
  return at and string.match(text, '^[^\\n]*', last)
end
local function remember(text, op, answer)
  local kept, count = {op .. '\\t' .. answer}, 1
  for line in string.gmatch(text or '', '[^\\n]+') do
    count = count + 1
    if count > ${REMEMBERED} then break end
    kept[count] = line
  end
  return table.concat(kept, '\\n')
end
`;

/** isEmpty(meta): the store does not know the fleet, so that no controller may write. */
export const EMPTY = `
local function isEmpty(meta)
  return redis.call('HEXISTS', meta, 'incarnation') == 0
end
`;

/** audit(key, rollout, revision, event, message, actor, hosts). Its time is the id that the stream gives. */
export const AUDIT = `
local function audit(key, rollout, revision, event, message, actor, hosts)
  redis.call('XADD', key, 'MAXLEN', '~', ${AUDIT_LENGTH}, '*',
    'r', rollout, 'v', revision, 'e', event, 'm', message, 'a', actor, 'h', hosts)
end
`;

/** nextRevision(meta, at): one that no document has had, not even one whose write was lost: the time, where it goes on. */
export const REVISION = `
local function nextRevision(meta, at)
  local last = tonumber(redis.call('HGET', meta, 'revision') or '0')
  local revision = string.format('%.0f', math.max(last + 1, tonumber(at)))
  redis.call('HSET', meta, 'revision', revision)
  return revision
end
`;
