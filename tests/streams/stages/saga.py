"""The orders stage of partition 0 with an order of two lines, at the points where tests begin."""

from collections.abc import Sequence
from typing import Any

from schemas.outcomes import StockCommandKind
from streams.runtime.records import Place, Write
from streams.stages.orders import OrdersStage, orders_kind
from tests.support.stages import NOW, PARTITIONS, Item, answers, line, order_at, product_at, record, results, said

HERE = Place(0, PARTITIONS)
TIMEOUT = 60_000
KIND = orders_kind(TIMEOUT)
ID = order_at(0)


def new_stage() -> OrdersStage:
    return OrdersStage(HERE, TIMEOUT)


def two_lines(**fields: Any) -> list[Item]:
    both = {"order_id": ID, "line_count": 2, **fields}
    return [line(**both, line=1, product_id=product_at(1)), line(**both, line=2, product_id=product_at(2), quantity=3)]


def paying(stage: OrdersStage, order_id: int = ID) -> list[Write]:
    return stage.decide([record("StockDecisions", answers(*two_lines(order_id=order_id)))], NOW)


def confirmed(order_id: int = ID) -> tuple[OrdersStage, list[Write]]:
    stage = new_stage()
    writes = paying(stage, order_id)
    return stage, [*writes, *stage.decide([record("PaymentResults", results({"order_id": order_id, "amount": 500}))], NOW + 1)]


def statuses(writes: Sequence[Write]) -> list[tuple[int, str, str]]:
    return [(outcome["version"], outcome["change"], outcome["status"]) for outcome in said(writes, "OrderOutcome")]


def moves(writes: Sequence[Write]) -> list[tuple[str, int, int, str, int, int]]:
    moves = said(writes, "StockCommands")
    return [(StockCommandKind(m["kind"]).name, m["order_id"], m["line"], m["product_id"], m["quantity"], m["to"]) for m in moves]
