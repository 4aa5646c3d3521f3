"""Looks at the cluster every few seconds, from a thread of its own: are the topics still those the tasks know, does every reader read?

A reader may fall silent without an error, and a topic may be deleted and made again under a running worker: neither shows in what
the tasks do. How long the brokers have been answering is known here too: while they are away nobody gets on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaException

from streams.runtime.brokers import Brokers
from streams.runtime.clients import InputTopic, MisconfiguredError
from streams.runtime.exits import end_process
from streams.runtime.shared import TaskState
from streams.runtime.task import Task
from telemetry import figures

log = structlog.get_logger("holdfast.runtime")
LOOK_SECONDS: Final = 3.0
QUIET_SECONDS: Final = 8.0
"""Brokers that have not answered for so long are away."""


class Silence:
    """Since when a task's reader stands before records that are there to be read. Pure but for the time it is told."""

    def __init__(self) -> None:
        self._stands: dict[str, tuple[Mapping[str, int], float]] = {}

    def note(self, task: str, reached: Mapping[str, int], ends: Mapping[str, int], now: float) -> float:
        """Return for how many seconds the reader of a task has not moved although there is something before it."""
        behind = any(ends.get(topic, 0) > offset for topic, offset in reached.items())
        if not behind or self._stands.get(task, ({}, 0.0))[0] != reached:
            self._stands[task] = (dict(reached), now)
        return now - self._stands[task][1]

    def forget(self, task: str | None = None) -> None:
        """Begin anew, with one task or with all of them."""
        if task is None:
            self._stands.clear()
        else:
            self._stands.pop(task, None)


class Inspector:
    """One per worker."""

    def __init__(self, tasks: Callable[[], list[Task]], brokers: Brokers) -> None:
        self._tasks = tasks
        self._brokers = brokers
        self._silence = Silence()
        self._answered_since = self._answered_at = float("-inf")
        """When the brokers began to answer without a break, and when they last did (monotonic)."""

    def answered_for(self, now: float) -> float:
        """Return for how many seconds the brokers have been answering; 0 while they do not."""
        return now - self._answered_since if now - self._answered_at < QUIET_SECONDS else 0.0

    def _note_answer(self, now: float) -> None:
        if now - self._answered_at >= QUIET_SECONDS:
            self._answered_since = now
            self._silence.forget()
        self._answered_at = now

    def start(self) -> None:
        threading.Thread(target=self._look_after, name="inspector", daemon=True).start()

    def _look_after(self) -> None:
        while True:
            try:
                self.look()
            except MisconfiguredError as error:
                end_process(error.exit_code, str(error))
            except KafkaException as error:
                log.info("brokers do not answer", error=str(error))
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Ask the brokers once, and note what concerns each task. Raises KafkaException and MisconfiguredError."""
        self._brokers.check_generation()
        found = self._brokers.topics()
        for task in self._tasks():
            check_unchanged(task.name, task.topics, found)
            if task.state is not TaskState.READING:
                self._silence.forget(task.name)
                task.silent = 0.0
        # Before the ends are asked for: what comes in between is no silence.
        reached = {task: task.read_to() for task in self._tasks() if task.state is TaskState.READING}
        ends = self._brokers.stable_ends({(topic, task.place.partition) for task, at in reached.items() for topic in at})
        now = time.monotonic()
        self._note_answer(now)
        _show_lag(reached, ends)
        for task, at in reached.items():
            task.silent = self._silence.note(task.name, at, {topic: ends[topic, task.place.partition] for topic in at}, now)


def _show_lag(reached: Mapping[Task, Mapping[str, int]], ends: Mapping[tuple[str, int], int]) -> None:
    """Say how many offsets each task has before it, and how old the last one is that it has read."""
    for task, at in reached.items():
        for topic, offset in at.items():
            behind = max(0, ends[topic, task.place.partition] - offset)
            figures.LAG_RECORDS.labels(task.kind.name, topic, task.place.partition).set(behind)
            figures.LAG_SECONDS.labels(task.kind.name, topic, task.place.partition).set(task.behind_s(topic) if behind else 0.0)
        figures.ROWS.labels(task.kind.name, task.place.partition).set(task.stage.rows.count_all())


def check_unchanged(task: str, known: Mapping[str, InputTopic], found: Mapping[str, InputTopic]) -> None:
    """Raise MisconfiguredError if a topic is not the one that the task opened."""
    for topic, before in known.items():
        if found[topic] != before:
            raise MisconfiguredError(
                f"task {task}: topic {topic} changed under the running worker (ID {before.topic_id}, {before.partitions} partitions; now "
                f"{found[topic].topic_id}, {found[topic].partitions}): it was deleted and made again, or partitions were added. Nothing is decided from "
                "it any more: restore the topic from a copy, or start a new shop under another HOLDFAST_TOPIC_PREFIX"
            )
