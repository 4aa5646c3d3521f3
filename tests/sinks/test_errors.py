"""What the stores' errors mean, and how long a wait is."""

import pymysql
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from sinks.config import MysqlAddress
from sinks.errors import NotNowError, SinkError
from sinks.mysql_sink import classified
from sinks.redis_sink import _meaning
from sinks.worker import LONGEST_DELAY_S, back_off

AT = MysqlAddress("mysql://u:secret@h:1/d")


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (pymysql.OperationalError(2003, "Can't connect"), NotNowError),
        (pymysql.OperationalError(2006, "gone"), NotNowError),
        (pymysql.OperationalError(2013, "lost"), NotNowError),
        (pymysql.OperationalError(1040, "Too many connections"), NotNowError),
        (pymysql.OperationalError(1053, "shutdown"), NotNowError),
        (pymysql.OperationalError(1205, "lock wait"), NotNowError),
        (pymysql.OperationalError(1213, "deadlock"), NotNowError),
        (pymysql.OperationalError(1290, "--read-only"), NotNowError),
        (pymysql.InternalError(1836, "read only mode"), NotNowError),
        (pymysql.OperationalError(1927, "killed"), NotNowError),
        (pymysql.OperationalError(1021, "disk full"), NotNowError),
        (pymysql.OperationalError(1114, "The table 'orders' is full"), NotNowError),
        (pymysql.OperationalError(1030, "Got error 28 from storage engine"), NotNowError),
        (pymysql.OperationalError(1026, "Error writing file"), NotNowError),
        (pymysql.OperationalError(1180, "Got error 28 during COMMIT"), NotNowError),
        (pymysql.OperationalError(1412, "Table definition has changed"), NotNowError),
        (pymysql.OperationalError(1226, "User has exceeded the max_user_connections"), NotNowError),
        (pymysql.OperationalError(1792, "Cannot execute statement in a READ ONLY transaction"), NotNowError),
        (pymysql.OperationalError(1969, "max_statement_time exceeded"), NotNowError),
        (pymysql.OperationalError(1153, "Got a packet bigger than 'max_allowed_packet'"), NotNowError),
        (pymysql.InternalError("Packet sequence number wrong"), NotNowError),
        (pymysql.InterfaceError(0, ""), NotNowError),
        (ConnectionResetError("reset"), NotNowError),
        (pymysql.ProgrammingError(1146, "no table"), NotNowError),
        (pymysql.OperationalError(1045, "denied"), SinkError),
        (pymysql.OperationalError(1142, "denied to table"), SinkError),
        (pymysql.OperationalError(1143, "denied to column"), SinkError),
        (pymysql.OperationalError(1130, "Host is not allowed to connect"), SinkError),
        (pymysql.DataError(1406, "too long"), pymysql.DataError),
        (pymysql.ProgrammingError(1064, "syntax"), pymysql.ProgrammingError),
        (pymysql.IntegrityError(1062, "duplicate"), pymysql.IntegrityError),
    ],
)
def test_mysql_errors(error, meaning):
    found = classified(error, AT)
    assert type(found) is meaning
    assert "secret" not in str(found)


def test_missing_tables_name_the_command():
    assert "holdfast migrate" in str(classified(pymysql.ProgrammingError(1146, "no table"), AT))


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), NotNowError),
        (redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: f1, on @user_script:12."), NotNowError),
        (redis.exceptions.ReadOnlyError("You can't write against a read only replica."), NotNowError),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), NotNowError),
        (redis.ResponseError("BUSY Redis is busy running a script."), NotNowError),
        (redis.ResponseError("WRONGPASS invalid"), SinkError),
        (redis.exceptions.NoPermissionError("no permissions"), SinkError),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write. script: f1, on @user_script:1."), NotNowError),
        (redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value script: f1"), SinkError),
        (redis.ResponseError("ERR wrong number of arguments"), redis.ResponseError),
    ],
)
def test_redis_errors(error, meaning):
    assert type(_meaning(error)) is meaning


@pytest.mark.parametrize(
    ("failures", "wanted", "jitter", "seconds"),
    [(1, 0, 1, 0.1), (1, 0, 0, 0.05), (2, 0, 1, 0.2), (4, 0, 1, 0.8), (7, 0, 1, 3.0), (10_000, 0, 1, 3.0), (1, 2.0, 1, 2.0), (1, 2.0, 0, 1.0)],
)
def test_waits_double_up_to_the_longest(failures, wanted, jitter, seconds):
    assert back_off(failures, wanted, jitter) == pytest.approx(seconds)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_no_wait_is_longer_than_the_longest(failures, jitter):
    assert 0 < back_off(failures, 0, jitter) <= LONGEST_DELAY_S
