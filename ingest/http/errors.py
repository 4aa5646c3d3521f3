"""What the gateway answers when it does not do what was asked: RFC 9457 problems, each type named once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgspec

from ingest.errors import IdError, IngestError, InvalidRequestError, MovingError, PublishError, RecordTooLargeError, StoreError
from ingest.http.messages import Headers, Response

MEDIA_TYPE: Final = "application/problem+json"
PREFIX: Final = "/problems/"
"""A type is this and its name; the gateway describes it there."""


@dataclass(frozen=True)
class Kind:
    """A type of problem: its status, its title, and what to do."""

    status: int
    title: str
    advice: str


class ProblemType(Enum):
    """Every type, by its name in the `type` member. Names and statuses are part of the API: never change one."""

    MALFORMED_REQUEST = Kind(400, "The request cannot be read", "Send well-formed JSON in UTF-8, and parameters as the documentation names them.")
    UNAUTHENTICATED = Kind(401, "No valid API key", "Send `Authorization: Bearer KEY`; a key is made with `holdfast keys create`.")
    FORBIDDEN = Kind(403, "The API key does not allow this", "Use a key with the scope that `detail` names, and your own user.")
    NOT_FOUND = Kind(404, "There is no such thing", "Check the path and the ID. An order can be read once it is decided.")
    METHOD_NOT_ALLOWED = Kind(405, "Not with this method", "The `Allow` header says which methods there are.")
    REQUEST_TIMEOUT = Kind(408, "The request took too long to arrive", "Send the whole body without pauses.")
    REQUEST_IN_FLIGHT = Kind(409, "A request with this Idempotency-Key is being worked on", "Repeat the request after `Retry-After` seconds.")
    TOO_LARGE = Kind(413, "The body is too large", "Send less at once; `detail` says how much is taken.")
    UNSUPPORTED_MEDIA_TYPE = Kind(415, "Not in this media type", "Send `Content-Type: application/json`.")
    INVALID_REQUEST = Kind(422, "The request asks for what cannot be", "`errors` says which member is wrong and why.")
    KEY_REUSED = Kind(422, "This Idempotency-Key stands for another request", "Use a new key for a new request.")
    TOO_MANY_REQUESTS = Kind(429, "Too many requests", "Repeat the request after `Retry-After` seconds.")
    INTERNAL = Kind(500, "A fault of ours", "Report the `trace_id`. The same request with the same Idempotency-Key is safe to repeat.")
    NOT_IMPLEMENTED = Kind(501, "Not offered here", "Leave out what `detail` names.")
    OVERLOADED = Kind(503, "More is asked than can be done now", "Nothing was done. Repeat the request after `Retry-After` seconds.")
    NOT_ACKNOWLEDGED = Kind(503, "The log did not acknowledge in time", "It may have been done: repeat the request with the same Idempotency-Key.")
    NOT_YET = Kind(503, "That version cannot be read yet", "Repeat the request after `Retry-After` seconds, or ask for an earlier version.")
    UNAVAILABLE = Kind(503, "A store does not answer now", "Repeat the request after `Retry-After` seconds.")

    @property
    def slug(self) -> str:
        """Its name in URLs."""
        return self.name.lower().replace("_", "-")

    @property
    def uri(self) -> str:
        """The `type` member: a reference to the page that describes it."""
        return PREFIX + self.slug


class FieldError(msgspec.Struct, frozen=True):
    """One wrong member of a body: a JSON pointer to it, what is wrong, and the code of schemas/outcomes.py where there is one."""

    pointer: str
    detail: str
    code: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every answer of 400 and above (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str = ""
    errors: tuple[FieldError, ...] = ()


@dataclass
class Problem(Exception):  # noqa: N818 (the RFC's word)
    """Raised by a handler instead of an answer. `detail` names what, where and what to do; it holds no secret."""

    kind: ProblemType
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Headers = field(default_factory=list)
    retry_after_s: float | None = None

    def body(self, trace_id: str = "") -> ProblemBody:
        """Return the problem as the RFC's object."""
        return ProblemBody(self.kind.uri, self.kind.value.title, self.kind.value.status, self.detail, trace_id, self.errors)

    def response(self, trace_id: str) -> Response:
        """Return the whole answer."""
        own = [("content-type", MEDIA_TYPE), ("cache-control", "no-store"), *self.headers]
        if self.retry_after_s is not None:
            own.append(("retry-after", str(max(1, math.ceil(self.retry_after_s)))))
        return Response(self.kind.value.status, msgspec.json.encode(self.body(trace_id)), own)


def problem_of(error: IngestError) -> Problem:
    """Return what an error of the way into the log means to a client."""
    if isinstance(error, InvalidRequestError):
        return invalid(pointer_of(error.field), str(error), error.refusal.name)
    if isinstance(error, RecordTooLargeError):
        return Problem(ProblemType.TOO_LARGE, str(error))
    if isinstance(error, MovingError):
        return Problem(ProblemType.NOT_ACKNOWLEDGED, "the number of partitions is being changed; it may be in the log all the same", retry_after_s=2)
    if isinstance(error, PublishError):
        return Problem(ProblemType.NOT_ACKNOWLEDGED, "the brokers did not acknowledge in time; it may be in the log all the same", retry_after_s=1)
    if isinstance(error, IdError):
        return Problem(ProblemType.UNAVAILABLE, "no order ID can be given out now", retry_after_s=error.retry_after_s or 5)
    what = "a store does not answer" if isinstance(error, StoreError) else "this gateway cannot work as it is set up"
    return Problem(ProblemType.UNAVAILABLE, what, retry_after_s=1)


def invalid(pointer: str, detail: str, code: str = "") -> Problem:
    """Return the problem of one wrong member of a body."""
    return Problem(ProblemType.INVALID_REQUEST, detail, (FieldError(pointer, detail, code),))


def pointer_of(path: str) -> str:
    """Return the JSON pointer (RFC 6901) of a path such as `lines[2].quantity` or `$.lines[2].quantity`."""
    steps = path.removeprefix("$").replace("[", ".").replace("]", "").split(".")
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps if step)


def malformed(detail: str) -> Problem:
    """Return the problem of a request that cannot be read."""
    return Problem(ProblemType.MALFORMED_REQUEST, detail)


def json_body(document: Any) -> bytes:
    """Encode what a handler answers."""
    return msgspec.json.encode(document)
