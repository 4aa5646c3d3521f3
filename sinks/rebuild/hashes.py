"""Pure: a live Redis hash beside the rebuilt one, or beside the record of the log that has its version."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from schemas import views
from sinks.redis_sink import ORDER_FIELDS, PRODUCT_FIELDS, order_hash, product_hash
from sinks.rows import LEVEL, OUTCOME

Hash = Mapping[str, str]


class Judgement(Enum):
    """`LATER`: the live hash is newer than what was rebuilt so far, so the log after that has to say."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    LATER = "later"


SWAP: Final = """
-- KEYS: pairs of a live hash and the rebuilt one. ARGV: per pair the version of a live hash that the log does not know, or ''.
-- Each live hash becomes the rebuilt one in one step, unless it is newer; one that the log does not know goes away.
local swapped = 0
for k = 1, #KEYS, 2 do
  local live, unknown = KEYS[k], ARGV[(k + 1) / 2]
  local rebuilt = redis.call('HGETALL', KEYS[k + 1])
  local held, version, same = {}, nil, false
  if redis.call('TYPE', live).ok == 'hash' then
    local fields = redis.call('HGETALL', live)
    for f = 1, #fields, 2 do held[fields[f]] = fields[f + 1] end
    version, same = held['version'], #fields == #rebuilt
  end
  local newest = nil
  for f = 1, #rebuilt, 2 do
    if rebuilt[f] == 'version' then newest = rebuilt[f + 1] end
    same = same and held[rebuilt[f]] == rebuilt[f + 1]
  end
  local is_unknown = unknown ~= '' and version == unknown
  if #rebuilt == 0 then
    if is_unknown then swapped = swapped + redis.call('DEL', live) end
  elseif not same then
    local is_newer = tonumber(version or '') and tonumber(version) > tonumber(newest)
    if not is_newer or is_unknown then
      redis.call('DEL', live)
      redis.call('HSET', live, unpack(rebuilt))
      swapped = swapped + 1
    end
  end
end
return swapped
"""
FORWARD: Final = """
-- KEYS: positions. ARGV: where the rebuilt rows stand. A live position that is behind goes there: its rows are in place.
for k = 1, #KEYS do
  local held = tonumber(redis.call('GET', KEYS[k]) or '')
  if not held or held < tonumber(ARGV[k]) then redis.call('SET', KEYS[k], ARGV[k]) end
end
"""


def judge(live: Hash | None, rebuilt: Hash | None) -> Judgement:
    """Compare a live hash, which stands at or beyond the rebuilt one's place in the log, with it. None: no (such) hash."""
    if rebuilt is None:
        return Judgement.SAME if live is None else Judgement.LATER
    if live is None:
        return Judgement.MISSING
    if plain(live) == plain(rebuilt):
        return Judgement.SAME
    return Judgement.LATER if version_of(live) > version_of(rebuilt) else Judgement.CHANGED


def version_of(held: Hash) -> int:
    """Return a hash's version, -1 for one that has none."""
    text = held.get("version", "")
    return int(text) if text.isdecimal() else -1


def plain(held: Hash) -> dict[str, Any]:
    """Return a hash as what it says: the lines as a list, whoever wrote their JSON."""
    found: dict[str, Any] = dict(held)
    if "lines" in found:
        try:
            found["lines"] = msgspec.json.decode(found["lines"])
        except (msgspec.DecodeError, UnicodeError):
            found["lines"] = None
    return found


def key_of(name: str, value: Mapping[str, Any]) -> str | None:
    """Return the key under which a record is stored; None for what is not."""
    if name == LEVEL:
        return views.stock_key(value["product_id"])
    return views.order_key(value["order_id"]) if name == OUTCOME else None


def hash_of(name: str, value: Mapping[str, Any]) -> dict[str, str]:
    """Return a record as the hash that the sink makes of it."""
    fields, values = (PRODUCT_FIELDS, product_hash(value)) if name == LEVEL else (ORDER_FIELDS, order_hash(value))
    return {field: part.decode() if isinstance(part, bytes) else str(part) for field, part in zip(fields, values, strict=True)}
