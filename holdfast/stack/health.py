"""Does a server answer? Asked with the clients that will use it."""

import http.client
import socket
import urllib.request
from collections.abc import Callable

from holdfast.stack.addresses import MysqlAddress
from holdfast.stack.errors import NotHealthyError
from schemas.secure import kafka_settings, mysql_settings

TIMEOUT_S = 3.0
GATEWAY_TIMEOUT_S = 1.0
"""Less than the servers have: the supervisor asks while it looks after all the others."""


def check_kafka(bootstrap: str) -> None:
    """Raise NotHealthyError unless one of the brokers at `bootstrap` (host:port, ...) lists its topics."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    _check_port(bootstrap.split(","))
    settings: dict[str, str | int | float | bool] = {**kafka_settings(bootstrap), "socket.timeout.ms": int(TIMEOUT_S * 1000), "log_level": 2}
    try:
        AdminClient(settings).list_topics(timeout=TIMEOUT_S)
    except KafkaException as error:
        raise NotHealthyError(f"Kafka at {bootstrap} does not answer: {error}") from error


def check_mysql(url: str) -> None:
    """Raise NotHealthyError unless the database at `url` lets us in and answers."""
    import pymysql

    at = MysqlAddress.parse(url)
    try:
        connection = pymysql.connect(
            host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, connect_timeout=3, **mysql_settings()
        )
        connection.ping(reconnect=False)
        connection.close()
    except pymysql.MySQLError as error:
        raise NotHealthyError(f"the database {at.database} at {at.host}:{at.port} does not answer: {error}") from error


def check_redis(url: str) -> None:
    """Raise NotHealthyError unless the Redis at `url` answers a PING; one still loading its file does not."""
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        # The URL may hold a password; the client's own message names the host and port.
        raise NotHealthyError(f"Redis does not answer: {error}") from error


def check_gateway(url: str) -> None:
    """Raise NotHealthyError unless the gateway at `url` says that it can take orders."""
    try:
        # Never through a proxy of the environment: it is our own.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/readyz", timeout=GATEWAY_TIMEOUT_S).close()
    except (OSError, http.client.HTTPException) as error:
        raise NotHealthyError(f"the gateway at {url} takes no orders: {error}") from error


CHECKS: dict[str, Callable[[str], None]] = {"kafka": check_kafka, "mysql": check_mysql, "redis": check_redis}


def _check_port(addresses: list[str]) -> None:
    # librdkafka waits longer and longer between its attempts and logs each; a plain connect costs nothing.
    reasons = []
    for host, _, port in (at.rpartition(":") for at in addresses):
        try:
            socket.create_connection((host, int(port)), TIMEOUT_S).close()
        except OSError as error:
            reasons.append(str(error))
    if len(reasons) == len(addresses):
        raise NotHealthyError(f"nothing listens at {', '.join(addresses)}: {reasons[0]}")
