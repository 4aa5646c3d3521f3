"""How a task's transaction ends: committed, aborted, or in such a way that only a new producer can go on.

A commit whose answer is lost may have happened or not. It is never guessed: the broker is asked again with the same
transaction, or the task reopens. Opening completes or aborts whatever the ID had under way, and the changelog then says which.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

import failpoints
from streams.runtime.clients import REQUEST_SECONDS
from telemetry import figures

log = structlog.get_logger("holdfast.runtime")

_FENCED: Final = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
_BROKEN: Final = (KafkaError._STATE, KafkaError._FATAL, *_FENCED)
_PERMANENT: Final = frozenset(
    {
        *(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED),
        *(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION, KafkaError._SSL),
        *(KafkaError.UNSUPPORTED_VERSION, KafkaError.INVALID_TRANSACTION_TIMEOUT, KafkaError.INVALID_CONFIG, KafkaError._INVALID_ARG, *_BROKEN),
    }
)
"""What the same call will meet again. Of everything else a broker that comes back has more kinds than a list would hold."""


class Ending(Enum):
    COMMITTED = "committed"
    ABORTED = "aborted"
    BROKEN = "broken"  # the producer is of no use any more; a new one under the same ID fences it


class FencedError(RuntimeError):
    """Another producer has the task's ID: another worker's, or the brokers have lost patience with a transaction (they fence its
    producer in the same way). Whatever this task holds is worth nothing; whether it is still its to hold, the group knows."""


def commit(producer: Producer, name: str) -> Ending:
    """Commit the transaction under way of task `name`; asks as long as the answer may still come. Raises FencedError."""
    _reach(name, "committing")
    while True:
        try:
            with failpoints.meanwhile(_step(name, "commit-sent")):
                producer.commit_transaction(REQUEST_SECONDS)
            _reach(name, "committed")
            return _count(name, Ending.COMMITTED)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            if error.txn_requires_abort():
                return abort(producer, name, str(error))
            if not error.retriable():
                return _broken(name, exception)
            log.warning("commit not answered, asking again", task=name, error=str(error))


def abort(producer: Producer, name: str, why: str) -> Ending:
    """Undo the transaction under way of task `name`, whose rows are thrown away by the reopening that follows. Raises FencedError."""
    log.warning("transaction aborted, task reopens", task=name, error=why)
    _reach(name, "aborting")
    while True:
        try:
            producer.abort_transaction(REQUEST_SECONDS)
            _reach(name, "aborted")
            return _count(name, Ending.ABORTED)
        except KafkaException as exception:
            if not exception.args[0].retriable():
                return _broken(name, exception)


def _broken(name: str, exception: KafkaException) -> Ending:
    """A broker that was killed may not know of the transaction: librdkafka's producer is then good for nothing, but nobody else owns the partition."""
    if is_fenced(exception):
        figures.TRANSACTIONS.labels(_stage(name), "fenced").inc()
        raise FencedError(f"the producer of task {name} is fenced") from exception
    log.warning("the producer is broken, task reopens with another", task=name, error=str(exception.args[0]))
    return _count(name, Ending.BROKEN)


def _count(name: str, ending: Ending) -> Ending:
    figures.TRANSACTIONS.labels(_stage(name), ending.value).inc()
    return ending


def is_fenced(exception: Exception) -> bool:
    """Whether another producer has taken the ID."""
    return isinstance(exception, FencedError) or (isinstance(exception, KafkaException) and exception.args[0].code() in _FENCED)


def is_broken(exception: KafkaException) -> bool:
    """Whether a producer refuses to go on with its transaction: it has failed in the background. Anything else is a bug."""
    error: KafkaError = exception.args[0]
    return bool(error.fatal() or error.txn_requires_abort()) or error.code() in _BROKEN


def is_passing(exception: Exception) -> bool:
    """Whether the same call may do later: the brokers could not be reached, or have not come to themselves yet."""
    return isinstance(exception, KafkaException) and exception.args[0].code() not in _PERMANENT and not exception.args[0].fatal()


def _stage(name: str) -> str:
    return name.partition(".")[0]


def _step(name: str, step: str) -> str:
    return f"{_stage(name)}.{step}"


def _reach(name: str, step: str) -> None:
    failpoints.reach(_step(name, step))
