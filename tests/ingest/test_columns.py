"""Columnar records say what went into them."""

from ingest.columns import LineItem, OrderCommandItem, StockCommandItem, encode_lines, encode_order_commands, encode_stock_commands
from schemas.codec import decode
from schemas.outcomes import OrderCommandKind, StockCommandKind


def test_order_lines() -> None:
    items = [LineItem(2**62 + n, n, 3, f"sku-{n}", n, 100 * n, "GBP", f"user-{n}", "tok_ok", 1_000 + n) for n in (1, 2, 3)]
    record = decode(encode_lines(items))
    assert (record.name, record.size) == ("OrderLines", 3)
    assert [LineItem(*values) for values in zip(*(record.value[c] for c in LineItem._fields), strict=True)] == items


def test_order_commands() -> None:
    items = [OrderCommandItem(OrderCommandKind.RETURN, "s:1:1", 7, 2, 5), OrderCommandItem(OrderCommandKind.CANCEL, "s:2:1", 8, 0, 0)]
    record = decode(encode_order_commands(items, 99, "loader"))
    assert (record.name, record.size, record.value["issued_at"], record.value["actor"]) == ("OrderCommands", 2, 99, "loader")
    assert [OrderCommandItem(*values) for values in zip(*(record.value[c] for c in OrderCommandItem._fields), strict=True)] == items


def test_stock_commands() -> None:
    items = [StockCommandItem(StockCommandKind.RESTOCK, "opening:s:a", "a", 5, 0), StockCommandItem(StockCommandKind.UNTRACK, "opening:s:POST", "POST", 0, 0)]
    record = decode(encode_stock_commands(items, 99, "loader"))
    assert (record.name, record.size) == ("StockCommands", 2)
    assert [StockCommandItem(*values) for values in zip(*(record.value[c] for c in StockCommandItem._fields), strict=True)] == items
    assert (record.value["order_id"], record.value["line"]) == ([0, 0], [0, 0])
