"""Topics and records fit each other; views name what the records say."""

import json
import re

import pytest

from schemas import codec, topics, views
from schemas.topics import ALL, EVERY, Topic

STAGES = {"stock", "orders", "payments"}


def test_every_topic_of_the_module_is_in_the_list_once() -> None:
    assert sorted(t.name for t in EVERY) == sorted({t.name for t in vars(topics).values() if isinstance(t, Topic)})


@pytest.mark.parametrize("topic", EVERY, ids=lambda t: t.name)
def test_a_topic_carries_known_records_and_has_writers_and_readers(topic: Topic) -> None:
    assert topic.records
    assert set(topic.records) <= set(codec.schema_ids())
    assert topic.writers
    assert topic.readers
    assert re.fullmatch(r"[a-z][a-z.-]+", topic.name)


def test_every_record_is_carried_by_some_topic() -> None:
    assert {record for topic in EVERY for record in topic.records} == set(codec.schema_ids())


@pytest.mark.parametrize("topic", EVERY, ids=lambda t: t.name)
def test_the_records_docs_name_their_topic(topic: Topic) -> None:
    """A record on several topics (TaskPositions) says where in words; an edge record names its one topic."""
    docs = [json.loads(codec.schema_text(record))["doc"] for record in topic.records if record not in {"TaskPositions", "StockCommands", "OrderCommands"}]
    assert all(topic.name in doc for doc in docs)


def test_levels_and_changelogs_are_compacted_and_nothing_else() -> None:
    assert {t.name for t in ALL if t.compacted} == {"stock.levels", "stock.state", "order.state", "payment.state"}


def test_changelogs_belong_to_one_stage_and_carry_its_positions() -> None:
    for topic in (topics.STOCK_STATE, topics.ORDER_STATE, topics.PAYMENT_STATE):
        assert topic.writers == topic.readers
        assert set(topic.writers) <= STAGES
        assert "TaskPositions" in topic.records


def test_everything_but_changelogs_kept_for_the_audit_is_kept_for_ever() -> None:
    for topic in ALL:
        config = topic.config()
        assert config["cleanup.policy"] == ("compact" if topic.compacted else "delete")
        assert topic.compacted or config["retention.ms"] == "-1"


def test_a_dead_letter_has_room_for_the_largest_record() -> None:
    largest = max(topic.max_message_bytes for topic in ALL if topic is not topics.DEAD_LETTERS)
    assert topics.DEAD_LETTERS.max_message_bytes > largest + 64 * 1024


def test_a_prefix_goes_before_the_name() -> None:
    assert topics.ORDERS.named() == "orders"
    assert topics.ORDERS.named("eu.") == "eu.orders"


def test_no_id_can_be_the_positions_key() -> None:
    assert topics.POSITIONS_KEY.startswith(b"\0")


def _fields(name: str) -> set[str]:
    return {field["name"] for field in json.loads(codec.schema_text(name))["fields"]}


def test_product_columns_are_the_fields_of_a_level() -> None:
    assert set(views.PRODUCT_COLUMNS) == _fields("StockLevel")


def test_order_columns_are_fields_of_an_outcome() -> None:
    assert set(views.ORDER_COLUMNS) == _fields("OrderOutcome") - {"change", "lines"}


def test_line_columns_are_the_fields_of_an_outcome_s_line() -> None:
    lines = next(f for f in json.loads(codec.schema_text("OrderOutcome"))["fields"] if f["name"] == "lines")
    assert set(views.ORDER_LINE_COLUMNS) == {field["name"] for field in lines["type"]["items"]["fields"]} | {"order_id", "version"}


def test_every_table_names_each_column_once() -> None:
    for columns in (views.PRODUCT_COLUMNS, views.USER_COLUMNS, views.ORDER_COLUMNS, views.ORDER_LINE_COLUMNS):
        assert len(set(columns)) == len(columns) > 0


def test_time_columns_are_the_records_timestamps() -> None:
    fields = [field for name in ("StockLevel", "OrderOutcome") for field in json.loads(codec.schema_text(name))["fields"]]
    stamps = {field["name"] for field in fields if "timestamp-millis" in json.dumps(field)}
    assert {"first_order_at", "last_order_at"} | stamps == views.TIME_COLUMNS


def test_redis_keys() -> None:
    assert views.stock_key("85123A") == "stock:85123A"
    assert views.order_key(283726776524341249) == "order:283726776524341249"
    assert views.position_key("order.outcomes", 3) == "sink:position:order.outcomes:3"
