"""What a file becomes: every row in one place, returns matched, and the same plan whoever stops where."""

from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.backfill_plan import (
    Counts,
    Planned,
    PlannedDeadLetter,
    PlannedLine,
    PlannedReturn,
    PlannedStock,
    Planner,
    Survey,
    check_repeatable,
    chunks,
    opening,
)
from ingest.errors import LoadError
from ingest.retail_file import RetailFile, Row
from ingest.retail_rows import is_service
from schemas.outcomes import MAX_QUANTITY, StockCommandKind
from tests.ingest.test_retail_rows import AT, row

SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"


def rows_of(*fields: list[str]) -> list[Row]:
    return [Row(number, ",".join(f).encode("utf-8", "surrogateescape"), f) for number, f in enumerate(fields, 1)]


def survey_of(rows: list[Row]) -> Survey:
    survey = Survey()
    for r in rows:
        survey.add(r)
    return survey


def plan_of(rows: list[Row], counts: Counts | None = None, start: int = 0, size: int = 3) -> list[Planned]:
    planner = Planner(survey_of(rows), "s")
    returns: list[PlannedReturn] = []
    items = [item for chunk in chunks(rows, planner, counts or Counts(), start, size, returns) for item in chunk.items]
    return [*items, *returns]


def test_an_invoice_is_one_order_and_its_rows_the_lines() -> None:
    rows = rows_of(row("1", "A"), row("2", "B", customer=""), row("1", "A", at="2010-12-01T08:27:00"), row("1", "C", price="0"))
    assert plan_of(rows) == [
        PlannedLine("1", 1, 2, "A", 6, 255, "17850", AT),
        PlannedLine("2", 1, 1, "B", 6, 255, "guest-2", AT),
        PlannedLine("1", 2, 2, "A", 6, 255, "17850", AT),
        PlannedStock("s:4", StockCommandKind.FOUND, "C", 6),
    ]


def test_a_row_that_names_another_customer_is_no_line_of_the_order() -> None:
    planned = plan_of(rows_of(row("1", "A"), row("1", "B", customer="other"), row("1", "C")))
    assert isinstance(planned[1], PlannedDeadLetter)
    assert "began with '17850'" in planned[1].detail
    assert [(p.line, p.line_count) for p in planned if isinstance(p, PlannedLine)] == [(1, 2), (2, 2)]


def test_an_order_has_a_thousand_lines_at_most() -> None:
    rows = rows_of(*[row("1", "A", "1")] * 1_002)
    planned = plan_of(rows)
    assert [type(p) for p in planned] == [PlannedLine] * 1_000 + [PlannedDeadLetter] * 2
    assert {p.line_count for p in planned if isinstance(p, PlannedLine)} == {1_000}
    assert survey_of(rows).demand["A"] == 1_000


def test_a_return_takes_the_customers_latest_orders_of_the_product_first() -> None:
    planned = plan_of(
        rows_of(
            row("1", "A", "5"),
            row("2", "A", "3"),
            row("3", "A", "9", customer="other"),
            row("4", "B", "9"),
            row("C5", "A", "-4"),
            row("C6", "A", "-3"),
            row("C7", "A", "-3"),
            row("8", "A", "2"),
            row("C9", "A", "-2"),
        )
    )
    assert [p for p in planned if isinstance(p, PlannedReturn)] == [
        PlannedReturn("s:5:1", "2", 1, 3),
        PlannedReturn("s:5:2", "1", 1, 1),
        PlannedReturn("s:6:1", "1", 1, 3),
        PlannedReturn("s:7:1", "1", 1, 1),
        PlannedReturn("s:7:2", "C7", 0, 2),
        PlannedReturn("s:9:1", "8", 1, 2),
    ]


@pytest.mark.parametrize("customer", ["", "17850"])
def test_what_matches_nothing_is_a_return_of_an_order_never_placed(customer: str) -> None:
    rows = rows_of(
        row("1", "A", customer=""), row("C2", "A", "-1", customer=customer), row("C2", "D", "-1", customer=customer), row("3", "A", customer=customer)
    )
    planned = plan_of(rows)
    assert planned[-2:] == [PlannedReturn("s:2:1", "C2", 0, 1), PlannedReturn("s:3:1", "C2", 0, 1)]


def test_dead_letters_keep_the_row() -> None:
    (planned,) = plan_of(rows_of(row("A1", "B")))
    assert planned == PlannedDeadLetter(1, "InvoiceNo A1: a bad-debt adjustment is no order", ",".join(row("A1", "B")).encode())


def test_opening_stock_is_the_share_of_what_is_ordered_rounded_up() -> None:
    rows = rows_of(row("1", "11111", "5"), row("1", "11111", "6"), row("2", "POST", "1"), row("3", "22222", "-4", price="0"), row("C4", "33333", "-1"))
    assert opening(survey_of(rows), "s", Fraction("0.9")) == [
        PlannedStock("opening:s:11111", StockCommandKind.RESTOCK, "11111", 10),
        PlannedStock("opening:s:POST", StockCommandKind.UNTRACK, "POST", 0),
    ]
    assert [c.quantity for c in opening(survey_of(rows), "s", Fraction(0))] == [0]
    assert opening(survey_of(rows), "s", Fraction(2))[0].quantity == 22


