"""A stock SchemaRegistryClient and kcat read our topics through the gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas.codec import schema_ids, schema_text
from schemas.topics import ORDER_OUTCOMES
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.outputs import outcome
from tests.support.pipeline import PARTITIONS, Pipeline
from tests.support.sink_processes import Log
from tests.support.stack import unique_name

pytestmark = pytest.mark.live


def kcat_knows_avro() -> bool:
    """Distributions build it without: kcat needs libserdes for it, and says so in its list of features."""
    kcat = shutil.which("kcat")
    return kcat is not None and "Avro" in subprocess.run([kcat, "-V"], capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    found = Pipeline(kafka, unique_name("s"), tmp_path_factory.mktemp("schemas"), module_database, module_redis)
    found.run("holdfast", "migrate")
    Log(kafka, found.prefix).write([outcome(1), outcome(2)])
    yield found
    found.stop()


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": gateway.url})


def test_the_stock_deserializer_reads_a_topic(pipeline: Pipeline, client: SchemaRegistryClient) -> None:
    topic = ORDER_OUTCOMES.named(pipeline.prefix)
    consumer = Consumer({"bootstrap.servers": pipeline.kafka, "group.id": unique_name("g"), "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    read, found = AvroDeserializer(client), []
    while len(found) < 2:
        found += [read(m.value(), SerializationContext(topic, MessageField.VALUE)) for m in consumer.consume(2, 10)]
    consumer.close()
    assert {each["order_id"]: each["lines"][0]["product_id"] for each in found} == {1: "85123A", 2: "85123A"}


@pytest.mark.skipif(not kcat_knows_avro(), reason="there is no kcat that is built with Avro (docs/gateway.md)")
def test_kcat_reads_a_topic(pipeline: Pipeline, gateway: GatewayProcess) -> None:
    topic = ORDER_OUTCOMES.named(pipeline.prefix)
    command = ["kcat", "-b", pipeline.kafka, "-C", "-t", topic, "-s", "value=avro", "-r", gateway.url, "-o", "beginning", "-e", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert sorted(json.loads(line)["order_id"] for line in done.stdout.splitlines()) == [1, 2]


def test_subjects_versions_and_ids(pipeline: Pipeline, client: SchemaRegistryClient) -> None:
    subjects = client.get_subjects()
    assert {"holdfast.OrderOutcome", f"{pipeline.prefix}stock.levels-value", f"{pipeline.prefix}orders-holdfast.OrderLines"} <= set(subjects)
    for name, ids in schema_ids().items():
        assert client.get_versions(f"holdfast.{name}") == list(range(1, len(ids) + 1))
        latest = client.get_latest_version(f"holdfast.{name}")
        assert (latest.schema_id, json.loads(latest.schema.schema_str)) == (ids[-1], json.loads(schema_text(name)))
        assert all(json.loads(client.get_schema(schema_id).schema_str)["name"] == name for schema_id in ids)
    assert client.get_compatibility() == "BACKWARD_TRANSITIVE"


def test_a_schema_of_ours_is_registered_already_and_no_other_can_be(client: SchemaRegistryClient) -> None:
    ours = Schema(schema_text("StockLevel"), "AVRO")
    assert client.register_schema("holdfast.StockLevel", ours) == schema_ids()["StockLevel"][-1]
    assert client.lookup_schema("holdfast.StockLevel", ours).version == len(schema_ids()["StockLevel"])
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema("holdfast.StockLevel", Schema('{"type": "string"}', "AVRO"))
    assert (refused.value.http_status_code, refused.value.error_code) == (409, 409)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        *(("/schemas/ids/99999", 404, 40403), ("/schemas/ids/x", 404, 40403), ("/schemas/ids/-1/versions", 404, 40403)),
        *(("/subjects/nobody/versions", 404, 40401), ("/subjects/nobody/versions/1", 404, 40401), ("/config/nobody", 404, 40401)),
        *(("/subjects/holdfast.OrderLine/versions/99", 404, 40402), ("/subjects/holdfast.OrderLine/versions/0", 422, 42202)),
    ],
)
def test_errors_are_the_registrys(gateway: GatewayProcess, path: str, status: int, code: int) -> None:
    with gateway.client("") as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"


@pytest.mark.parametrize(("body", "code"), [(b"{", 42201), (b"[]", 42201), (b'{"schema": 5}', 42201), (b'{"schema": "{"}', 40403), (b"\xff", 42201)])
def test_a_body_that_is_no_schema(gateway: GatewayProcess, body: bytes, code: int) -> None:
    with gateway.client("") as client:
        assert client.post("/subjects/holdfast.OrderLine", content=body).json()["error_code"] == code


def test_every_read_route_answers_without_a_key(gateway: GatewayProcess) -> None:
    with gateway.client("") as client:
        found = {path: client.get(path).json() for path in ("/schemas/types", "/mode", "/schemas/ids/101/subjects", "/schemas/ids/101/schema")}
    assert found["/schemas/types"] == ["AVRO"]
    assert found["/mode"] == {"mode": "READONLY"}
    assert "holdfast.OrderLine" in found["/schemas/ids/101/subjects"]
    assert found["/schemas/ids/101/schema"]["name"] == "OrderLine"
