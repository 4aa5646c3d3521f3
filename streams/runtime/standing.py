"""How far a task is, for whoever asks: the meters of lag, the inspector, the figures."""

from __future__ import annotations

from streams.runtime.batch import Batch
from streams.runtime.clients import Reader
from streams.runtime.records import Stage
from streams.runtime.shared import Shared, TaskState


class Standing:
    """What a task says of itself."""

    state: TaskState
    position: dict[str, int]
    stage: Stage
    _shared: Shared
    _reader: Reader | None
    _outstanding: Batch | None

    def has_lag(self) -> bool:
        """Whether there is something to do: a batch outstanding, or the task is still opening."""
        return self.state not in (TaskState.READING, TaskState.CLOSED)

    def reached(self) -> dict[str, int]:
        """Return topic -> offset before which everything is decided: the position, or the end if nothing is outstanding, here or outside."""
        reader = self._reader
        reached = reader.reached if reader is not None and reader.cursor == self.position and self._outstanding is None else self.position
        return {**reached, **self.stage.held_back()}

    def read_to(self) -> dict[str, int]:
        """Return topic -> offset before which the reader has read, transaction markers at the end included."""
        return dict(self._reader.reached) if self._reader is not None else {}

    def behind_s(self, topic: str) -> float:
        """Return how long ago the last record read of an input was written; 0 where nothing was read yet."""
        written_at = self._reader.written_at(topic) if self._reader is not None else 0
        return max(0.0, (self._shared.clock.now_ms() - written_at) / 1000) if written_at else 0.0
