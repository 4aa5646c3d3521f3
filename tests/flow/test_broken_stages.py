"""A stage that does one thing wrong does not get past the audit."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.outcomes import OutcomeChange, PaymentKind, Refusal, StockCommandKind
from schemas.partitions import product_partition
from streams.domain import stock
from streams.stages import outbox, plain_way
from streams.stages import stock as stock_stage
from streams.stages.orders import OrdersStage, _OrdersBatch
from streams.stages.payments import _PaymentsBatch
from streams.stages.stock import _StockBatch
from streams.stages.stock_table import PlainTable
from tests.flow.test_promises import run_seed

SEEDS = range(800, 825)
Breaking = Callable[[pytest.MonkeyPatch], None]


def _replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Breaking:
    return lambda patch: patch.setattr(owner, name, replacement)


def _on_the_plain_path(breaking: Breaking) -> Breaking:
    """Break what the compiled parts do by themselves, too: that they do the same is what tests/streams/stages/test_stock_table.py and test_plain_*.py show."""

    def broken(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(stock_stage, "new_table", PlainTable)
        patch.setattr(plain_way, "for_orders", plain_way.PlainPathAlone)
        patch.setattr(plain_way, "for_payments", plain_way.PlainPathAlone)
        breaking(patch)

    return broken


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _without(kind: StockCommandKind) -> Breaking:
    original = _OrdersBatch._move_stock
    return _replaced(_OrdersBatch, "_move_stock", lambda batch, order_id, move: None if move.kind is kind else original(batch, order_id, move))


def _doubled(kind: StockCommandKind) -> Breaking:
    original = _OrdersBatch._move_stock

    def twice(batch: _OrdersBatch, order_id: int, move: Any) -> None:
        for _ in range(2 if move.kind is kind else 1):
            original(batch, order_id, move)

    return _replaced(_OrdersBatch, "_move_stock", twice)


def _answered_on_the_product_s_partition(batch: _StockBatch, fields: tuple[Any, ...], *answer: int) -> None:
    batch.rows.answer(batch.place.partition, (*fields, *answer))


def _forwards_all_but(topic: str) -> Breaking:
    original = _StockBatch._forward
    return _replaced(_StockBatch, "_forward", lambda batch, to, *rest: None if to.name == topic else original(batch, to, *rest))


def _asks_for_charges_alone(batch: _OrdersBatch, _order_id: int, ask: Any) -> None:
    if ask.kind is PaymentKind.CHARGE:
        batch.requests.items[batch.place.partition].append(tuple(ask))


def _moved_to_a_neighbour(batch: _OrdersBatch, order_id: int, move: Any) -> None:
    home = (product_partition(move.product_id, batch.place.partitions) + 1) % batch.place.partitions
    batch.moves.items[home].append((move.kind, "", order_id, move.line, move.product_id, move.quantity + 1, 0))


def _say_all_but_amendments(batch: _OrdersBatch, order_id: int, publish: Any) -> None:
    if publish.change is not OutcomeChange.AMENDED:
        batch._publish(order_id, publish.change)


BROKEN: dict[str, Breaking] = {
    "dead letters are forgotten": _replaced(outbox.DeadLetters, "add", _nothing),
    "lines on the wrong partition are dropped": _forwards_all_but("orders"),
    "commands on the wrong partition are dropped": _forwards_all_but("stock.commands"),
    "order commands on the wrong partition are dropped": _replaced(_OrdersBatch, "_forward", _nothing),
    "invalid lines are not refused": _replaced(_StockBatch, "_refuse_invalid", _nothing),
    "releases are forgotten": _on_the_plain_path(_without(StockCommandKind.RELEASE)),
    "ships are forgotten": _on_the_plain_path(_without(StockCommandKind.SHIP)),
    "returns are forgotten": _on_the_plain_path(_without(StockCommandKind.RETURN)),
    "releases are sent twice": _on_the_plain_path(_doubled(StockCommandKind.RELEASE)),
    "ships are sent twice": _on_the_plain_path(_doubled(StockCommandKind.SHIP)),
    "moves are for one unit more": _on_the_plain_path(_replaced(_OrdersBatch, "_move_stock", _moved_to_a_neighbour)),
    "refunds are not asked for": _on_the_plain_path(_replaced(_OrdersBatch, "_ask_payment", _asks_for_charges_alone)),
    "refused commands get no answer": _replaced(_OrdersBatch, "_refuse", _nothing),
    "outcomes are not published": _on_the_plain_path(_replaced(_OrdersBatch, "_outcome", _nothing)),
    "amendments are not published": _on_the_plain_path(_replaced(_OrdersBatch, "_say", _say_all_but_amendments)),
    "deadlines are not watched": _on_the_plain_path(_replaced(OrdersStage, "watch", _nothing)),
    "answers go to the product's partition": _on_the_plain_path(_replaced(_StockBatch, "_answer", _answered_on_the_product_s_partition)),
    "levels and rows are not written": _replaced(_StockBatch, "_changed", lambda batch: ()),
    "every line finds stock": _on_the_plain_path(_replaced(stock, "decide_hold", lambda product, quantity: Refusal.NONE)),
    "the provider's answer is not passed on": _on_the_plain_path(_replaced(_PaymentsBatch, "_say", _nothing)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_stage_breaks_a_promise(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[what](monkeypatch)
    assert any(not run_seed(seed) for seed in SEEDS)
