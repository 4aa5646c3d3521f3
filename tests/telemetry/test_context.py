"""Trace contexts in headers: what is one, and which of them a batch comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.context import CAUSES, MOST_CAUSES, MOST_LINKS, PARENT, Causes, Context, context_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
contexts = st.builds(Context, st.integers(1, 2**128 - 1).map("{:032x}".format), st.integers(1, 2**64 - 1).map("{:016x}".format), st.booleans())


def context(number: int, *, sampled: bool = True) -> Context:
    return Context(f"{number:032x}", f"{number:016x}", sampled)


def parent(*found: Context) -> list[tuple[str, bytes]]:
    return [(PARENT, str(each).encode()) for each in found]


def causes(*found: Context) -> tuple[str, bytes]:
    return CAUSES, ",".join(map(str, found)).encode()


@given(contexts)
def test_a_context_is_read_as_it_is_written(found: Context) -> None:
    assert context_of(str(found)) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", Context(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", Context(TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", Context(TRACE, SPAN, True)),
        (f"01-{TRACE}-{SPAN}-01-more", Context(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
        (None, None),
    ],
)
def test_what_is_a_traceparent(text: str | None, expected: Context | None) -> None:
    assert context_of(text) == expected


def test_requests_in_the_gateways_records_are_links_and_roots() -> None:
    found = Causes()
    found.note(parent(context(1), context(2, sampled=False), context(3)))
    found.note(parent(context(1)))
    assert list(found.links) == list(found.roots) == [context(1), context(3)]


def test_a_stages_record_is_linked_to_its_batch_and_to_the_requests_before() -> None:
    found = Causes()
    found.note([*parent(context(9)), causes(context(1), context(2))])
    assert set(found.links) == {context(1), context(2), context(9)}
    assert list(found.roots) == [context(1), context(2)]
    assert found.headers(context(10)) == [*parent(context(10)), causes(context(1), context(2))]


@pytest.mark.parametrize("headers", [None, [], [("", b"")], [(PARENT, b"\xff")], [(PARENT, None)], [(CAUSES, b",,,x")], [("other", str(context(1)).encode())]])
def test_headers_of_anybody_count_for_nothing(headers: object) -> None:
    found = Causes()
    found.note(headers)
    assert not found.links
    assert found.headers(context(1)) == parent(context(1))


@given(st.lists(contexts, max_size=200))
def test_there_are_only_so_many(sent: list[Context]) -> None:
    found = Causes()
    for each in sent:
        found.note([*parent(each), causes(*sent)])
    kept = [each for each in dict.fromkeys(sent) if each.is_sampled]
    assert len(found.links) == min(len(kept), MOST_LINKS)
    assert set(found.links) <= set(kept)
    said = dict(found.headers(context(1))).get(CAUSES, b"")
    assert len(said.split(b",")) <= MOST_CAUSES
