// The scripts of hosts, and of the fleet as a whole.
//
// What each host runs all the time answers one text of words and not an array, for which Redis allocates a block of 16 KB:
// 25 us of its processor time per call instead of 41, one call at a time.
import { AUDIT, EMPTY, NOW, OPERATIONS, REVISION, type Script } from './shared.js';

/**
 * A lease is 'boot sequence', and behind them what was reported since it was renewed last: a small report costs one
 * command so, and controllers find it where they look anyway. It is JSON: field, value, field, null for one that goes.
 *
 * Lost writes may bring back what stands behind a lease when its host has long moved it into the hash: such a lease has just the
 * sequence that the host builds on, and what is behind it is moved again.
 *
 * A report with a gap has the sequence 0 until a whole one comes: the answer that asks for it may be lost.
 *
 * KEYS: lease, report, document. ARGV: boot, sequence, ms of the lease, '1' with info, the sequence that this beat builds
 * on, '1' when it repeats what is behind the lease, how many fields and values follow, those, fields to be deleted.
 */
export const HEARTBEAT: Script = {
  name: 'aspiredFleetHeartbeat',
  lua: `
local boot, sequence, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[7])
local says = #ARGV > 7
local held, stored, recent = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) ?(.*)$')
local revision = redis.call('HGET', KEYS[3], '!') or ''
if held and held ~= boot then return 'held ' .. revision .. ' ' .. held end
local function chunks(command, list, first, last)
  for i = first, last, 1000 do redis.call(command, KEYS[2], unpack(list, i, math.min(i + 999, last))) end
end
if not held then
  local last
  last, stored = string.match(redis.call('HGET', KEYS[2], '!b') or '', '^(%S+) (%d+)')
  if last ~= boot then
    stored = nil
    if says and last then redis.call('DEL', KEYS[2]) end
  end
elseif recent ~= '' and (ARGV[6] == '0' or stored == ARGV[5]) then
  local fields, pairs, gone = cjson.decode(recent), {}, {}
  for i = 1, #fields, 2 do
    if fields[i + 1] == cjson.null then gone[#gone + 1] = fields[i]
    else pairs[#pairs + 1] = fields[i]; pairs[#pairs + 1] = fields[i + 1] end
  end
  chunks('HSET', pairs, 1, #pairs)
  chunks('HDEL', gone, 1, #gone)
end
stored = tonumber(stored or '0')
local goesOn = stored >= tonumber(ARGV[5]) and stored <= sequence and stored > 0
local whole = goesOn or ARGV[4] == '1'
if not whole then stored = 0 elseif says then stored = sequence end
redis.call('SET', KEYS[1], boot .. ' ' .. string.format('%.0f', stored), 'PX', ARGV[3])
chunks('HSET', ARGV, 8, 7 + count)
chunks('HDEL', ARGV, 8 + count, #ARGV)
if whole then return 'ok ' .. revision end
if says then redis.call('HSET', KEYS[2], '!b', boot .. ' 0') end
return 'resend ' .. revision
`,
};

/**
 * KEYS: lease. ARGV: boot, the whole lease, the sequence of the last report in the hash that it builds on. Only where this boot
 * holds the lease, and the hash has all of that: after lost writes it may be older, or behind the lease. How long it lasts stays.
 */
export const REPORT: Script = {
  name: 'aspiredFleetReport',
  lua: `
local old = redis.call('SET', KEYS[1], ARGV[2], 'XX', 'KEEPTTL', 'GET')
if not old then return 'gone' end
local behind = #ARGV[1] + 2
if string.sub(old, 1, behind - 1) == ARGV[1] .. ' ' then
  local stored, recent = string.match(old, '^(%d+) ?(.*)$', behind)
  local ahead = tonumber(stored or '0') - tonumber(ARGV[3])
  if stored ~= '0' and (ahead > 0 or (ahead == 0 and recent == '')) then return 'ok' end
end
redis.call('SET', KEYS[1], old, 'KEEPTTL')
return 'gone'
`,
};

/** KEYS: lease. ARGV: boot. */
export const LEAVE: Script = {
  name: 'aspiredFleetLeave',
  lua: `
local held = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) ')
if held == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'ok'
`,
};

/** KEYS: meta. ARGV: schema, an incarnation in case there is none. */
export const CREATE: Script = {
  name: 'aspiredFleetCreate',
  lua: `${NOW}${EMPTY}
if isEmpty(KEYS[1]) then
  redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'incarnation', ARGV[2], 'createdAt', now())
end
return redis.call('HMGET', KEYS[1], 'schema', 'incarnation', 'createdAt')
`,
};

