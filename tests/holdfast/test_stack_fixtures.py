"""The fixtures the other tests stand on."""

import redis
from confluent_kafka.admin import AdminClient

from tests.support.stack import connect


def test_fixtures_lead_to_servers_that_answer(kafka: str, fresh_database: str, fresh_redis: str) -> None:
    assert len(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).brokers) == 1
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        assert cursor.execute("SHOW TABLES") == 0
        cursor.execute("CREATE TABLE t (a INT)")
    with redis.Redis.from_url(fresh_redis) as client:
        assert client.dbsize() == 0
        client.set("a", 1)


def test_a_fresh_database_and_a_fresh_redis_are_empty_again(fresh_database: str, fresh_redis: str) -> None:
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        assert cursor.execute("SHOW TABLES") == 0
    with redis.Redis.from_url(fresh_redis) as client:
        assert client.dbsize() == 0
