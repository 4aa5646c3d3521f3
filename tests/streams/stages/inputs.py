"""Hypothesis strategies: whatever anybody may write to the topics at the edges, sensible or not, and what stages say to each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas import codec
from schemas.outcomes import StockCommandKind
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN
from streams.runtime.records import Record
from tests.support.stages import INPUT, NOW, PLACED, Item, answers, columns, line, order_at, product_at, requests, results, stock_commands

OPERATORS = [kind for kind in StockCommandKind if kind < StockCommandKind.RELEASE]
longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
products = st.sampled_from([product_at(0), product_at(0, 1), product_at(1)])
orders = st.sampled_from([order_at(0), order_at(0, 1), order_at(2)])
numbers = st.one_of(st.integers(-1, 6), longs)


def record_of(name: str, value: Item) -> Record:
    return Record(INPUT[name].name, 0, 0, None, codec.encode(name, value))


def _raw(topic: Topic) -> st.SearchStrategy[Record]:
    return st.builds(lambda value: Record(topic.name, 0, 0, None, value), st.one_of(st.none(), st.binary(max_size=60)))


good_lines = st.builds(
    line,
    order_id=orders,
    line=st.integers(1, 2),
    line_count=st.just(2),
    product_id=products,
    quantity=st.integers(1, 5),
)
any_lines = st.fixed_dictionaries(
    {
        **{"order_id": st.one_of(orders, longs), "line": st.one_of(st.integers(0, 3), ints), "line_count": st.one_of(st.integers(0, 3), ints)},
        **{"product_id": st.one_of(products, texts), "quantity": numbers, "unit_price": numbers, "placed_at": st.one_of(st.just(PLACED), longs)},
        **{"currency": st.one_of(st.just("GBP"), texts), "user_id": st.one_of(st.just("ann"), texts), "payment_token": texts},
    }
)
lines = st.one_of(good_lines, good_lines, any_lines)

any_stock_commands = st.fixed_dictionaries(
    {
        **{"command_id": st.one_of(st.sampled_from("abc"), texts), "kind": st.sampled_from([kind.name for kind in OPERATORS]), "note": texts, "actor": texts},
        **{"product_id": st.one_of(products, texts), "quantity": numbers, "as_of": st.one_of(st.integers(NOW - 5, NOW + 5), longs), "issued_at": longs},
    }
)
moves = st.fixed_dictionaries(
    {
        **{"kind": st.one_of(st.sampled_from(StockCommandKind), st.integers(0, 255)), "product_id": st.one_of(products, texts)},
        **{"quantity": numbers, "order_id": st.one_of(orders, longs), "line": ints, "command_id": st.one_of(st.just(""), st.sampled_from("abc"))},
    }
)
any_order_commands = st.fixed_dictionaries(
    {
        **{"command_id": st.one_of(st.sampled_from("abcdef"), texts), "kind": st.sampled_from(["CANCEL", "RETURN", "SHIP"]), "actor": texts},
        **{"order_id": st.one_of(orders, longs), "line": st.one_of(st.integers(0, 3), ints), "quantity": numbers, "issued_at": longs},
    }
)


def _many_commands(items: list[Item], kinds: list[int]) -> Item:
    whole = columns([{k: v for k, v in item.items() if k not in ("actor", "issued_at", "kind")} for item in items])
    return {**whole, "kind": bytes(kinds[: len(items)]), "issued_at": NOW, "actor": "load"}


stock_records = st.one_of(
    lines.map(lambda item: record_of("OrderLine", item)),
    st.lists(lines, min_size=1, max_size=5).map(lambda items: record_of("OrderLines", columns(items))),
    any_stock_commands.map(lambda item: record_of("StockCommand", item)),
    st.lists(moves, min_size=1, max_size=4).map(lambda items: record_of("StockCommands", stock_commands(items))),
    _raw(ORDERS),
    _raw(STOCK_COMMANDS),
)

here = st.sampled_from([order_at(0), order_at(0, 1)])
answer_items = st.tuples(good_lines, here, st.sampled_from((0, 0, 0, 21, 5)), st.sampled_from(("ann", "ann", "ann", "bob"))).map(
    lambda made: {**made[0], "order_id": made[1], "refusal": made[2], "user_id": made[3]}
)
paid = st.fixed_dictionaries({"order_id": here, "attempt": st.integers(1, 2), "amount": st.just(400), "result": st.integers(0, 1), "kind": st.just(0)})
refunded = st.fixed_dictionaries(
    {"order_id": here, "kind": st.just(1), "sequence": st.integers(1, 3), "amount": st.integers(1, 200), "result": st.integers(1, 2)}
)
order_records = st.one_of(
    st.lists(answer_items, min_size=1, max_size=4).map(lambda items: record_of("StockDecisions", answers(*items))),
    st.lists(st.one_of(paid, refunded), min_size=1, max_size=3).map(lambda items: record_of("PaymentResults", results(*items))),
    any_order_commands.map(lambda item: record_of("OrderCommand", item)),
    st.tuples(st.lists(any_order_commands, min_size=1, max_size=4), st.lists(st.integers(0, 4), min_size=4, max_size=4)).map(
        lambda made: record_of("OrderCommands", _many_commands(*made))
    ),
    _raw(ORDER_COMMANDS),
)

charge_items: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        **{"order_id": here, "attempt": st.integers(1, 2), "kind": st.integers(0, 1), "sequence": st.integers(0, 2)},
        **{"amount": st.sampled_from((5, 5, 5, 9, 0)), "payment_token": st.sampled_from(("tok_ann", "tok_ann", SLOW_TOKEN, SILENT_TOKEN))},
    }
).map(lambda item: {**item, "sequence": max(1, item["sequence"]) if item["kind"] else 0})
payment_records = st.lists(charge_items, min_size=1, max_size=4).map(lambda items: record_of("PaymentRequests", requests(*items)))
