"""What holds for every stage, whatever comes in: it decides, repeatably, restorably, and however the input is cut into batches."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.topics import DEAD_LETTERS
from streams.payments.sandbox import Sandbox
from streams.runtime.records import Place, Record, Stage, StageKind, Write
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK
from tests.streams.stages import inputs
from tests.support.stages import NOW, PARTITIONS, changelog, dead, restored, rows_of

HERE = Place(0, PARTITIONS)
TIMEOUT = 1_000
ORDERS = orders_kind(TIMEOUT)
PAYMENTS = payments_kind(Sandbox(0.3, slow_ms=TIMEOUT // 2, silent_ms=TIMEOUT))

either = st.one_of(
    st.tuples(st.just(STOCK), st.lists(inputs.stock_records, max_size=8)),
    st.tuples(st.just(ORDERS), st.lists(inputs.order_records, max_size=10)),
    st.tuples(st.just(PAYMENTS), st.lists(inputs.payment_records, max_size=6)),
)
Case = tuple[StageKind, list[Record]]
many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _numbered(records: Sequence[Record]) -> list[Record]:
    return [record._replace(offset=offset) for offset, record in enumerate(records)]


def _decide(stage: Stage, records: Sequence[Record], size: int = 1_000, now: int = NOW) -> list[Write]:
    """Decide records in batches of `size`, all at the same time."""
    writes: list[Write] = []
    for start in range(0, len(records), size):
        writes += stage.decide(records[start : start + size], now)
        stage.committed()
    return writes


@many
@given(either)
def test_the_same_records_at_the_same_time_give_the_same_bytes(case: Case) -> None:
    kind, records = case
    one, other = kind.new(HERE), kind.new(HERE)
    assert _decide(one, _numbered(records)) == _decide(other, _numbered(records))
    assert one.expire(NOW + TIMEOUT) == other.expire(NOW + TIMEOUT)


@many
@given(either, st.integers(1, 3))
def test_the_changelog_restores_the_stage(case: Case, size: int) -> None:
    kind, records = case
    stage = kind.new(HERE)
    writes = _decide(stage, _numbered(records), size)
    again = restored(kind, HERE, writes)
    assert rows_of(again) == rows_of(stage)
    for now in (NOW, NOW + TIMEOUT):
        assert again.is_due(now) == stage.is_due(now)
        assert changelog(again.expire(now), kind.changelog) == changelog(stage.expire(now), kind.changelog)


@many
@given(either, st.integers(1, 3))
def test_a_restored_stage_goes_on_as_the_first_would_have(case: Case, cut: int) -> None:
    kind, records = case
    stage, numbered = kind.new(HERE), _numbered(records)
    first = _decide(stage, numbered[:cut])
    assert _decide(restored(kind, HERE, first), numbered[cut:]) == _decide(stage, numbered[cut:])


@many
@given(either, st.integers(1, 3))
def test_rows_that_become_bytes_after_every_batch_change_nothing_that_is_written(case: Case, size: int) -> None:
    kind, records = case
    objects, cooled = kind.new(HERE), kind.new(HERE)
    first = _decide(objects, _numbered(records), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.stages.orders.HOT_ROWS", 0)
        patch.setattr("streams.stages.payments.HOT_ROWS", 0)
        assert _decide(cooled, _numbered(records), size) == first
    assert cooled.expire(NOW + TIMEOUT) == objects.expire(NOW + TIMEOUT)


@many
@given(either, st.integers(1, 3))
def test_where_the_batches_end_changes_no_row(case: Case, size: int) -> None:
    """Except that amendments are said once per batch, so a row's version may differ."""
    kind, records = case
    whole, parts = kind.new(HERE), kind.new(HERE)
    _decide(whole, _numbered(records))
    _decide(parts, _numbered(records), size)
    assert _without_versions(rows_of(whole)) == _without_versions(rows_of(parts))


def _without_versions(rows: dict[object, object]) -> dict[object, object]:
    for row in rows.values():
        if hasattr(row, "deadline"):
            row.version = 0  # type: ignore[attr-defined]
    return rows


@many
@given(st.one_of(st.lists(inputs.stock_records, min_size=1, max_size=6)))
def test_every_line_and_command_at_the_stock_stage_leaves_its_trace(records: list[Record]) -> None:
    """Answered, dead or sent on: nothing that came in is lost, but for repeated commands."""
    stage = STOCK.new(HERE)
    writes = stage.decide(_numbered(records), NOW)
    came = [(n, index) for n, record in enumerate(records) for index in range(_size(record))]
    answered = {place for write in writes for place in _places(write)}
    gone = {(letter["offset"], max(letter["index"], 0)) for letter in dead(writes)}
    forwarded = sum(_size_of(write) for write in writes if write.partition != 0 and write.topic in STOCK.inputs)
    repeated = len(came) - len(answered | gone) - forwarded
    assert 0 <= repeated <= _commands(records)


def _size(record: Record) -> int:
    try:
        return codec.decode(record.value).size
    except codec.UndecodableError:
        return 1


def _size_of(write: Write) -> int:
    return codec.decode(write.value).size


def _places(write: Write) -> list[tuple[int, int]]:
    name, value, _ = codec.decode(write.value)
    return list(zip(value["offset"], value["index"], strict=True)) if name in ("StockDecisions", "StockMovements") else []


def _commands(records: Sequence[Record]) -> int:
    return sum(_size(record) for record in records if record.topic == "stock.commands")


@many
@given(either)
def test_whatever_is_written_is_a_record_of_its_topic(case: Case) -> None:
    kind, records = case
    stage = kind.new(HERE)
    writes = [*_decide(stage, _numbered(records)), *stage.expire(NOW + TIMEOUT)]
    for write in writes:
        assert 0 <= write.partition < PARTITIONS
        assert write.value is not None or write.topic is kind.changelog
        assert write.value is None or codec.decode(write.value).name in write.topic.records
        assert write.topic is not kind.changelog or write.partition == HERE.partition
    rows = [write.key for write in writes if write.topic is kind.changelog]
    assert None not in rows


@pytest.mark.parametrize("kind", [STOCK, ORDERS, PAYMENTS], ids=lambda kind: kind.name)
def test_each_row_is_written_once_per_batch(kind: StageKind) -> None:
    @many
    @given(st.lists({"stock": inputs.stock_records, "orders": inputs.order_records, "payments": inputs.payment_records}[kind.name], max_size=8))
    def once(records: list[Record]) -> None:
        keys = [write.key for write in kind.new(HERE).decide(_numbered(records), NOW) if write.topic is kind.changelog]
        assert len(keys) == len(set(keys))

    once()


def test_the_dead_letters_of_a_stage_name_it() -> None:
    for kind in (STOCK, ORDERS, PAYMENTS):
        writes = kind.new(HERE).decide([Record(kind.inputs[0].name, 0, 9, None, b"garbage")], NOW)
        assert [(letter["stage"], letter["key"]) for letter in dead(writes)] == [(kind.name, None)]
        assert [write.topic for write in writes] == [DEAD_LETTERS]
