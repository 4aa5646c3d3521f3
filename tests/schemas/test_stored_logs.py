"""A log that an earlier version wrote is read by this one: by the codec, the audit, and the stages, which decide it as it was decided."""

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from holdfast.audit.check import check
from schemas import codec, topics
from tests.support import stored_log
from tests.support.flow import Flow
from tests.support.replay import new_flow
from tests.support.stored_log import StoredLog

PATHS = sorted(stored_log.FOLDER.glob("*.avro"))
WHAT_TO_DO = "run `python -m tests.support.stored_log` and commit what it writes: the next version is held against it"


@lru_cache(maxsize=2)
def _read(path: Path) -> StoredLog:
    return stored_log.read(path)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def stored(request: pytest.FixtureRequest) -> StoredLog:
    return _read(request.param)


def _ids(stored: StoredLog) -> set[int]:
    return {int.from_bytes(value[1:5], "big") for value in stored.values() if len(value) >= 5}


def test_every_version_of_every_record_is_in_a_stored_log() -> None:
    # Which generation is in use is said beside the log, not in it.
    known = {schema_id: name for name, ids in codec.schema_ids().items() if name not in topics.GENERATIONS.records for schema_id in ids}
    found = set[int]().union(*(_ids(_read(path)) for path in PATHS))
    assert {schema_id: name for schema_id, name in known.items() if schema_id not in found} == {}, WHAT_TO_DO


def test_the_audit_finds_a_stored_log_clean(stored: StoredLog) -> None:
    report = check(stored.log.for_audit())
    assert report.ok, report.text()
    assert report.checked["I2"]["orders"] > 50


def test_the_stages_decide_a_stored_log_as_it_was_decided(stored: StoredLog) -> None:
    flow = new_flow(stored.tape.partitions)
    for step in stored.tape.steps:
        flow.tasks[step.task].take([stored_record for stored_record in map(_record, step.records)], step.now, step.fate)
    assert _last(flow.log, topics.ORDER_OUTCOMES, "OrderOutcome", "order_id") == _last(stored.log, topics.ORDER_OUTCOMES, "OrderOutcome", "order_id")
    assert _last(flow.log, topics.STOCK_LEVELS, "StockLevel", "product_id") == _last(stored.log, topics.STOCK_LEVELS, "StockLevel", "product_id")


def test_the_stages_open_on_a_stored_log_and_go_on(stored: StoredLog) -> None:
    """The rows of an earlier version are taken over: what it held is shipped, what it shipped is taken back, and new orders are decided."""
    flow = Flow(partitions=stored.log.partitions, log=stored_log.copy(stored.log))
    flow.now = max(step.now for step in stored.tape.steps) + 1
    before = {order_id: outcome["status"] for order_id, outcome in _last(flow.log, topics.ORDER_OUTCOMES, "OrderOutcome", "order_id").items()}
    for order_id, status in before.items():
        flow.command({"CONFIRMED": "SHIP", "SHIPPED": "RETURN"}.get(status, "CANCEL"), order_id, command_id=f"later-{order_id}")
    flow.stock("RESTOCK", "A", 5, command_id="later")
    flow.order(10**9, ("A", 1))
    flow.settle()
    flow.assert_clean()
    after = Counter(
        (before[order_id], o["status"]) for order_id, o in _last(flow.log, topics.ORDER_OUTCOMES, "OrderOutcome", "order_id").items() if order_id in before
    )
    assert after["CONFIRMED", "SHIPPED"] > 0
    assert after["SHIPPED", "RETURNED"] > 0
    assert flow.history(10**9)[-1] == "DECIDED CONFIRMED"


def _record(fields: tuple[Any, ...]) -> Any:
    return stored_log.Record(*fields)


def _last(log: Any, topic: topics.Topic, name: str, key: str) -> dict[Any, dict[str, Any]]:
    """Return the last record of each order or product, decoded."""
    found = (codec.decode(r.value) for p in range(log.partitions) for r in log.records[topic.name, p])
    return {decoded.value[key]: decoded.value for decoded in found if decoded.name == name}
