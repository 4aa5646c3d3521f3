"""Several brokers: their names, what each is told, and the one address of all of them. Needs no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.stack import servers
from holdfast.stack.errors import NotHealthyError
from holdfast.stack.health import check_kafka
from holdfast.stack.home import Home
from holdfast.stack.kafka import Kafka, broker_names, brokers_in, replication
from holdfast.stack.ports import free_port

PORTS = {name: 20_000 + at for at, name in enumerate(port for broker in broker_names(3) for port in servers.ports_of(broker))}


@pytest.mark.parametrize(
    ("brokers", "expected"),
    [(1, ("kafka", "mariadb", "redis")), (3, ("kafka", "kafka-2", "kafka-3", "mariadb", "redis"))],
)
def test_the_servers_of_a_stack(brokers: int, expected: tuple[str, ...]) -> None:
    assert servers.names(brokers) == expected
    assert [servers.kind_of(name) for name in expected] == ["kafka"] * brokers + ["mariadb", "redis"]


@pytest.mark.parametrize(("brokers", "copies", "least"), [(1, "1", "1"), (3, "3", "2"), (5, "3", "2")])
def test_each_record_is_on_as_many_brokers_as_may_be(brokers: int, copies: str, least: str) -> None:
    settings = replication(brokers)
    assert {value for name, value in settings.items() if name.endswith("replication.factor")} == {copies}
    assert {value for name, value in settings.items() if "isr" in name or "insync" in name} == {least}


def test_a_home_knows_its_brokers_by_its_ports() -> None:
    assert brokers_in({}) == ()
    assert brokers_in({"kafka", "kafka-controller", "mariadb", "redis"}) == ("kafka",)
    assert brokers_in(PORTS) == ("kafka", "kafka-2", "kafka-3")


def test_every_broker_is_told_of_all_controllers_and_has_a_number_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    told = [dict(line.split("=", 1) for line in Kafka(home, PORTS, name)._properties().splitlines()) for name in broker_names(3)]
    assert [each["node.id"] for each in told] == ["1", "2", "3"]
    assert {each["controller.quorum.voters"] for each in told} == {"1@127.0.0.1:20001,2@127.0.0.1:20003,3@127.0.0.1:20005"}
    assert len({each["log.dirs"] for each in told}) == len({each["listeners"] for each in told}) == 3


def test_the_address_of_a_cluster_is_that_of_every_broker(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    found = servers.endpoints_of({name: servers.make(name, home, PORTS) for name in broker_names(3)})
    assert found == {"kafka": "127.0.0.1:20000,127.0.0.1:20002,127.0.0.1:20004"}


def test_a_cluster_of_which_no_broker_listens_is_named_whole() -> None:
    at = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with pytest.raises(NotHealthyError, match=at.replace(",", ", ")):
        check_kafka(at)
