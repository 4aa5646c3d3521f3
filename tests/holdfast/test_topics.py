"""The topics: made once, checked ever after."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from holdfast import topics
from holdfast.cli import main
from schemas.topics import ALL, ORDERS, STOCK_LEVELS, STOCK_STATE


def _described(kafka: str, name: str) -> dict[str, str]:
    client = topics.admin(kafka)
    asked = client.describe_configs([ConfigResource(ResourceType.TOPIC, name)])
    return {key: entry.value for future in asked.values() for key, entry in future.result().items()}


def _make(kafka: str, name: str, config: dict[str, str]) -> None:
    client = topics.admin(kafka)
    client.create_topics([NewTopic(name, 2, config=config)])[name].result()


def test_every_topic_is_made_with_the_asked_partition_count(kafka: str, topic_prefix: str) -> None:
    made = topics.create(kafka, topic_prefix, 3)
    assert made == [topic.named(topic_prefix) for topic in ALL]
    found = topics.inspect(kafka, topic_prefix, 3)
    assert {status.name: status.partitions for status in found} == dict.fromkeys(made, 3)
    assert [status.problems for status in found] == [()] * len(ALL)


def test_creating_them_again_makes_nothing(kafka: str, topic_prefix: str) -> None:
    topics.create(kafka, topic_prefix, 2)
    assert topics.create(kafka, topic_prefix, 2) == []


def test_a_missing_one_is_made_beside_the_others(kafka: str, topic_prefix: str) -> None:
    name = STOCK_LEVELS.named(topic_prefix)
    _make(kafka, name, topics.settings(STOCK_LEVELS))
    made = topics.create(kafka, topic_prefix, 2)
    assert len(made) == len(ALL) - 1
    assert name not in made


def test_several_programs_may_create_them_at_once(kafka: str, topic_prefix: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: topics.create(kafka, topic_prefix, 2), range(4)))
    assert sorted(name for names in made for name in names) == sorted(topic.named(topic_prefix) for topic in ALL)


def test_changelogs_are_compacted_in_small_segments(kafka: str, topic_prefix: str) -> None:
    topics.create(kafka, topic_prefix, 1)
    config = _described(kafka, STOCK_STATE.named(topic_prefix))
    assert config["cleanup.policy"] == "compact"
    assert int(config["segment.bytes"]) <= 64 * 1024 * 1024
    assert int(config["segment.ms"]) <= 24 * 3_600_000


def test_the_log_of_orders_is_kept_for_ever(kafka: str, topic_prefix: str) -> None:
    topics.create(kafka, topic_prefix, 1)
    config = _described(kafka, ORDERS.named(topic_prefix))
    assert (config["cleanup.policy"], config["retention.ms"], config["retention.bytes"]) == ("delete", "-1", "-1")


def test_another_partition_count_is_an_error_that_names_both(kafka: str, topic_prefix: str) -> None:
    topics.create(kafka, topic_prefix, 2)
    with pytest.raises(topics.TopicsError, match=r"orders has 2 partitions, 4 are wanted"):
        topics.create(kafka, topic_prefix, 4)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cleanup.policy": "delete"}, "has cleanup.policy=delete, compact is wanted"),
        ({"cleanup.policy": "compact", "max.message.bytes": "1000"}, "takes records up to 1000 bytes"),
    ],
)
def test_an_unfit_topic_is_an_error_and_nothing_is_made(kafka: str, topic_prefix: str, config: dict[str, str], words: str) -> None:
    name = STOCK_STATE.named(topic_prefix)
    _make(kafka, name, config)
    with pytest.raises(topics.TopicsError, match=words):
        topics.create(kafka, topic_prefix, 2)
    assert [status.name for status in topics.inspect(kafka, topic_prefix, 2) if status.partitions] == [name]


def test_no_kafka_is_an_error_that_names_the_address() -> None:
    with pytest.raises(topics.TopicsError, match=r"Kafka at 127\.0\.0\.1:1 "):
        topics.inspect("127.0.0.1:1", timeout_s=1.0)


@pytest.mark.parametrize("text", ["0", "-1", "8.0", "eight", "1025", "²"])
def test_an_impossible_partition_count_is_refused(text: str) -> None:
    with pytest.raises(topics.TopicsError, match="HOLDFAST_PARTITIONS"):
        topics.partitions_of({"HOLDFAST_PARTITIONS": text})


def test_the_partition_count_is_eight_unless_told() -> None:
    assert [topics.partitions_of(environ) for environ in ({}, {"HOLDFAST_PARTITIONS": ""}, {"HOLDFAST_PARTITIONS": "12"})] == [8, 8, 12]


@pytest.mark.parametrize("prefix", ["a b", "shop/", "ü.", "x" * 65, "a\n"])
def test_a_prefix_that_no_topic_may_have_is_refused(prefix: str) -> None:
    with pytest.raises(topics.TopicsError, match="HOLDFAST_TOPIC_PREFIX"):
        topics.prefix_of({"HOLDFAST_TOPIC_PREFIX": prefix})


def test_the_command_creates_lists_and_complains(kafka: str, topic_prefix: str) -> None:
    environ = {"HOLDFAST_KAFKA": kafka, "HOLDFAST_TOPIC_PREFIX": topic_prefix, "HOLDFAST_PARTITIONS": "2"}
    runner = CliRunner(env=environ)
    missing = runner.invoke(main, ["topics", "list", "--json"])
    assert missing.exit_code == 1
    assert all("does not exist" in row["problems"][0] for row in json.loads(missing.stdout))
    created = runner.invoke(main, ["topics", "create", "--json"])
    assert created.exit_code == 0, created.output
    assert len(json.loads(created.stdout)["created"]) == len(ALL)
    listed = runner.invoke(main, ["topics", "list", "--json"])
    assert listed.exit_code == 0
    assert {(row["partitions"], row["cleanup_policy"]) for row in json.loads(listed.stdout)} == {(2, "compact"), (2, "delete")}
    refused = runner.invoke(main, ["topics", "create"], env=environ | {"HOLDFAST_PARTITIONS": "3"})
    assert refused.exit_code == 1
    assert "has 2 partitions, 3 are wanted" in refused.output
