"""`GET /v1/orders...` and `GET /v1/products...`: what the stores know, with its version and its age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ingest.http.bodies import NO_ZERO
from ingest.http.errors import Problem, ProblemType, json_body, malformed
from ingest.http.messages import JSON, Answer, Request, Response
from ingest.http.order_commands import ORDER_ID, order_id_of
from ingest.http.routes import Parameter, Route
from ingest.http.seams import Scope
from ingest.http.stock import PRODUCT_ID, product_id_of
from ingest.order_ids import clock_ms
from ingest.reads.documents import OrderPage, OrderView, Products, ProductView, accepted_document
from schemas.outcomes import MAX_ID_LENGTH

if TYPE_CHECKING:
    from ingest.gateway import Gateway

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
MAX_IDS: Final = 100
MAX_VERSION: Final = 2**63 - 1
_IDS_PATTERN: Final = f"^[^,\\u0000]{{1,{MAX_ID_LENGTH}}}(,[^,\\u0000]{{1,{MAX_ID_LENGTH}}}){{0,{MAX_IDS - 1}}}$"
_FRESH: Final = ("cache-control", "private, no-cache")
"""May be kept by the client, if it asks with the ETag before each use."""
_UNKEPT: Final = ("cache-control", "no-store")

MIN_VERSION: Final = Parameter(
    "min_version",
    "query",
    "Answer with this version or a newer one, waited for a moment: so that who wrote reads what was written.",
    {"type": "integer", "minimum": 0, "maximum": MAX_VERSION, "default": 0},
)
IF_NONE_MATCH: Final = Parameter("If-None-Match", "header", "ETags of versions that the client has: answers 304 if one is still right.", {"type": "string"})
USER: Final = Parameter(
    "user",
    "query",
    "Whose orders. Needed with a key that acts for every user.",
    {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": NO_ZERO},
)
LIMIT: Final = Parameter("limit", "query", "Orders per page.", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT})
CURSOR: Final = Parameter("cursor", "query", "`next_cursor` of the page before.", {"type": "string", "minLength": 1})
IDS: Final = Parameter(
    "ids",
    "query",
    f"Up to {MAX_IDS} product IDs with commas between. One that holds a comma has to be read by itself.",
    {"type": "string", "pattern": _IDS_PATTERN, "examples": ["22423,85123A"]},
    required=True,
)


async def order(gateway: Gateway, request: Request) -> Answer:
    """Read one order; whoever may see their own alone does not learn whether another's exists."""
    order_id = order_id_of(request)
    least = number_of(query_of(request, (MIN_VERSION.name,)), MIN_VERSION)
    caller = request.caller
    user = None if caller.may(Scope.ADMIN) else caller.user
    found = await gateway.reads.order(order_id, least, user)
    if found is not None:
        return versioned(request, found)
    placed_by = await gateway.owners.find(order_id)
    if placed_by is None or user not in (None, placed_by):
        raise Problem(ProblemType.NOT_FOUND, f"order {order_id} is not known")
    return Response(200, json_body(accepted_document(order_id, placed_by, clock_ms())), [JSON, _UNKEPT])


async def orders(gateway: Gateway, request: Request) -> Answer:
    """Read a page of a user's orders, newest first."""
    said = query_of(request, (USER.name, LIMIT.name, CURSOR.name))
    user = said.get("user", request.caller.user)
    if user is None or not 1 <= len(user) <= MAX_ID_LENGTH or "\0" in user:
        raise malformed(f"`user` says whose orders: 1 to {MAX_ID_LENGTH} characters")
    request.caller.check_user(user)
    found, cursor = await gateway.reads.orders_of(user, number_of(said, LIMIT), said.get("cursor"))
    return Response(200, json_body({"orders": found, "next_cursor": cursor}), [JSON, _UNKEPT])


async def product(gateway: Gateway, request: Request) -> Answer:
    """Read one product's stock."""
    product_id = product_id_of(request)
    # Most reads have no query, and this is the busiest route there is.
    least = number_of(query_of(request, (MIN_VERSION.name,)), MIN_VERSION) if request.query_string else 0
    found = await gateway.reads.product(product_id, least)
    if found is None:
        raise Problem(ProblemType.NOT_FOUND, f"no stock of product {product_id[:80]!r} was ever booked (IDs are case-sensitive)")
    return versioned(request, found)


