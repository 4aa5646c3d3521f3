"""NDJSON as it comes in: pieces of any size become parts of whole lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ingest.http.errors import Problem, ProblemType


async def parts_of(pieces: AsyncIterator[bytes], most_line: int) -> AsyncIterator[bytes]:
    """Yield bytes that end with a line each; the last line may lack its end. Raises Problem for a line of over `most_line` bytes.

    What came in together stays together: nothing is held back that could be answered.
    """
    rest: list[bytes] = []
    size = 0
    async for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, piece[:end]])
            rest, size = [], 0
        if end < len(piece):
            rest.append(piece[end:])
            size += len(piece) - end
        if size > most_line:
            raise Problem(ProblemType.TOO_LARGE, f"a line has at most {most_line:,} bytes; nothing from this line on was read")
    if rest:
        yield b"".join(rest)
