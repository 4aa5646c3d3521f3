"""Settings and what is said about wrong ones."""

import pytest

from sinks.config import MysqlAddress, settings
from sinks.errors import SinkError
from sinks.run import store_of

MYSQL = "mysql://shop:s%40cret%2F@db:3307/hold%66ast"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("KAFKA", "MYSQL", "REDIS", "TOPIC_PREFIX", "RUN_DIR"):
        monkeypatch.delenv(f"HOLDFAST_{name}", raising=False)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("HOLDFAST_KAFKA", "k:9092")
    monkeypatch.setenv("HOLDFAST_MYSQL", MYSQL)
    monkeypatch.setenv("HOLDFAST_TOPIC_PREFIX", "eu.")
    found = settings()
    assert (found.kafka, found.mysql.get_secret_value(), found.group("redis")) == ("k:9092", MYSQL, "eu.holdfast.sink.redis")
    assert "s%40cret" not in repr(found)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, "HOLDFAST_KAFKA: Field required"),
        ({"kafka": "k:1", "topic_prefix": "a b"}, "HOLDFAST_TOPIC_PREFIX: "),
        ({"kafka": "k:1", "sink_batch_records": "0"}, "HOLDFAST_SINK_BATCH_RECORDS: "),
        ({"kafka": "k:1", "sink_batch_bytes": "much"}, "HOLDFAST_SINK_BATCH_BYTES: "),
    ],
)
def test_a_wrong_setting_is_named_by_its_variable(known, said):
    with pytest.raises(SinkError, match=said):
        settings(**known)


def test_the_mysql_address_is_decoded_and_its_text_has_no_password():
    at = MysqlAddress(MYSQL)
    assert (at.host, at.port, at.user, at.password, at.database) == ("db", 3307, "shop", "s@cret/", "holdfast")
    assert str(at) == "holdfast at db:3307"


@pytest.mark.parametrize(
    ("sink", "url", "said"),
    [
        ("mysql", "", "HOLDFAST_MYSQL must look like"),
        ("mysql", "postgres://a:secret@h/d", "HOLDFAST_MYSQL must look like"),
        ("mysql", "mysql://a:secret@h/", "HOLDFAST_MYSQL must look like"),
        ("redis", "", "HOLDFAST_REDIS must look like"),
        ("redis", "http://:secret@h", "HOLDFAST_REDIS must look like"),
        ("redis", "redis://:secret@h:port/0", "HOLDFAST_REDIS cannot be used"),
        ("paper", "", "no sink 'paper'"),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_its_password(sink, url, said):
    known = {"kafka": "k:1"} | ({sink: url} if sink != "paper" else {})
    with pytest.raises(SinkError, match=said) as caught:
        store_of(sink, settings(**known))
    assert "secret" not in str(caught.value)
