// The scripts that change rollouts and models: start, commit, assert.
import { FLEET_SCHEMA } from '../../../types.js';
import { GENERATION_JUMP } from '../../types.js';
import { AUDIT, EMPTY, NOW, OPERATIONS, REVISION, type Script } from './shared.js';

/**
 * Cells: header.bodies are the texts after the generation, ARGV[1 + i] is the body of the i-th host, by number. The doorbell
 * says what was changed and from which revision: who has just that one needs not ask.
 */
const CELLS = `
local function writeCells(first, meta, model, generation, at, bodies)
  if #KEYS < first then return end
  local cells = {}
  for i, body in ipairs(bodies) do cells[i] = '${FLEET_SCHEMA};' .. generation .. body end
  local revision = nextRevision(meta, at)
  for i = first, #KEYS do
    local before, cell = redis.call('HGET', KEYS[i], '!') or '', cells[tonumber(ARGV[i - first + 2])]
    redis.call('HSET', KEYS[i], '!', revision, model, cell)
    redis.call('SPUBLISH', KEYS[i], before .. ' ' .. revision .. ' ' .. model .. ' ' .. cell)
  end
end
`;

/**
 * nextGeneration(key, generation, least): written into the model's record. The first one that another run of the server gives
 * out jumps: the run before may have lost writes, and hosts may have accepted those. An equal generation with other content
 * would look as if they had accepted this one. How far is another number in each run: a jump can be lost too. Where INFO is denied there is no jump; what hosts report is gone above all
 * the same.
 */
const GENERATION = `
local function nextGeneration(key, generation, least)
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x%x%x+)') or ''
  local before, jump = redis.call('HGET', key, 'run'), 1
  generation = tonumber(generation or '0')
  if generation > 0 and before ~= run and run ~= '' then
    jump = ${GENERATION_JUMP} * (1 + tonumber(string.sub(run, 1, 2), 16))
  end
  local next = string.format('%.0f', math.max(generation, tonumber(least)) + jump)
  redis.call('HSET', key, 'gen', next, 'run', run)
  return next
end
`;

/** Lists of versions as text, '41,42'. */
const VERSIONS = `
local function edited(list, add, remove)
  local versions, seen = {}, {}
  for version in string.gmatch((list or '') .. ',' .. (add or ''), '%d+') do
    if version ~= remove and not seen[version] then
      seen[version] = true
      versions[#versions + 1] = version
    end
  end
  table.sort(versions, function(a, b) return tonumber(a) < tonumber(b) end)
  return table.concat(versions, ',')
end
local function setStable(key, stable)
  local old, previous = unpack(redis.call('HMGET', key, 'stable', 'previous'))
  if old and old ~= stable then
    local kept = {old}
    for version in string.gmatch(previous or '', '%d+') do
      if version ~= old and version ~= stable and #kept < 10 then kept[#kept + 1] = version end
    end
    redis.call('HSET', key, 'previous', table.concat(kept, ','))
  end
  redis.call('HSET', key, 'stable', stable)
end
`;

/** KEYS: meta, record, plan, model, active, models, audit, history. ARGV: a header as JSON, the state, the plan. */
export const START: Script = {
  name: 'aspiredFleetStart',
  lua: `${NOW}${OPERATIONS}${EMPTY}${AUDIT}
local header = cjson.decode(ARGV[1])
if isEmpty(KEYS[1]) then return {'empty'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'duplicate', header.id} end
local active, stable, tombstones, ops = unpack(redis.call('HMGET', KEYS[4], 'active', 'stable', 'tombstones', 'ops'))
local known = recall(ops, header.operation)
if known then return {'duplicate', known} end
if active then return {'active', active} end
if header.expectStable and header.expectStable ~= (stable or '') then return {'conflict'} end
local bad = string.find(',' .. (tombstones or '') .. ',', ',' .. header.version .. ',', 1, true)
if bad and not header.force then return {'tombstoned'} end
local at = now()
redis.call('HSET', KEYS[2], 'model', header.model, 'rev', '0', 'state', ARGV[2],
  'startedAt', at, 'phaseAt', at, 'progressAt', at)
redis.call('SET', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[4], 'active', header.id, 'ops', remember(ops, header.operation, header.id))
redis.call('HSET', KEYS[5], header.model, header.id)
redis.call('SADD', KEYS[6], header.model)
audit(KEYS[7], header.id, '0', 'start', header.message, header.actor, header.hosts)
redis.call('LPUSH', KEYS[8], header.id)
return {'started', at}
`,
};

