"""The stores' contract, on the real servers and on the one in memory that other tests use."""

from contextlib import closing

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import views
from sinks import batch, sql
from sinks.batch import Move
from sinks.errors import NotNowError, PositionMovedError, SinkError
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from tests.support.memory_store import MemoryStore
from tests.support.outputs import OUTCOMES, VALUES, Content, expected, in_mysql, in_redis, level, outcome, records
from tests.support.servers import own_redis
from tests.support.stack import connect

pytestmark = pytest.mark.live
P0, P1 = (OUTCOMES, 0), (OUTCOMES, 1)
NOBODY = "127.0.0.1:1"


class Memory:
    def __init__(self, _request):
        self.store = MemoryStore()

    def content(self) -> Content:
        return self.store.content

    def lose(self) -> None:
        self.store.__init__()

    def expected(self, values) -> Content:
        return expected(values)


class Mysql:
    def __init__(self, request):
        self.url = request.getfixturevalue("module_database")
        migrate(self.url)
        self.store = MysqlStore(self.url)

    def content(self) -> Content:
        return in_mysql(self.url)

    def lose(self) -> None:
        with connect(self.url) as connection, connection.cursor() as cursor:
            for table in (views.PRODUCTS, views.USERS, views.ORDERS, views.ORDER_LINES, views.SINK_POSITIONS):
                cursor.execute(f"DELETE FROM {table}")
            connection.commit()

    def expected(self, values) -> Content:
        return expected(values)


class Redis:
    def __init__(self, request):
        self.url = request.getfixturevalue("module_redis")
        self.store = RedisStore(self.url)

    def content(self) -> Content:
        return in_redis(self.url)

    def lose(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushdb()

    def expected(self, values) -> Content:
        return expected(values).without_users()


@pytest.fixture(params=[Memory, Mysql, Redis], ids=["memory", "mysql", "redis"])
def kept(request):
    """A store, empty, and how to look into it."""
    found = request.param(request)
    found.lose()
    yield found
    found.store.close()


def write(store, values, moves=None) -> None:
    store.write(batch.fold(records(values)), moves or {})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES, st.randoms())
def test_batches_in_any_order_and_repeated_converge_to_the_fold(kept, values, random):
    kept.lose()
    batches = [batch.fold(some) for some in batch.chunks(records(values), 60)] * 2
    random.shuffle(batches)
    for folded in batches:
        kept.store.write(folded, {})
    assert kept.content() == kept.expected(values)


def test_an_old_version_never_overwrites(kept):
    new = [level("A", 5), outcome(7, 2, ["A", "B"])]
    write(kept.store, new)
    write(kept.store, [level("A", 4), outcome(7, 1, ["A"])])
    assert kept.content() == kept.expected(new)


def test_the_same_version_changes_nothing(kept):
    write(kept.store, [level("A", 5)])
    write(kept.store, [level("A", 5, available=1)])
    assert kept.content().products["A"]["available"] == 100


def shipped(order_id, version=2, products=("A", "B")):
    made = outcome(order_id, version, products, change="SHIPPED", status="SHIPPED")
    return made | {"lines": [line | {"returned": 0} for line in made["lines"]]}


def decided(order_id, version=1, products=("A", "B")):
    made = outcome(order_id, version, products, change="DECIDED" if version == 1 else "AMENDED", status="CONFIRMED")
    return made | {"lines": [line | {"returned": 0} for line in made["lines"]]}


@pytest.mark.parametrize(
    "before",
    [
        [decided(1), decided(2), decided(3, 2)],
        [],
        [decided(1), decided(3, 2)],
        [decided(1), decided(2, products=["A"]), decided(3, 2)],
        [decided(1), shipped(2), decided(3, 2)],
        [decided(1), shipped(2, 3), decided(3, 2)],
        [decided(1), decided(2), decided(3)],
    ],
    ids=["all there", "none", "one is new", "a line is new", "one is done", "one is newer", "one is two behind"],
)
def test_shipped_orders_are_whole_whatever_was_there(kept, before):
    write(kept.store, before)
    after = [shipped(1), shipped(2), shipped(3, 3)]
    write(kept.store, after)
    assert kept.content() == kept.expected([*before, *after])
    write(kept.store, after)
    assert kept.content() == kept.expected([*before, *after])


def test_ids_that_differ_by_case_or_a_blank_are_different_things(kept):
    values = [level(p) for p in ("85123a", "85123A", "85123A ", "é", "e", "ﬁ", "fi")]
    write(kept.store, values)
    assert len(kept.content().products) == len(values)


def test_a_big_batch_is_whole(kept):
    products = [f"P{i}" for i in range(800)]
    values = [level(p) for p in products] + [outcome(i, 1, products) for i in range(1, 12)]
    write(kept.store, values)
    assert kept.content() == kept.expected(values)


def test_a_partition_never_heard_of_stands_at_0(kept):
    assert kept.store.open([P0, P1]) == {P0: 0, P1: 0}
    kept.store.check({P0: 0, P1: 0})


def test_positions_move_with_the_batch(kept):
    kept.store.open([P0, P1])
    write(kept.store, [outcome(1)], {P0: Move(0, 10)})
    write(kept.store, [outcome(2)], {P0: Move(10, 12), P1: Move(0, 3)})
    kept.store.check({P0: 12, P1: 3})
    assert kept.store.open([P0, P1]) == {P0: 12, P1: 3}


