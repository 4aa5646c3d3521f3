"""Which media types a route takes."""

from __future__ import annotations

from typing import Final

from ingest.http.errors import Problem, ProblemType, malformed
from ingest.http.messages import Request

NDJSON: Final = "application/x-ndjson"
_LINES: Final = frozenset(
    {NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json", "application/octet-stream", "text/plain"}
)


def text_of(request: Request, name: str) -> str | None:
    """Return a header, None where there is none; raises Problem (400) for one that is no text, which the server passes over."""
    said = request.headers.get(name)
    if said is None and name in request.headers:
        raise malformed(f"the header {name} holds bytes that are not visible ASCII")
    return said


def check_json(request: Request) -> None:
    """Raise the 415 of a body that says it is something else; one that says nothing is taken for JSON."""
    said = request.headers.get("content-type")
    if said is None or said == "application/json":
        return
    media = _media(said)
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise _unsupported(said, "application/json")


def check_lines(request: Request) -> None:
    """Raise the 415 of a body that is not one JSON value a line."""
    said = request.headers.get("content-type")
    if said is not None and _media(said) not in _LINES:
        raise _unsupported(said, NDJSON)


def _media(said: str) -> str:
    return said.partition(";")[0].strip().lower()


def _unsupported(said: str, wanted: str) -> Problem:
    return Problem(ProblemType.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {said[:80]!r}: send {wanted}", headers=[("accept", wanted)])
