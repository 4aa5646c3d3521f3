"""Which generation of the topics a producer writes to: looked up at the start, then followed by a thread."""

from __future__ import annotations

import threading
import weakref
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from generations import History, Watch
from schemas.topics import Topic

LOOK_EVERY_S: Final = 1.0


SPAN: Final = 2**48
"""More offsets than a partition will have."""


class Where(NamedTuple):
    """A topic of the generation in use. `base` is added to its offsets, so that what comes later is always further on, whatever the generation."""

    topic: str
    base: int = 0


class Generation:
    """The generation in use. `prefix` and `is_moving` never wait but for the first look; where the brokers do not answer, the last answer counts."""

    def __init__(self, kafka: str, root: str) -> None:
        self._watch = Watch(kafka, root)
        self._history = History(root)
        self._looked = False
        self._again = threading.Event()
        self._lock = threading.Lock()

    @property
    def prefix(self) -> str:
        """What goes before the topics' names."""
        return self._known().prefix

    def where(self, topic: Topic) -> Where:
        """Return where a topic is read now."""
        known = self._known()
        return Where(topic.named(known.prefix), (known.number - 1) * SPAN)

    @property
    def is_moving(self) -> bool:
        """Whether nothing is to be written now."""
        return self._known().moving is not None

    def look_again(self) -> None:
        """Look soon: somebody was refused. Never waits."""
        self._again.set()

    def _known(self) -> History:
        if not self._looked:
            with self._lock:
                if not self._looked:
                    self._begin()
        return self._history

    def _begin(self) -> None:
        self.look()
        self._looked = True
        threading.Thread(target=_follow, args=(weakref.ref(self), self._again), name="generations", daemon=True).start()

    def look(self) -> None:
        """Look now."""
        try:
            self._history = self._watch.look()
        except KafkaException:
            return  # whoever writes finds out soon enough that the brokers do not answer


def _follow(generation: weakref.ref[Generation], again: threading.Event) -> None:
    """Look every second for as long as anybody holds the generation."""
    while (held := generation()) is not None:
        held.look()
        del held
        again.wait(LOOK_EVERY_S)
        again.clear()
