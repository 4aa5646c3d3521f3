"""The table of routes: what each asks for and answers. Routing, access, metrics and the OpenAPI document read it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Answer, Request
from ingest.http.seams import Scope

if TYPE_CHECKING:
    from ingest.gateway import Gateway

Handler: TypeAlias = "Callable[[Gateway, Request], Awaitable[Answer]]"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query, a path or a header, for the OpenAPI document. `schema` is its JSON schema."""

    name: str
    where: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True)
class Route:
    """One operation. `path` has `{name}` for each parameter; a product ID may hold slashes. One of `scopes` is enough; none: open to all.

    `sheds`: refused when the way into the log is nearly full. `body` and `answers` (by status) are
    msgspec structs or JSON schemas; `problems` are those beyond what every route may answer.
    `headers` are those of good answers; a route without a `tag` is not in the OpenAPI document.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scopes: tuple[Scope, ...] = ()
    description: str = ""
    body: Any = None
    body_type: str = "application/json"
    answers: Mapping[int, Any] = field(default_factory=dict)
    answer_type: str = "application/json"
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[ProblemType, ...] = ()
    tag: str = "orders"
    sheds: bool = False
    body_required: bool = True
    headers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in logs and metrics."""
        return f"{self.method} {self.path}"


class RouteTable:
    """Finds the route of a method and a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            if "{" not in route.path:
                self._fixed.setdefault(route.path, {})[route.method] = route
            else:
                patterns.setdefault(route.path, (_pattern(route.path), {}))[1][route.method] = route
        # The longer template is the more particular one: /v1/products/{id}/restock before /v1/products/{id}.
        self._patterns = [patterns[path] for path in sorted(patterns, key=lambda path: -path.count("/"))]

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and the path's parameters; raises Problem NOT_FOUND or METHOD_NOT_ALLOWED."""
        method = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        fixed = self._fixed.get(path)
        if fixed is not None:
            if method in fixed:
                return fixed[method], {}
            allowed.update(fixed)
        for pattern, by_method in self._patterns:
            if found := pattern.fullmatch(path):
                if method in by_method:
                    return by_method[method], found.groupdict()
                # Of several the most particular: others are for product IDs with slashes.
                allowed = allowed or set(by_method)
        if allowed:
            allow = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
            raise Problem(ProblemType.METHOD_NOT_ALLOWED, f"{method[:20]} is not for this path: use {allow}", headers=[("allow", allow)])
        raise Problem(ProblemType.NOT_FOUND, "there is nothing at this path; /openapi.json lists what there is")


def up_to(most: int) -> str:
    """Return JSON schema's pattern of the decimal numbers from 1 to `most`, without leading zeroes: for numbers that go as strings."""
    digits = str(most)
    shorter = f"[1-9][0-9]{{0,{len(digits) - 2}}}"
    below = (_below(digits, at) for at in range(len(digits)) if int(digits[at]) > (at == 0))
    return f"^({'|'.join((shorter, *below, digits))})$"


def _below(digits: str, at: int) -> str:
    """The numbers of as many digits that are the same before one digit, and smaller in it."""
    return f"{digits[:at]}[{int(at == 0)}-{int(digits[at]) - 1}][0-9]{{{len(digits) - at - 1}}}"


def _pattern(path: str) -> re.Pattern[str]:
    """The server has decoded %2F already, so a product ID takes all there is between its neighbours."""
    parts = _PARAMETER.split(path)
    names = {"product_id": ".+"}
    return re.compile("".join(f"(?P<{part}>{names.get(part, '[^/]+')})" if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL)
