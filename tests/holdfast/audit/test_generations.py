"""Several generations of the topics, numbered through."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.audit.generations import Generations
from holdfast.audit.log import Log
from holdfast.audit.murmur import order_partition, product_partition
from holdfast.audit.table import Place
from schemas import topics
from schemas.codec import encode
from tests.support.examples import example

TWO = Generations([("eu.", 8), ("eu.g2.", 24)])


@given(st.integers(1, 2**62), st.integers(0, 31))
def test_a_home_is_one_of_the_generation_that_is_asked_for(order_id: int, near: int) -> None:
    wanted = order_partition(order_id, 8) if near < 8 else 8 + order_partition(order_id, 24)
    assert TWO.home_of_order(order_id, near) == wanted
    assert TWO.home_of_order(order_id) == 8 + order_partition(order_id, 24)
    assert TWO.home_of_product("p", near) == (product_partition("p", 8) if near < 8 else 8 + product_partition("p", 24))


@given(st.integers(1, 2**62), st.integers(0, 23))
def test_a_generation_of_which_nothing_is_left_has_no_partitions(order_id: int, near: int) -> None:
    left = Generations([("eu.", 0), ("eu.g2.", 24)])
    assert left.total == 24
    assert left.home_of_order(order_id, near) == left.home_of_order(order_id) == order_partition(order_id, 24)
    assert left.shown(Place("eu.orders", near, 5)) == Place("eu.g2.orders", near, 5)
    assert left.numbered("eu.g2.orders", near) == ("orders", near)


@given(st.integers(0, 31), st.sampled_from(topics.ALL))
def test_a_number_and_the_name_on_the_brokers_are_one_another(partition: int, topic: topics.Topic) -> None:
    shown = TWO.shown(Place(f"eu.{topic.name}", partition, 5))
    assert shown == Place(f"eu.{topic.name}", partition, 5) if partition < 8 else Place(f"eu.g2.{topic.name}", partition - 8, 5)
    assert TWO.numbered(shown.topic, shown.partition) == (topic.name, partition)


def test_places_elsewhere_stay_what_they_are() -> None:
    assert TWO.shown(Place("mysql:orders", 9)) == Place("mysql:orders", 9)
    assert TWO.numbered("file:orders.csv", -1) == ("file:orders.csv", -1)


def test_a_later_generation_s_records_are_told_from_the_first_one_s() -> None:
    log = Log(2, "", [("g2.", 3)])
    decisions = {**example("StockDecisions"), "partition": 1}
    log.add(topics.STOCK_DECISIONS, 1, 0, None, encode("StockDecisions", decisions))
    log.add(topics.STOCK_DECISIONS, 3, 0, None, encode("StockDecisions", decisions))
    assert list(log.decisions.head("partition")) == [1, 3]
    log.add(topics.DEAD_LETTERS, 2, 0, None, encode("DeadLetter", {**example("DeadLetter"), "topic": "g2.orders", "partition": 1}))
    assert (log.dead_letters["topic"][0], log.dead_letters["partition"][0]) == ("orders", 3)


def test_a_row_that_was_not_carried_over_is_missing() -> None:
    log = Log(2, "", [("g2.", 3)])
    log.add(topics.ORDER_STATE, 0, 0, b"7", encode("OrderRow", {**example("OrderRow"), "order_id": 7}))
    log.next_generation()
    assert not log.rows[topics.ORDER_STATE.name]
