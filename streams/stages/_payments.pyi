from typing import Any, Final

from streams.stages.plain_way import Way

VERSION: Final[int]

def PlainWay(stage: Any) -> Way: ...  # noqa: N802 - a class, of which no more than this is known
