"""What can go wrong on the way into the log; every text says what, where and what to do."""

from __future__ import annotations

from schemas.outcomes import Refusal


class IngestError(Exception):
    """Anything that a caller of `ingest` has to be told."""


class ConfigError(IngestError):
    """A setting that cannot be used."""


class InvalidRequestError(IngestError, ValueError):
    """An order or command that may not be sent. `field` names what is wrong, for example `lines[2].quantity`."""

    def __init__(self, field: str, value: object, why: str, refusal: Refusal) -> None:
        shown = repr(value)
        super().__init__(f"{field} is {shown if len(shown) <= 80 else shown[:77] + '...'}: {why}")
        self.field = field
        self.refusal = refusal


class PublishError(IngestError):
    """The brokers did not acknowledge a record. It may be in the log all the same: publish it again under the same ID."""


class BrokerUnavailableError(PublishError):
    """No broker answered in time."""


class MovingError(PublishError):
    """The number of partitions is being changed: nothing is taken for some seconds. What was refused was not sent; what was under way may be in the log."""


class RecordTooLargeError(PublishError):
    """A record is larger than its topic takes. Nothing of it was sent."""


class TopicMissingError(PublishError):
    """A topic of the pipeline does not exist."""


class StoreError(IngestError):
    """The database did not do what was asked."""


class IdError(IngestError):
    """No order ID can be given out now. `retry_after_s`: when asking again may help; None: a person has to act."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ClockError(IdError):
    """The clock is before the epoch, beyond the last ms of the format, or stepped back too far."""


class LeaseError(IdError):
    """No worker number is leased now: none is free, or the lease could not be renewed."""


class FileError(IngestError):
    """A file that cannot be loaded as it is: missing, cut short, not the expected CSV."""


class LoadError(IngestError):
    """A load that cannot go on: another one is running, the file has changed, no worker takes the opening stock."""
