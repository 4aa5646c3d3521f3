"""Settings of a consumer that reads topics beside everybody else: its partitions are assigned, no group is joined, nothing is committed."""

from __future__ import annotations

from typing import Any, Final

from schemas.secure import kafka_settings

_READING: Final[dict[str, str | int | bool]] = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 50,
    "fetch.message.max.bytes": 8 * 1024 * 1024,
    "queued.max.messages.kbytes": 32_768,
    "log_level": 2,
}


def reader_settings(bootstrap: str, name: str) -> dict[str, Any]:
    """Return them; `name` is what the client wants for a group and brokers show."""
    return {**kafka_settings(bootstrap), **_READING, "group.id": name}
