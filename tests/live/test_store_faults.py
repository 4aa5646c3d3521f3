"""What the stores say when they cannot: store by store, on servers of the tests' own."""

from contextlib import closing

import pytest
import redis

from schemas import views
from sinks import batch
from sinks.batch import Move
from sinks.errors import NotNowError, SinkError
from sinks.migrate import migrate
from sinks.mysql_sink import LEAST_PACKET, MysqlStore
from sinks.redis_sink import RedisStore
from tests.support.outputs import OUTCOMES, expected, in_mysql, in_redis, level, outcome, records
from tests.support.servers import own_database, own_redis
from tests.support.stack import connect

pytestmark = pytest.mark.live
P0 = (OUTCOMES, 0)
VALUES = [level("A"), outcome(1)]


def write(store, values, move=Move(0, 1)):  # noqa: B008 (a value)
    store.write(batch.fold(records(values)), {P0: move})


def test_the_stacks_user_may_not_write_to_a_read_only_server(tmp_path):
    with own_database(tmp_path) as server:
        migrate(server.url)
        server.kill()
        server.start("--read-only=1")
        with closing(MysqlStore(server.url)) as store, pytest.raises(NotNowError, match="read-only"):
            store.open([P0])


def test_the_stacks_user_survives_restarts_and_gets_a_new_password(tmp_path):
    with own_database(tmp_path) as server:
        for _ in range(2):
            server.kill()
            server.start()
    (tmp_path / "home" / "mysql.password").unlink()
    with own_database(tmp_path) as server, connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        assert [grant.partition(" TO ")[0] for (grant,) in cursor.fetchall()] == ["GRANT USAGE ON *.*", "GRANT ALL PRIVILEGES ON `holdfast%`.*"]


def test_a_starting_server_leaves_the_files_of_its_neighbours(tmp_path, monkeypatch):
    """MariaDB deletes every leftover table in its temporary folder: in the machine's those of other servers at work."""
    neighbour = tmp_path / "machine" / "#sql-temptable-4d2-7-1.MAI"
    neighbour.parent.mkdir()
    neighbour.touch()
    monkeypatch.setenv("TMPDIR", str(neighbour.parent))
    with own_database(tmp_path):
        assert neighbour.exists()


def test_a_batch_larger_than_a_packet_is_whole(tmp_path):
    with own_database(tmp_path) as server:
        migrate(server.url)
        server.kill()
        server.start(f"--max-allowed-packet={LEAST_PACKET}")
        values = [outcome(i, 1, [f"P{k}\U0001f9f8" for k in range(30)]) for i in range(1, 60)] + [level(f"P{k}") for k in range(400)]
        with closing(MysqlStore(server.url)) as store:
            store.open([P0])
            write(store, values)
        assert in_mysql(server.url) == expected(values)


def test_a_server_that_takes_no_statement_of_ours_is_told_so(tmp_path):
    with own_database(tmp_path) as server:
        server.kill()
        server.start("--max-allowed-packet=1024")
        with closing(MysqlStore(server.url)) as store, pytest.raises(NotNowError, match="set max_allowed_packet"):
            store.open([P0])


@pytest.mark.parametrize("lock", [f"LOCK TABLES {views.ORDER_LINES} WRITE", f"LOCK TABLES {views.SINK_POSITIONS} READ"])
def test_a_locked_table_is_not_now_and_nothing_of_the_batch_stays(fresh_database, lock):
    migrate(fresh_database)
    with closing(MysqlStore(fresh_database)) as store:
        store.open([P0])
        with connect(fresh_database) as connection, connection.cursor() as cursor:
            cursor.execute(lock)
            with pytest.raises(NotNowError, match="Lock wait timeout"):
                write(store, VALUES)
        store.check({P0: 0})
        write(store, VALUES)
    assert in_mysql(fresh_database) == expected(VALUES)


@pytest.mark.parametrize("table", [views.PRODUCTS, views.USERS, views.ORDERS, views.ORDER_LINES])
def test_a_column_of_a_later_revision_is_missed_before_anything_is_read(fresh_database, table):
    migrate(fresh_database)
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP COLUMN {'version' if table != views.USERS else 'last_order_at'}")
    with closing(MysqlStore(fresh_database)) as store, pytest.raises(NotNowError, match="holdfast migrate"):
        store.open([P0])


def test_a_dropped_database_is_not_now_and_names_the_command(tmp_path):
    with own_database(tmp_path) as server:
        migrate(server.url)
        with closing(MysqlStore(server.url)) as store:
            store.open([P0])
            with connect(server.url) as connection, connection.cursor() as cursor:
                cursor.execute("DROP DATABASE holdfast")
            for _ in range(2):
                with pytest.raises(NotNowError, match="holdfast migrate"):
                    write(store, VALUES)


def test_somebody_elses_key_under_our_name_is_said(fresh_redis):
    store = RedisStore(fresh_redis)
    store.open([P0])
    with redis.Redis.from_url(fresh_redis) as client:
        client.set(views.stock_key("A"), "something else")
    with pytest.raises(SinkError, match="Redis database of its own"):
        write(store, VALUES)


def test_redis_starts_on_a_file_with_a_hole_in_it(tmp_path):
    """A disk that is full takes part of a write; what follows when there is room again would keep Redis from ever starting."""
    with own_redis(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.mset({"before": 1, "sink:position": 1})
            server.kill()
        (file,) = tmp_path.rglob("*.incr.aof")
        whole = file.read_bytes()
        file.write_bytes(whole + bytes(32) + whole)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.mget("before", "sink:position") == [b"1", b"1"]
        assert [each.read_bytes() for each in tmp_path.rglob("appendonlydir.spoiled/*.incr.aof")] == [whole + bytes(32) + whole]


def test_redis_starts_empty_where_its_file_cannot_be_read(tmp_path):
    with own_redis(tmp_path) as server:
        server.kill()
        (file,) = tmp_path.rglob("*.base.rdb")
        file.write_bytes(b"not one of Redis")
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_a_row_without_a_version_is_written_again(fresh_redis):
    store = RedisStore(fresh_redis)
    store.open([P0])
    with redis.Redis.from_url(fresh_redis) as client:
        client.hset(views.stock_key("A"), "version", "none")
    write(store, VALUES)
    assert in_redis(fresh_redis) == expected(VALUES).without_users()


def test_a_redis_that_waits_for_replicas_is_not_now(tmp_path):
    with own_redis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(server.url)
        store.open([P0])
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(NotNowError, match="NOREPLICAS"):
            write(store, VALUES)
        client.config_set("min-replicas-to-write", 0)
        store.check({P0: 0})
        write(store, VALUES)
        assert in_redis(server.url) == expected(VALUES).without_users()
