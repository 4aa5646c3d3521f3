"""What a worker says to its group: offset commits that leave its membership alone (a hint, a question), and a goodbye that does not wait.

aiokafka's own commit resets the member on every answer of another generation. Its commits share a connection with its
JoinGroup, and a broker answers a connection in order: a commit sent while the group is joined is looked at when the new
generation is there, refused as of the old one, and throws the member out of the group it has just joined. Its place there
then has to time out, the next join waits for that, and the commits sent meanwhile do the same again, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka import errors
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.structs import TopicPartition


class NotTakenError(Exception):
    """The group does not take the offsets, or cannot be asked now; the text says why."""


class Membership(NamedTuple):
    """What the group knows us by, from one rebalance to the next."""

    generation: int
    member_id: str


def membership_of(coordinator: Any) -> Membership:
    """Return the membership an aiokafka coordinator has; raises NotTakenError while it has none or is joining."""
    if coordinator.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID or coordinator.need_rejoin(coordinator._subscription.subscription):
        raise NotTakenError("the group is rebalancing")
    return Membership(coordinator.generation, coordinator.member_id)


async def commit_as(member: Membership, coordinator: Any, offsets: Mapping[TopicPartition, int]) -> None:
    """Commit offsets as this member; raises NotTakenError, KafkaError. Heartbeats alone decide whether we are a member."""
    by_topic: dict[str, list[tuple[int, int, str]]] = {}
    for tp, offset in offsets.items():
        by_topic.setdefault(tp.topic, []).append((tp.partition, offset, ""))
    await coordinator.ensure_coordinator_known()
    answer = await coordinator._send_req(OffsetCommitRequest(coordinator.group_id, *member, OffsetCommitRequest.DEFAULT_RETENTION_TIME, list(by_topic.items())))
    refused = {errors.for_code(code).__name__ for _topic, partitions in answer.topics for _partition, code in partitions if code}
    if refused:
        raise NotTakenError(", ".join(sorted(refused)))


async def leave(coordinator: Any) -> None:
    """Leave the group and stay out of it. aiokafka's own way out waits for a join under way, which may wait for us."""
    if not coordinator._closing.done():
        coordinator._closing.set_result(None)
    await coordinator._maybe_leave_group()