def test_opening_stock_beyond_one_command_is_several() -> None:
    rows = rows_of(row("1", "11111", str(MAX_QUANTITY), price="0.01"), row("1", "11111", "5"))
    assert [(c.command_id, c.quantity) for c in opening(survey_of(rows), "s", Fraction(1))] == [
        ("opening:s:11111", MAX_QUANTITY),
        ("opening:s:11111:2", 5),
    ]


def test_a_file_whose_corrections_are_not_all_remembered_cannot_be_sent_again() -> None:
    correction = row("1", "11111", "-1", price="0")
    check_repeatable(survey_of(rows_of(*[correction] * 63)))
    with pytest.raises(LoadError, match="64 corrections of 11111"):
        check_repeatable(survey_of(rows_of(*[correction] * 64)))


text = st.text(st.characters(codec="utf-8"), max_size=4)
fields = st.builds(
    row,
    st.sampled_from(["1", "2", "3", "C4", "C5", "A6", ""]) | text,
    st.sampled_from(["11111", "22222A", "POST", "M"]) | text,
    st.integers(-9, 9).map(str) | text,
    st.sampled_from(["2010-12-01T08:26:00", "2010-12-02T08:26:00"]) | text,
    st.sampled_from(["2.55", "0.0", "0.001", "-1.0"]) | text,
    st.sampled_from(["17850", "17851", ""]) | text,
)
tables = st.lists(fields | st.lists(text, max_size=9), max_size=60).map(lambda listed: rows_of(*listed))


@given(tables)
def test_every_row_has_one_place_and_the_counts_add_up(rows: list[Row]) -> None:
    counts = Counts()
    planned = plan_of(rows, counts)
    kinds = Counter(type(p) for p in planned)
    assert counts.rows == len(rows) == counts.lines + counts.return_lines + counts.corrections + counts.dead_letters
    assert counts.lines == kinds[PlannedLine]
    assert counts.corrections == kinds[PlannedStock]
    assert counts.dead_letters == kinds[PlannedDeadLetter]
    assert counts.return_commands == kinds[PlannedReturn] >= counts.return_lines
    assert counts.orders == len({p.invoice for p in planned if isinstance(p, PlannedLine)})


@given(tables)
def test_every_order_is_whole_and_no_more_comes_back_than_was_ordered(rows: list[Row]) -> None:
    planned = plan_of(rows)
    lines: defaultdict[str, list[PlannedLine]] = defaultdict(list)
    for p in planned:
        if isinstance(p, PlannedLine):
            lines[p.invoice].append(p)
        elif isinstance(p, PlannedReturn) and p.line:
            sold = lines[p.invoice][p.line - 1]
            lines[p.invoice][p.line - 1] = sold._replace(quantity=sold.quantity - p.quantity)
    for order in lines.values():
        assert [p.line for p in order] == list(range(1, order[0].line_count + 1))
        assert len({(p.user, p.placed_at, p.line_count) for p in order}) == 1
        assert all(p.quantity >= 0 for p in order)


@given(tables)
def test_command_ids_are_unique(rows: list[Row]) -> None:
    commands = [p.command_id for p in plan_of(rows) if isinstance(p, PlannedReturn | PlannedStock)]
    commands += [c.command_id for c in opening(survey_of(rows), "s", Fraction(1))]
    assert len(commands) == len(set(commands))
    assert all(1 <= len(c) <= 128 for c in commands)


@example(rows_of(row("1", "A"), row("C4", "A", "-1")), 2, 1)
@given(tables, st.integers(0, 60), st.integers(1, 20))
def test_a_load_that_stopped_after_any_row_goes_on_with_the_same_plan(rows: list[Row], stopped: int, size: int) -> None:
    stopped = min(stopped, len(rows))
    counts = Counts()
    before = plan_of(rows[:stopped] + rows[stopped:], size=1)
    planner = Planner(survey_of(rows), "s")
    first = [item for r in rows[:stopped] for item in planner.plan(r) if not isinstance(item, PlannedReturn)]
    assert first + plan_of(rows, counts, stopped, size) == before
    assert counts.rows == len(rows)


@given(tables)
def test_opening_stock_covers_the_share_of_the_planned_lines(rows: list[Row]) -> None:
    demand: Counter[str] = Counter()
    for p in plan_of(rows):
        if isinstance(p, PlannedLine) and not is_service(p.product):
            demand[p.product] += p.quantity
    restocks = {c.product: c.quantity for c in opening(survey_of(rows), "s", Fraction("0.9")) if c.kind is StockCommandKind.RESTOCK}
    assert restocks == {product: -(-units * 9 // 10) for product, units in demand.items()}


def test_the_sample_in_the_repository() -> None:
    file, survey, counts = RetailFile(SAMPLE), Survey(), Counts()
    for r in file.rows():
        survey.add(r)
    for _ in chunks(file.rows(), Planner(survey, "s"), counts, survey.rows, 1_000, []):
        pass
    assert counts.as_dict() == {
        **{"rows": 60_000, "orders": 2_107, "lines": 58_631, "return_lines": 1_039, "return_commands": 1_044},
        **{"returns_unmatched": 539, "corrections": 330, "dead_letters": 0},
    }
    check_repeatable(survey)
