"""What a generation of the topics leaves to the next: the rows of its stages, each for its new partition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from schemas import codec
from schemas.partitions import partition_of
from schemas.topics import PAYMENT_STATE, Topic

Rows = dict[bytes, bytes]
"""Key -> the last record under it."""
_PENDING: Final = "pending"


def spread(topic: Topic, rows: Mapping[bytes, bytes], partitions: int) -> list[Rows]:
    """Return the rows of a changelog, by the partition that they belong on from now on; raises codec.UndecodableError."""
    found: list[Rows] = [{} for _ in range(partitions)]
    for key, value in rows.items():
        found[partition_of(key, partitions)][key] = carried(topic, value)
    return found


def carried(topic: Topic, value: bytes) -> bytes:
    """Return a row as the next generation has it; raises codec.UndecodableError.

    Every row is decoded: one that nobody can read must not push aside the one before it, which still stands. A pending
    payment names the offset of its request; in the new topic that request does not stand anywhere, so it is put at the beginning.
    """
    row = codec.decode(value).value
    if topic != PAYMENT_STATE or not row[_PENDING]:
        return value
    pending = [{**one, "offset": 0, "index": number} for number, one in enumerate(row[_PENDING])]
    return codec.encode(topic.records[0], {**row, _PENDING: pending})


def merged(parts: Iterable[Rows]) -> Rows:
    """Return the rows of all partitions in one; a key on two partitions is refused, for nobody knows which row is the right one."""
    whole: Rows = {}
    for part in parts:
        if twice := whole.keys() & part.keys():
            raise ValueError(f"rows of {len(twice)} keys stand on two partitions, for example {min(twice)!r}")
        whole |= part
    return whole