/** KEYS: meta, record, model, active, audit, pending, answers, documents... ARGV: a header as JSON, bodies of documents. */
export const COMMIT: Script = {
  name: 'aspiredFleetCommit',
  lua: `${NOW}${OPERATIONS}${EMPTY}${AUDIT}${REVISION}${CELLS}${GENERATION}${VERSIONS}
local header = cjson.decode(ARGV[1])
if isEmpty(KEYS[1]) then return {'empty'} end
local rev, ops = unpack(redis.call('HMGET', KEYS[2], 'rev', 'ops'))
if not rev then return {'unknown'} end
local before = recall(ops, header.operation)
if before then return {'duplicate', string.match(before, '^(%d+) (%d+) (%d+)$')} end
local generation, active, tombstones = unpack(redis.call('HMGET', KEYS[3], 'gen', 'active', 'tombstones'))
local at = now()
local same = rev == header.expect and (generation or '0') == (header.expectGeneration or generation or '0')
if not same or active ~= header.id then return {'conflict', rev, generation or '0', at} end
if #KEYS >= 8 then
  generation = nextGeneration(KEYS[3], generation, header.above)
  writeCells(8, KEYS[1], header.model, generation, at, header.bodies)
end
generation = generation or '0'
rev = string.format('%.0f', tonumber(rev) + 1)
local answer = rev .. ' ' .. generation .. ' ' .. at
local record = {'rev', rev, 'state', header.state, 'ops', remember(ops, header.operation, answer)}
for _, stamp in ipairs(header.stamps) do
  record[#record + 1] = stamp
  record[#record + 1] = at
end
redis.call('HSET', KEYS[2], unpack(record))
if header.stable then setStable(KEYS[3], header.stable) end
if header.tombstone or header.unTombstone then
  redis.call('HSET', KEYS[3], 'tombstones', edited(tombstones, header.tombstone, header.unTombstone))
end
if header.release then
  redis.call('HDEL', KEYS[3], 'active')
  redis.call('HDEL', KEYS[4], header.model)
end
while header.upTo do
  local verb = redis.call('LINDEX', KEYS[6], 0)
  local id, operation = string.match(verb or '', '^(%d+)\\t([^\\t]*)\\t')
  if not id or id > header.upTo then break end
  redis.call('LPOP', KEYS[6])
  if header.answers[id] then redis.call('HSET', KEYS[7], operation, header.answers[id]) end
end
audit(KEYS[5], header.id, rev, header.event, header.message, header.actor, header.hosts)
return {'committed', rev, generation, at}
`,
};

/** KEYS: meta, model, models, audit, documents... ARGV: a header as JSON, bodies of documents. */
export const ASSERT: Script = {
  name: 'aspiredFleetAssert',
  lua: `${NOW}${OPERATIONS}${EMPTY}${AUDIT}${REVISION}${CELLS}${GENERATION}${VERSIONS}
local header = cjson.decode(ARGV[1])
if isEmpty(KEYS[1]) then return {'empty'} end
local generation, active, tombstones, ops = unpack(redis.call('HMGET', KEYS[2], 'gen', 'active', 'tombstones', 'ops'))
local before = recall(ops, header.operation)
if before then return {'duplicate', string.match(before, '^(%d+) (%d+) (%d+)$')} end
local at = now()
if (generation or '0') ~= header.expect or (header.stable and active) then return {'conflict', '0', generation or '0', at} end
generation = nextGeneration(KEYS[2], generation, header.above)
local answer = '0 ' .. generation .. ' ' .. at
redis.call('HSET', KEYS[2], 'ops', remember(ops, header.operation, answer))
writeCells(5, KEYS[1], header.model, generation, at, header.bodies)
if header.stable then setStable(KEYS[2], header.stable) end
if header.tombstones then redis.call('HSET', KEYS[2], 'tombstones', edited(tombstones, header.tombstones)) end
redis.call('SADD', KEYS[3], header.model)
audit(KEYS[4], '', '', 'assert', header.message, header.actor, #KEYS - 4)
return {'committed', '0', generation, at}
`,
};

/** KEYS: meta, record, verbs, pending, audit. ARGV: id, operation, the verb as JSON, verb, actor, reason. */
export const VERB: Script = {
  name: 'aspiredFleetVerb',
  lua: `${EMPTY}${AUDIT}
if isEmpty(KEYS[1]) then return {'empty'} end
if redis.call('EXISTS', KEYS[2]) == 0 then return {'unknown'} end
local known = redis.call('HGET', KEYS[3], ARGV[2])
if known then return {'known', known} end
local id = string.format('%012d', redis.call('HINCRBY', KEYS[2], 'verb', 1))
local verb = id .. '\\t' .. ARGV[2] .. '\\t' .. ARGV[3]
redis.call('HSET', KEYS[3], ARGV[2], verb)
redis.call('RPUSH', KEYS[4], verb)
audit(KEYS[5], ARGV[1], '', ARGV[4], ARGV[6], ARGV[5], '0')
return {'added', verb}
`,
};

/** KEYS: meta, record, gates. ARGV: key, result. The first result stays. */
export const GATE: Script = {
  name: 'aspiredFleetGate',
  lua: `${EMPTY}
if isEmpty(KEYS[1]) then return {'empty'} end
if redis.call('EXISTS', KEYS[2]) == 0 then return {'unknown'} end
redis.call('HSETNX', KEYS[3], ARGV[1], ARGV[2])
return {'ok', redis.call('HGET', KEYS[3], ARGV[1])}
`,
};

/** KEYS: history, keys of old rollouts... ARGV: their ids. */
export const FORGET: Script = {
  name: 'aspiredFleetForget',
  lua: `
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
for _, id in ipairs(ARGV) do redis.call('LREM', KEYS[1], 0, id) end
return {'ok'}
`,
};