async def products(gateway: Gateway, request: Request) -> Answer:
    """Read the stock of several products."""
    ids = ids_of(query_of(request, (IDS.name,)).get(IDS.name, ""))
    found = await gateway.reads.products(ids)
    document = {"products": [found[x] for x in ids if x in found], "missing": [x for x in ids if x not in found]}
    return Response(200, json_body(document), [JSON, _UNKEPT])


def query_of(request: Request, names: Iterable[str]) -> dict[str, str]:
    """Return the query's parameters; raises Problem (400) for one that is not named here, is there twice, or is no UTF-8."""
    try:
        found = request.query()
    except ValueError:
        raise malformed("the query cannot be read: percent-encode it in UTF-8") from None
    if unknown := found.keys() - set(names):
        raise malformed(f"there is no query parameter {min(unknown)[:40]!r} here: there is {', '.join(names)}")
    if twice := [name for name, values in found.items() if len(values) > 1]:
        raise malformed(f"the query has {twice[0]} more than once")
    return {name: values[0] for name, values in found.items()}


def number_of(said: Mapping[str, str], parameter: Parameter) -> int:
    """Return a whole number of the query, or its default; raises Problem (400)."""
    least, most, default = (int(parameter.schema[name]) for name in ("minimum", "maximum", "default"))
    text = said.get(parameter.name, str(default))
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise malformed(f"`{parameter.name}` is {text[:40]!r}: it is a whole number from {least} to {most}")


def ids_of(text: str) -> list[str]:
    """Return the product IDs of a query, each once; raises Problem (400)."""
    ids = list(dict.fromkeys(text.split(",")))
    if not all(1 <= len(x) <= MAX_ID_LENGTH and "\0" not in x for x in ids) or len(ids) > MAX_IDS:
        raise malformed(f"`ids` has 1 to {MAX_IDS} product IDs of 1 to {MAX_ID_LENGTH} characters, with commas between")
    return ids


def versioned(request: Request, document: Mapping[str, Any]) -> Response:
    """Return a document with its version as ETag, or a 304. Weak: the age changes, what it is the age of does not."""
    tag = f'W/"{document["version"]}"'
    known = request.headers.get("if-none-match")
    if known is not None and matches(known, tag):
        return Response(304, b"", [("etag", tag), _FRESH])
    return Response(200, json_body(document), [JSON, ("etag", tag), _FRESH])


def matches(known: str, tag: str) -> bool:
    """Say whether If-None-Match names the tag, by RFC 9110's weak comparison."""
    return known.strip() == "*" or tag.removeprefix("W/") in {each.strip().removeprefix("W/") for each in known.split(",")}


_PROBLEMS: Final = (ProblemType.MALFORMED_REQUEST, ProblemType.NOT_FOUND, ProblemType.UNAVAILABLE, ProblemType.NOT_YET)
_LISTED: Final = (ProblemType.MALFORMED_REQUEST, ProblemType.UNAVAILABLE)
_STOCK: Final = (Scope.READ, Scope.STOCK, Scope.PLACE)
_AGE: Final = "`age_ms` is the time since the change that made this version happened. "
ROUTES: Final = (
    Route(
        "GET",
        "/v1/orders/{order_id}",
        order,
        "Read an order",
        (Scope.READ,),
        _AGE + "An order that was placed and is not decided yet is `accepted`, with version 0.",
        answers={200: OrderView, 304: None},
        parameters=(ORDER_ID, MIN_VERSION, IF_NONE_MATCH),
        problems=_PROBLEMS,
        headers=("ETag",),
    ),
    Route(
        "GET",
        "/v1/orders",
        orders,
        "Read a user's orders",
        (Scope.READ,),
        "Decided orders, newest first, by the time they were placed.",
        answers={200: OrderPage},
        parameters=(USER, LIMIT, CURSOR),
        problems=_LISTED,
    ),
    Route(
        "GET",
        "/v1/products/{product_id}",
        product,
        "Read a product's stock",
        _STOCK,
        _AGE,
        answers={200: ProductView, 304: None},
        parameters=(PRODUCT_ID, MIN_VERSION, IF_NONE_MATCH),
        problems=_PROBLEMS,
        tag="products",
        headers=("ETag",),
    ),
    Route(
        "GET",
        "/v1/products",
        products,
        "Read the stock of several products",
        _STOCK,
        _AGE,
        answers={200: Products},
        parameters=(IDS,),
        problems=_LISTED,
        tag="products",
    ),
)
