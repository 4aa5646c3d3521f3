"""What a stream of an order's events says, whatever of the log it has seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.followers import Said
from ingest.http import rsgi
from ingest.http.errors import Problem
from ingest.http.events import PER_USER, Streams
from ingest.http.order_events import EventId, Teller, event_id_of
from ingest.order_history import Place
from tests.support.outputs import outcome, refused_command


def said(offset: int, version: int) -> Said:
    """A record; version 0 is a refused command."""
    return Said("OrderOutcome", outcome(1, version), 3, offset) if version else Said("OrderCommandRefused", refused_command(), 3, offset)


IDS = st.one_of(
    st.builds(EventId, st.integers(0, 2**31), st.none(), st.just(False)),
    st.builds(EventId, st.integers(0, 2**31), st.builds(Place, st.integers(0, 999), st.integers(0, 2**59)), st.booleans()),
)


@given(IDS)
def test_an_id_is_read_as_it_was_written(event_id: EventId) -> None:
    assert event_id_of(event_id.text()) == event_id


@pytest.mark.parametrize("text", ["", "x", "1.2", "1.2.", "1.2.3.4", "-1", "1.2.3.end.", "1\n", "¹", "٣"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="none of ours"):
        event_id_of(text)


def log_of(kinds: list[bool]) -> list[Said]:
    """A partition's records of one order: outcomes with versions in order, and refusals between them."""
    version, records = 0, []
    for at, is_outcome in enumerate(kinds):
        version += is_outcome
        records.append(said(at * 2, version if is_outcome else 0))
    return records


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_whatever_overlaps_and_wherever_it_is_cut_each_record_is_told_once(kinds: list[bool], cut: int, overlap: int, resume: int) -> None:
    records = log_of(kinds)
    first = Teller(0)
    told = [*first.of_log(records[:cut]), *first.of_log(records[max(0, cut - overlap) :])]
    assert [each.name for each in told] == ["confirmed" if record.name == "OrderOutcome" else "command_refused" for record in records]
    if told:
        known = event_id_of(told[resume % len(told)].event_id.text())
        assert known.place is not None
        again = Teller(known.version)
        rest = list(again.of_log([record for record in records if record.offset >= known.place.offset]))
        assert rest == told[resume % len(told) + 1 :]


def test_a_state_of_the_stores_is_told_only_if_it_is_news() -> None:
    teller = Teller(1)
    order = {"order_id": "1", "status": "shipped", "version": 2, "age_ms": 5, "charged": 3, "refunded": 0}
    assert not list(Teller(2).of_store(order))
    (event,) = teller.of_store(order)
    assert (event.event_id.text(), event.name, "age_ms" in event.document) == ("2", "shipped", False)
    assert not list(teller.of_store(order))
    assert [each.event_id.version for each in teller.of_log([said(0, 2), said(1, 3)])] == [3]


@pytest.mark.parametrize(
    ("status", "charged", "refunded", "ends"),
    [
        *(("CONFIRMED", 5, 0, False), ("SHIPPED", 5, 0, False), ("REJECTED", 0, 0, True), ("PAYMENT_FAILED", 0, 0, True)),
        *(("EXPIRED", 5, 0, False), ("CANCELLED", 5, 5, True), ("RETURNED", 5, 4, False), ("RETURNED", 5, 5, True)),
    ],
)
def test_a_stream_ends_when_the_order_came_to_rest(status: str, charged: int, refunded: int, ends: bool) -> None:
    teller = Teller(0)
    record = Said("OrderOutcome", outcome(status=status, charged=charged, refunded=refunded), 0, 0)
    (event,) = teller.of_log([record])
    assert (teller.ended, event.event_id.ended, event.event_id.text().endswith(".end")) == (ends, ends, ends)
    assert not list(teller.of_log([said(1, 2)])) or not ends


def test_an_event_is_one_line_of_data() -> None:
    (event,) = Teller(0).of_log([Said("OrderOutcome", outcome(1, products=("a\nb\r\n",)), 0, 4)])
    head, data = event.text().split(b"data: ")
    assert head == b"id: 1.0.5\nevent: confirmed\n"
    assert data.count(b"\n") == 2
    assert b"\r" not in data


def test_a_user_has_a_share_of_the_streams_and_gives_it_back() -> None:
    streams = Streams(PER_USER + 1)
    for _ in range(PER_USER):
        streams.take("u1")
    with pytest.raises(Problem, match="100 streams"):
        streams.take("u1")
    streams.take(None)
    with pytest.raises(Problem, match="as many as there may be"):
        streams.take("u2")
    streams.give_back("u1")
    streams.take("u1")
    assert streams.open == PER_USER + 1


def test_a_client_that_does_not_read_is_let_go() -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"x"
        finally:
            closed.append(True)

    class Stuck:
        async def send_bytes(self, _piece: bytes) -> None:
            await asyncio.Event().wait()

    async def send() -> Any:
        await rsgi._send(Stuck(), pieces(), 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(send())
    assert closed == [True]