def test_a_writer_that_expects_another_position_moves_none(kept):
    kept.store.open([P0, P1])
    write(kept.store, [outcome(1)], {P0: Move(0, 10)})
    for expected_at in (0, 9, 11):
        with pytest.raises(PositionMovedError, match=r"order\.outcomes"):
            write(kept.store, [outcome(2)], {P0: Move(expected_at, 12), P1: Move(0, 3)})
    with pytest.raises(PositionMovedError):
        write(kept.store, [outcome(2)], {P1: Move(0, 3), P0: Move(0, 12)})
    kept.store.check({P0: 10, P1: 0})


def test_a_store_that_lost_its_positions_is_noticed_by_writing_and_by_looking(kept):
    kept.store.open([P0])
    kept.lose()
    with pytest.raises(PositionMovedError):
        write(kept.store, [outcome(1)], {P0: Move(0, 10)})
    with pytest.raises(PositionMovedError):
        kept.store.check({P0: 0})
    assert kept.store.open([P0]) == {P0: 0}


def test_a_store_that_was_closed_connects_anew(kept):
    kept.store.open([P0])
    kept.store.close()
    write(kept.store, [outcome(1)], {P0: Move(0, 1)})
    kept.store.check({P0: 1})


def test_a_zombie_leaves_no_row_in_mysql(fresh_database):
    migrate(fresh_database)
    first, second = MysqlStore(fresh_database), MysqlStore(fresh_database)
    first.open([P0])
    second.open([P0])
    write(first, [outcome(1)], {P0: Move(0, 1)})
    with pytest.raises(PositionMovedError):
        write(second, [outcome(2)], {P0: Move(0, 2)})
    assert set(in_mysql(fresh_database).orders) == {1}
    for store in (first, second):
        store.close()


def test_a_writer_stopped_in_the_middle_of_a_transaction_does_not_hold_up_the_next(fresh_database):
    migrate(fresh_database)
    with closing(MysqlStore(fresh_database)) as stopped, closing(MysqlStore(fresh_database)) as following:
        stopped.open([P0])
        with stopped._connection.cursor() as cursor:
            cursor.execute(sql.MOVE_POSITION, (1, "mysql", *P0, 0))
        assert refusals(lambda: write(following, [outcome(1)], {P0: Move(0, 1)})) > 0
        with pytest.raises(NotNowError):
            write(stopped, [outcome(2)], {P0: Move(1, 2)})
        assert in_mysql(fresh_database) == expected([outcome(1)])


def refusals(call) -> int:
    """How often a call was told "not now" before it went through."""
    for count in range(8):
        try:
            call()
        except NotNowError:
            continue
        return count
    raise AssertionError("refused again and again")


def test_a_connection_killed_between_batches_is_not_now_and_then_works_again(fresh_database):
    migrate(fresh_database)
    store = MysqlStore(fresh_database)
    store.open([P0])
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL {store._connection.thread_id()}")
    with pytest.raises(NotNowError):
        write(store, [outcome(1)], {P0: Move(0, 1)})
    assert in_mysql(fresh_database) == Content()
    write(store, [outcome(1)], {P0: Move(0, 1)})
    assert in_mysql(fresh_database) == expected([outcome(1)])
    store.close()


def test_a_lock_wait_is_not_now_and_writes_nothing(fresh_database):
    migrate(fresh_database)
    store = MysqlStore(fresh_database)
    store.open([P0])
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO users VALUES ('17850', NOW(3), NOW(3))")
        with pytest.raises(NotNowError, match="Lock wait timeout"):
            write(store, [level("A"), outcome(1)], {P0: Move(0, 1)})
        connection.rollback()
    assert in_mysql(fresh_database) == Content()
    assert store.open([P0]) == {P0: 0}
    store.close()


def test_missing_tables_are_not_now_and_name_the_command(fresh_database):
    store = MysqlStore(fresh_database)
    with pytest.raises(NotNowError, match="holdfast migrate"):
        store.open([P0])
    migrate(fresh_database)
    assert store.open([P0]) == {P0: 0}
    store.close()


def test_a_wrong_password_is_said_without_the_password(mysql_url):
    scheme, _, rest = mysql_url.partition("://")
    with pytest.raises(SinkError, match="does not let us in") as caught:
        MysqlStore(f"{scheme}://holdfast:wrong-secret@{rest.rpartition('@')[2]}").open([P0])
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("store", [MysqlStore(f"mysql://u:p@{NOBODY}/d"), RedisStore(f"redis://{NOBODY}/0")], ids=["mysql", "redis"])
def test_a_server_that_is_down_is_not_now(store):
    for call in (lambda: store.open([P0]), lambda: store.check({P0: 0}), lambda: write(store, [outcome(1)], {P0: Move(0, 1)})):
        with pytest.raises(NotNowError):
            call()


def test_a_full_redis_is_not_now_and_moves_no_position(tmp_path):
    with own_redis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(server.url)
        store.open([P0])
        client.config_set("maxmemory", 1)
        with pytest.raises(NotNowError, match="memory"):
            write(store, [level("A"), outcome(1)], {P0: Move(0, 1)})
        client.config_set("maxmemory", 0)
        store.check({P0: 0})
        write(store, [level("A"), outcome(1)], {P0: Move(0, 1)})
        assert in_redis(server.url) == expected([level("A"), outcome(1)]).without_users()


def test_a_redis_that_became_a_replica_is_not_now(tmp_path):
    with own_redis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(server.url)
        store.open([P0])
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(NotNowError, match="cannot write now"):
            write(store, [level("A")], {P0: Move(0, 1)})


def test_a_redis_that_forgot_the_scripts_gets_them_again(fresh_redis):
    store = RedisStore(fresh_redis)
    store.open([P0])
    with redis.Redis.from_url(fresh_redis) as client:
        client.script_flush()
    write(store, [level("A")], {P0: Move(0, 1)})
    assert in_redis(fresh_redis) == expected([level("A")])
