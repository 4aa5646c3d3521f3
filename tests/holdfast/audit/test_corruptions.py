"""A correct history passes; every fault sown into it is found and named by its promise."""

from pathlib import Path

import pytest

from holdfast.audit import check
from holdfast.audit.kinds import KINDS, MEANINGS, PROMISES
from schemas import topics
from schemas.outcomes import Refusal
from tests.holdfast.audit.catalogue import document
from tests.holdfast.audit.corruptions import CORRUPTIONS, Corruption
from tests.support.correct_history import correct_shop
from tests.support.history_stores import StoreContents

DOCUMENT = Path(__file__).parents[3] / "docs" / "audit.md"


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("prefix", ["", "shop2."])
def test_a_correct_history_is_clean(live: bool, prefix: str, tmp_path: Path) -> None:
    shop = correct_shop(prefix)
    contents = StoreContents(shop)
    report = check(shop.log(), contents.stores(), [contents.written(tmp_path)], live=live, complete=not live)
    assert report.ok, report.text()
    assert all(report.checked[promise] for promise in PROMISES)


def test_what_was_checked_is_counted() -> None:
    shop = correct_shop()
    checked = check(shop.log(), StoreContents(shop).stores()).checked
    assert checked["I2"]["orders"] == 18
    assert checked["I5"]["lines"] == sum(len(r.value["line"]) if r.name == "OrderLines" else 1 for r in shop.all("OrderLine") + shop.all("OrderLines"))
    assert checked["I1"]["versions"] == sum(product.version for product in shop.products.values())
    assert checked["I7"]["paid"] == sum(result == 0 for rec in shop.all("PaymentResults") for result in rec.value["result"])


def test_a_dead_letter_may_carry_the_beginning_of_a_very_large_record() -> None:
    shop = correct_shop()
    large = shop.write(topics.ORDERS, 0, None, b"x" * 300_000)
    shop.dead_letter(large, -1, "NOT_CONFLUENT").value["value"] = b"x" * 200_000
    shop.note_positions()
    assert check(shop.log()).ok


def test_an_outcome_that_no_store_can_hold_has_no_row() -> None:
    shop = correct_shop()
    nobody = shop.send(*shop.lines(20, ("fig", 1, 30), user=""))[0]
    shop.dead_letter(nobody, 0, "INVALID_USER")
    nobody.value["refusal"] = Refusal.INVALID_USER
    shop.answer(nobody)
    del nobody.value["refusal"]
    shop.note_positions()
    contents = StoreContents(shop)
    for rows in contents.mysql.values():
        rows[:] = [row for row in rows if row.get("user_id") != "" and row.get("order_id") != 20]
    del contents.redis["order:20"]
    report = check(shop.log(), contents.stores())
    assert report.ok, report.text()


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda c: c.name.replace(" ", "-"))
def test_a_corruption_is_found(corruption: Corruption, tmp_path: Path) -> None:
    shop = correct_shop()
    contents = StoreContents(shop)
    corruption.sow(shop, contents)
    report = check(shop.log(), contents.stores(), [contents.written(tmp_path)], complete=True)
    found = [violation for violation in report.violations if violation.kind == corruption.kind]
    assert found, f"not found; found instead: {dict(report.kinds())}"
    assert {violation.promise for violation in found} == {KINDS[corruption.kind]}
    assert all(violation.place.topic for violation in found)
    assert corruption.kind in report.text()


# What may be under way in a system at work, and what compares with the end of the log.
AT_REST_ONLY = {
    *("undecided", "row_behind", "level_behind", "state_behind", "state_differs", "hold_not_released", "reserved_differs", "returned_differs"),
    *(
        "import_unanswered",
        "line_unanswered",
        "line_not_forwarded",
        "command_unanswered",
        "command_not_forwarded",
        "order_command_unanswered",
        "order_command_not_forwarded",
    ),
    *("payment_unanswered", "undecodable_not_dead", "conflict_not_dead", "position_behind", "position_ahead", "store_row_missing", "cache_missing"),
    *(
        "money_kept",
        "refunds_differ_from_returns",
        "outcome_money_differs",
        "payment_row_differs",
        "store_position_behind",
        "acknowledged_undecided",
        "in_log_unsent",
    ),
}
_BEHIND = {"a refusal at a version that never was", "an outcome calls an unshipped line shipped"}


@pytest.mark.parametrize("corruption", [c for c in CORRUPTIONS if c.kind not in AT_REST_ONLY and c.name not in _BEHIND], ids=lambda c: c.name.replace(" ", "-"))
def test_a_corruption_is_found_while_the_system_works(corruption: Corruption, tmp_path: Path) -> None:
    shop = correct_shop()
    contents = StoreContents(shop)
    corruption.sow(shop, contents)
    assert corruption.kind in check(shop.log(), contents.stores(), [contents.written(tmp_path)], live=True).kinds()


def test_every_kind_of_violation_has_a_corruption() -> None:
    assert {corruption.kind for corruption in CORRUPTIONS} == set(KINDS)
    assert set(MEANINGS) == set(KINDS)
    assert set(KINDS.values()) == set(PROMISES)


def test_the_document_lists_every_kind_and_every_corruption() -> None:
    assert DOCUMENT.read_text() == document(), "run `python -m tests.holdfast.audit.catalogue > docs/audit.md`"
