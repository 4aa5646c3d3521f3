"""A task's positions: what is recorded in its changelog, and whether the inputs still fit it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from schemas import codec
from schemas.topics import POSITIONS_KEY
from streams.runtime.clients import InputTopic, MisconfiguredError
from streams.runtime.records import Place, StageKind, Write


def positions_record(end: Mapping[str, int], topics: Mapping[str, InputTopic]) -> dict[str, list[object]]:
    """Return the TaskPositions record that says: everything before `end` is decided.

    The changelog is among the topics too, so that one made again is noticed; its "offset" is the schema ID of the rows written with
    this record, so that an earlier version of the program knows rows it cannot read from what was never a row.
    """
    names = sorted(topics)
    return {
        "topic": list(names),
        "offset": [end[n] for n in names],
        "partitions": [topics[n].partitions for n in names],
        "topic_id": [topics[n].topic_id for n in names],
    }


def position_write(kind: StageKind, place: Place, end: Mapping[str, int], topics: Mapping[str, InputTopic]) -> Write:
    """Return the write that says so, in a task's changelog."""
    whole = {**end, kind.changelog.name: codec.schema_ids()[kind.changelog.records[0]][-1]}
    return Write(kind.changelog, place.partition, POSITIONS_KEY, codec.encode("TaskPositions", positions_record(whole, topics)))


def positions_of(value: bytes | None) -> dict[str, tuple[int, int, str]]:
    """Return topic -> (next offset, partition count, topic ID) as recorded; empty for a task that never committed."""
    if value is None:
        return {}
    record = codec.decode(value).value
    rows = zip(record["topic"], record["offset"], record["partitions"], record["topic_id"], strict=True)
    return {topic: (offset, partitions, topic_id) for topic, offset, partitions, topic_id in rows}


def check_positions(
    task: str,
    recorded: Mapping[str, tuple[int, int, str]],
    inputs: Mapping[str, InputTopic],
    marks: Mapping[str, tuple[int, int]],
    partitions: int,
    reached: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, int]:
    """Return where to read each input from; raises MisconfiguredError where an input is not the one the rows came from.

    `marks`: topic -> (first, next) offset in the log. A new task reads every input from its first offset. `reached`: how far the workers' group has told
    that inputs were read with nothing left to decide, behind the markers of transactions, which no position counts: what was deleted up to there was read.
    """
    for topic, found in inputs.items():
        _check_count(task, topic, found, partitions)
        if topic in recorded:
            _check_same(task, topic, recorded[topic], found, marks[topic], reached.get(topic, 0))
    return {topic: max(recorded[topic][0] if topic in recorded else 0, marks[topic][0]) for topic in inputs}


def cut(recorded: Mapping[str, tuple[int, int, str]], marks: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the inputs of which something behind the position was deleted: markers, or records that nobody has read."""
    return [topic for topic, (first, _) in marks.items() if topic in recorded and recorded[topic][0] < first]


def check_rows_known(task: str, recorded: Mapping[str, tuple[int, int, str]], changelog: str, known: Collection[int]) -> None:
    """Raise MisconfiguredError where the rows were last written by a version of the program that has another schema for them."""
    if changelog in recorded and recorded[changelog][0] not in known:
        raise MisconfiguredError(
            f"task {task}: the rows of {changelog} are written with schema {recorded[changelog][0]}, which this version of the program does not know: "
            "a later version had this partition. Start that one here, too"
        )


def check_changelog(task: str, recorded: Mapping[str, tuple[int, int, str]], changelog: str, topics: Mapping[str, InputTopic]) -> None:
    """Raise MisconfiguredError where the changelog is not the topic that its positions were written for: rows are missing."""
    if changelog not in recorded:
        return
    _, partitions, topic_id = recorded[changelog]
    found = topics[changelog]
    if topic_id != found.topic_id or partitions != found.partitions:
        raise MisconfiguredError(
            f"task {task}: changelog {changelog} was deleted and made again under a running worker (ID {topic_id}, {partitions} partitions; now "
            f"{found.topic_id}, {found.partitions}): it lacks every row that did not change since. Restore it from a copy, or start a new shop under "
            "another HOLDFAST_TOPIC_PREFIX"
        )


def _check_count(task: str, topic: str, found: InputTopic, partitions: int) -> None:
    if found.partitions != partitions:
        raise MisconfiguredError(
            f"task {task}: topic {topic} has {found.partitions} partitions, this worker is set to {partitions} (HOLDFAST_PARTITIONS); "
            "a product's partition would change and its stock be split: set the right number"
        )


def _check_same(task: str, topic: str, recorded: tuple[int, int, str], found: InputTopic, marks: tuple[int, int], reached: int) -> None:
    offset, partitions, topic_id = recorded
    first, end = marks
    remedy = "restore the topic, or start over with an empty changelog"
    if topic_id != found.topic_id or partitions != found.partitions:
        raise MisconfiguredError(
            f"task {task}: topic {topic} is not the one its rows came from (ID {topic_id}, {partitions} partitions; now {found.topic_id}, {found.partitions}): "
            f"it was deleted and made again, or partitions were added; {remedy}"
        )
    if max(offset, reached) < first or offset > end:
        raise MisconfiguredError(f"task {task}: topic {topic} holds offsets {first}..{end}, but the task stands at {offset}; {remedy}")
