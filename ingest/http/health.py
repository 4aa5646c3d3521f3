"""Whether the process lives, and whether it should be given requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ingest.http.errors import Problem, ProblemType, json_body
from ingest.http.messages import JSON, Answer, Request, Response
from ingest.http.metrics import CONTENT_TYPE, text_of
from ingest.http.routes import Route

if TYPE_CHECKING:
    from ingest.gateway import Gateway


class Health(msgspec.Struct, frozen=True):
    """`ok`: this process answers."""

    status: str = "ok"


_OK = json_body(Health())
_HEADERS = [JSON, ("cache-control", "no-store")]


async def livez(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001 (every handler takes both)
    """The process answers."""
    return Response(200, _OK, _HEADERS)


async def readyz(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """Orders can be taken now: it is not stopping, it has IDs to give, and the brokers acknowledge."""
    reason = await gateway.unready()
    if reason:
        raise Problem(ProblemType.UNAVAILABLE, reason, retry_after_s=1)
    return Response(200, _OK, _HEADERS)


async def metrics(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """Figures of this process, for Prometheus."""
    return Response(200, text_of(gateway.registry), [("content-type", CONTENT_TYPE)])


ROUTES = (
    Route("GET", "/livez", livez, "Whether the process lives", answers={200: Health}, tag="operation"),
    Route("GET", "/readyz", readyz, "Whether it can take orders now", answers={200: Health}, problems=(ProblemType.UNAVAILABLE,), tag="operation"),
    Route("GET", "/metrics", metrics, "Figures for Prometheus", answers={200: {"type": "string"}}, answer_type="text/plain", tag="operation"),
)
