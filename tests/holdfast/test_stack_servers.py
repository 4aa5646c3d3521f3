"""A whole stack of real servers: what it keeps, what it survives. The tests run in the order of the file, on one home."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from holdfast.stack import lifecycle, processes
from holdfast.stack.addresses import VARIABLES, Endpoints, MysqlAddress
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import NoStackError
from holdfast.stack.home import Home
from holdfast.stack.state import Plan, running_state
from tests.support.stack import connect

SERVERS_ONLY = lifecycle.Wish(servers_only=True, owner=processes.myself())
TOPIC = "kept"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = replace(Home.from_environment(), root=tmp_path_factory.mktemp("home"))
    yield home
    lifecycle.down(home, wipe=True)


@pytest.fixture
def no_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about servers of their own, also where the rest of the run is given some."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def stack(home: Home, no_endpoints: None) -> Plan:
    plan = lifecycle.up(home, SERVERS_ONLY, lambda _step: None)
    with redis.Redis.from_url(plan.endpoints.redis) as client:
        if not client.exists("kept"):
            put_one_thing_in_each(plan.endpoints)
    return plan


def pids(home: Home) -> dict[str, int]:
    state = running_state(home)
    assert state is not None
    return {each.name: each.process.pid for each in state.processes if each.process}


def test_kafka_starts_with_the_classes_of_an_earlier_start(home: Home, stack: Plan) -> None:
    maps = Path(f"/proc/{pids(home)['kafka']}/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    assert f"{home.cache}/kafka-classes-" in maps.read_text()


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def put_one_thing_in_each(at: Endpoints) -> None:
    admin = AdminClient({"bootstrap.servers": at.kafka})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
    producer = Producer({"bootstrap.servers": at.kafka, "acks": "all"})
    producer.produce(TOPIC, b"a record")
    assert producer.flush(30) == 0
    with connect(at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (a VARCHAR(20))")
        cursor.execute("INSERT INTO kept VALUES ('a row')")
        connection.commit()
    with redis.Redis.from_url(at.redis) as client:
        client.set("kept", "a key")


def things_in_each(at: Endpoints) -> tuple[object, object, object]:
    consumer = Consumer({"bootstrap.servers": at.kafka, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    with connect(at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT a FROM kept")
        row = cursor.fetchone()
    with redis.Redis.from_url(at.redis) as client:
        key = client.get("kept")
    return message and message.value(), row and row[0], key


KEPT = (b"a record", "a row", b"a key")


def holdfast(home: Home, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"HOLDFAST_HOME": str(home.root), "HOLDFAST_CACHE": str(home.cache)}
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)


def test_up_twice_is_up_once(home: Home, stack: Plan) -> None:
    before = pids(home)
    assert set(before) == {"kafka", "mariadb", "redis"}
    assert lifecycle.up(home, SERVERS_ONLY, lambda _step: None) == stack
    assert pids(home) == before
    assert holdfast(home, "up", "--servers-only").returncode == 0
    assert pids(home) == before


def test_status_for_programs(home: Home, stack: Plan) -> None:
    done = holdfast(home, "status", "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0
    assert said["kafka"] == stack.endpoints.kafka
    assert MysqlAddress(**said["mysql"]).url() == stack.endpoints.mysql
    assert said["redis"] == stack.endpoints.redis
    assert [(each["kind"], each["partitions"]) for each in said["processes"]] == [("kafka", []), ("mariadb", []), ("redis", [])]
    assert {each["kind"]: each["pid"] for each in said["processes"]} == pids(home)


def test_status_for_people_hides_the_password(home: Home, stack: Plan) -> None:
    done = holdfast(home, "status")
    assert done.returncode == 0
    assert stack.endpoints.kafka in done.stdout
    assert MysqlAddress.parse(stack.endpoints.mysql).password not in done.stdout


def test_the_password_is_in_no_log_and_the_home_is_private(home: Home, stack: Plan) -> None:
    password = MysqlAddress.parse(stack.endpoints.mysql).password
    logs = list(home.logs.iterdir())
    assert logs
    assert [log.name for log in logs if password in log.read_text(errors="replace")] == []
    for file in (home.password_file, home.plan_file, home.state_file):
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_the_servers_listen_on_loopback_only(home: Home, stack: Plan) -> None:
    heard = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    numbers = pids(home).values()
    own = [line.split()[3] for line in heard if any(f"pid={pid}," in line for pid in numbers)]
    assert len(own) == len(stack.ports)
    assert all(address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:")) for address in own), own


def test_settings_the_rest_relies_on(stack: Plan, redis_settings: dict[str, str]) -> None:
    with connect(stack.endpoints.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@local_infile, @@innodb_flush_log_at_trx_commit, @@character_set_server, @@time_zone")
        assert cursor.fetchone() == (1, 1, "utf8mb4", "+00:00")
        cursor.execute("CREATE DATABASE holdfast_other")
        cursor.execute("DROP DATABASE holdfast_other")
    assert redis_settings["databases"] == "64"
    admin = AdminClient({"bootstrap.servers": stack.endpoints.kafka, "allow.auto.create.topics": True})
    asked = admin.list_topics("a-topic-nobody-made", timeout=10).topics["a-topic-nobody-made"]
    assert asked.error is not None
    assert asked.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert set(admin.list_topics(timeout=10).topics) <= {TOPIC, "__consumer_offsets", "__transaction_state"}


@pytest.fixture
def redis_settings(stack: Plan) -> dict[str, str]:
    with redis.Redis.from_url(stack.endpoints.redis, decode_responses=True) as client:
        return dict(client.config_get())


def test_a_restart_goes_on_where_it_left_off(home: Home, stack: Plan) -> None:
    servers = [process for pid in pids(home).values() if (process := processes.identify(pid))]
    assert len(lifecycle.down(home)) == 1, "the supervisor stops its servers itself, none is left for `down`"
    assert not any(processes.is_alive(server) for server in servers)
    again = lifecycle.up(home, SERVERS_ONLY, lambda _step: None)
    assert again.endpoints == stack.endpoints
    assert things_in_each(again.endpoints) == KEPT


@pytest.mark.parametrize("name", ["kafka", "mariadb", "redis"])
def test_a_killed_server_comes_back_with_its_data(home: Home, stack: Plan, name: str) -> None:
    before = pids(home)
    os.kill(before[name], signal.SIGKILL)
    until(lambda: (now := pids(home).get(name)) is not None and now != before[name])
    lifecycle.up(home, SERVERS_ONLY, lambda _step: None)
    state = running_state(home)
    assert state is not None
    assert {each.name: each.restarts for each in state.processes}[name] == 1
    assert {other: pid for other, pid in pids(home).items() if other != name} == {other: pid for other, pid in before.items() if other != name}
    assert things_in_each(stack.endpoints) == KEPT


def kill_supervisor(home: Home) -> list[processes.ProcessId]:
    state = running_state(home)
    assert state is not None
    servers = [each.process for each in state.processes if each.process]
    os.kill(state.supervisor.pid, signal.SIGKILL)
    processes.wait_gone(state.supervisor, 10)
    assert len(servers) == 3
    assert all(processes.is_alive(server) for server in servers)
    return servers


def test_up_after_the_supervisor_was_killed(home: Home, stack: Plan) -> None:
    orphans = kill_supervisor(home)
    assert "the supervisor is gone" in json.loads(holdfast(home, "status", "--json").stdout)["problem"]
    with pytest.raises(NoStackError):
        endpoints(home, {})
    steps: list[str] = []
    again = lifecycle.up(home, SERVERS_ONLY, steps.append)
    assert sum("left behind" in step for step in steps) == len(orphans)
    assert again.endpoints == stack.endpoints
    assert things_in_each(again.endpoints) == KEPT


def test_down_after_the_supervisor_was_killed_even_with_no_state_left(home: Home, stack: Plan) -> None:
    orphans = kill_supervisor(home)
    home.state_file.unlink()
    assert {orphan.pid for orphan in lifecycle.down(home)} == {orphan.pid for orphan in orphans}
    assert not any(processes.is_alive(orphan) for orphan in orphans)
    done = holdfast(home, "status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["processes"] == []
    assert holdfast(home, "down").returncode == 0


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(home: Home, no_endpoints: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho 'out of luck'\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = holdfast(home, "up", "--servers-only")
    assert done.returncode == 1
    assert "redis ended with exit code 7" in done.stderr
    assert "out of luck" in done.stderr
    assert list(processes.with_variable("HOLDFAST_SUPERVISED_IN", str(home.root))) == []


def test_wipe_starts_anew(home: Home, no_endpoints: None) -> None:
    lifecycle.down(home, wipe=True)
    assert not home.data("kafka").exists()
    assert not home.password_file.exists()
