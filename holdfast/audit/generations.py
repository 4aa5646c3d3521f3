"""The generations of the topics (docs/decisions/0017-generations.md) as one history: their partitions are numbered through. Pure.

With 8 partitions in the first and 24 in the second generation, 0 to 7 are those of the first, 8 to 31 those of the second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from holdfast.audit.murmur import order_partition, product_partition
from holdfast.audit.table import Place
from schemas.topics import ALL


class Generation(NamedTuple):
    """One generation: what goes before its topics' names, how many partitions they have, and the number of the first of these."""

    prefix: str
    partitions: int
    base: int


class Generations:
    """All of them, the oldest first; there is at least one."""

    def __init__(self, counts: Iterable[tuple[str, int]]) -> None:
        found, base = list[Generation](), 0
        for prefix, partitions in counts:
            found.append(Generation(prefix, partitions, base))
            base += partitions
        self.all: Final[Sequence[Generation]] = found
        self.total: Final = base
        self._bases = [generation.base for generation in found]
        self._topics = {topic.named(generation.prefix): (topic.name, generation) for generation in found for topic in ALL}

    def of(self, partition: int) -> Generation:
        """Return the generation of a partition; -1: the last one."""
        return self.all[-1] if partition < 0 or len(self.all) == 1 else self.all[bisect_right(self._bases, partition) - 1]

    def home_of_order(self, order_id: int, near: int = -1) -> int:
        """Return the partition of an order in the generation of the partition `near`."""
        generation = self.of(near)
        return generation.base + order_partition(order_id, generation.partitions)

    def home_of_product(self, product_id: str, near: int = -1) -> int:
        """Return the partition of a product in the generation of the partition `near`."""
        generation = self.of(near)
        return generation.base + product_partition(product_id, generation.partitions)

    def numbered(self, topic: str, partition: int) -> tuple[str, int]:
        """Return a topic's name without prefix, and the number of one of its partitions, for its name on the brokers; others as they are."""
        if topic not in self._topics:
            return topic, partition
        name, generation = self._topics[topic]
        return name, partition + generation.base if partition >= 0 else partition

    def shown(self, place: Place) -> Place:
        """Return a place by the topic's and partition's own names; places elsewhere as they are."""
        first = self.all[0].prefix
        if len(self.all) == 1 or (first + place.topic.removeprefix(first)) not in self._topics or place.partition < 0:
            return place
        generation = self.of(place.partition)
        return place._replace(topic=generation.prefix + place.topic.removeprefix(first), partition=place.partition - generation.base)