/** KEYS: meta, hosts, documents... ARGV: id and info of each. Answers 'index cordoned' of each. */
export const ENTER: Script = {
  name: 'aspiredFleetEnter',
  lua: `${NOW}${EMPTY}${REVISION}
if isEmpty(KEYS[1]) then return {'empty'} end
local answer, revision = {'ok'}, nil
for i = 3, #KEYS do
  local id, info = ARGV[2 * i - 5], ARGV[2 * i - 4]
  local place = string.match(redis.call('HGET', KEYS[2], id) or '', '^%d+ %d')
  if not place then
    place = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'next', 1) - 1) .. ' 0'
  end
  redis.call('HSET', KEYS[2], id, place .. ' ' .. info)
  if redis.call('EXISTS', KEYS[i]) == 0 then
    revision = revision or nextRevision(KEYS[1], now())
    redis.call('HSET', KEYS[i], '!', revision)
    redis.call('SPUBLISH', KEYS[i], '')
  end
  answer[#answer + 1] = place
end
return answer
`,
};

/** KEYS: meta, hosts, audit, and for a removal document, report and lease. ARGV: id, '0' or '1' or 'remove', operation, actor, reason. */
export const CHANGE_HOST: Script = {
  name: 'aspiredFleetChangeHost',
  lua: `${OPERATIONS}${EMPTY}${AUDIT}
if isEmpty(KEYS[1]) then return {'empty'} end
local ops = redis.call('HGET', KEYS[1], 'ops')
if recall(ops, ARGV[3]) then return {'ok'} end
local host = redis.call('HGET', KEYS[2], ARGV[1])
if not host then return {'unknown'} end
local event = 'remove'
if ARGV[2] == 'remove' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('UNLINK', KEYS[4], KEYS[5], KEYS[6])
else
  local index, info = string.match(host, '^(%d+) %d (.*)$')
  redis.call('HSET', KEYS[2], ARGV[1], index .. ' ' .. ARGV[2] .. ' ' .. info)
  event = ARGV[2] == '1' and 'cordon' or 'uncordon'
end
redis.call('HSET', KEYS[1], 'ops', remember(ops, ARGV[3], event))
audit(KEYS[3], '', '', event, ARGV[1] .. ': ' .. ARGV[5], ARGV[4], '1')
return {'ok'}
`,
};

/** How long an import may stand still, ms: from then on another one may begin. */
const IMPORT_LEASE_MS = 60_000;

/** The key `importing` holds 'run operation': a run writes while it is its own. */
const IMPORT = `${EMPTY}
if not isEmpty(KEYS[1]) then
  if redis.call('HGET', KEYS[1], 'importedBy') == ARGV[1] then return {'done'} end
  return {'exists'}
end
local held = redis.call('GET', KEYS[2])
`;

/** KEYS: meta, importing. ARGV: operation, 'run operation'. One import at a time, and only where there is no fleet. */
export const IMPORT_BEGIN: Script = {
  name: 'aspiredFleetImportBegin',
  lua: `${IMPORT}
local other = held and (string.match(held, '^%S+ (.*)$') or held)
if other and other ~= ARGV[1] then return {'busy', other} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ${IMPORT_LEASE_MS})
return {'go'}
`,
};

/** KEYS: meta, importing, one for each command. ARGV: operation, 'run operation', commands without their keys as JSON. */
export const IMPORT_PART: Script = {
  name: 'aspiredFleetImportPart',
  lua: `${IMPORT}
if held ~= ARGV[2] then return {'taken'} end
redis.call('PEXPIRE', KEYS[2], ${IMPORT_LEASE_MS})
for i, command in ipairs(cjson.decode(ARGV[3])) do
  redis.call(command[1], KEYS[2 + i], unpack(command, 2))
end
return {'go'}
`,
};

/** KEYS: meta, importing, audit. ARGV: operation, 'run operation', schema, incarnation, next index, hosts, actor, reason. Opens the fleet. */
export const IMPORT_END: Script = {
  name: 'aspiredFleetImportEnd',
  lua: `${NOW}${AUDIT}${IMPORT}
if held ~= ARGV[2] then return {'taken'} end
local at = now()
redis.call('HSET', KEYS[1], 'schema', ARGV[3], 'incarnation', ARGV[4], 'createdAt', at,
  'next', ARGV[5], 'revision', at, 'importedBy', ARGV[1])
redis.call('DEL', KEYS[2])
audit(KEYS[3], '', '', 'import', ARGV[8], ARGV[7], ARGV[6])
return {'done'}
`,
};

/** KEYS: importing. ARGV: 'run operation'. */
export const IMPORT_RELEASE: Script = {
  name: 'aspiredFleetImportRelease',
  lua: `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'ok'}
`,
};
