"""Two sides become one difference, and that a table, JSON and a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from holdfast.shadow.diff import Ends, compare
from holdfast.shadow.picture import svg
from tests.support.outputs import outcome


def ends(*values: dict[str, object]) -> Ends:
    found = Ends()
    for value in values:
        found.add("OrderOutcome", value)
    found.add("OrderCommandRefused", {"order_id": 1})
    return found


def rejected(order_id: int) -> dict[str, object]:
    lines = [{**line, "status": "REFUSED", "refusal": "INSUFFICIENT_STOCK"} for line in outcome(order_id)["lines"]]
    return outcome(order_id, status="REJECTED", charged=0, lines=lines)


def test_an_order_is_its_decision_and_what_became_of_it() -> None:
    later = {**outcome(1, 2, ["A", "B"]), "change": "RETURNED", "status": "SHIPPED"}
    (end,) = ends(outcome(1, 1, ["A", "B"]), later).all().values()
    assert (end.decision, end.status, end.units, end.revenue) == ("CONFIRMED", "SHIPPED", 1 + 2 - 2, 750 - 1)


def test_what_differs_is_counted_and_named() -> None:
    was = ends(outcome(1), outcome(2), rejected(3), outcome(4)).all()
    would = ends(outcome(1), rejected(2), outcome(3)).all()
    document = compare(was, would).document()
    assert (document["orders"], document["different"]) == (4, 3)
    assert document["decisions"] == {"(none)": {"was": 0, "would": 1}, "CONFIRMED": {"was": 3, "would": 2}, "REJECTED": {"was": 1, "would": 1}}
    assert document["units"] == {"was": 3, "would": 2}
    assert document["revenue"] == {"GBP": {"was": 750, "would": 500}}
    assert {"was": "CONFIRMED", "would": "REJECTED", "orders": 1} in document["moves"]
    assert [each["order_id"] for each in document["named"]] == ["2", "3", "4"]


def test_the_picture_is_an_svg_with_every_number_and_both_shades() -> None:
    diff = compare(ends(outcome(1), outcome(2)).all(), ends(outcome(1), rejected(2)).all())
    text = svg(diff, {"opening_stock": "<0.5>"})
    said = " ".join(element.text or "" for element in ET.fromstring(text).iter())
    for part in ("1 of 2 orders", "opening stock <0.5>", "confirmed", "rejected", "revenue GBP", "5.00", "2.50", "prefers-color-scheme:dark"):
        assert part in said, part
