"""Against a real schema registry that checks compatibility: it takes our schemas under our IDs, and refuses what our own rules refuse."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from holdfast import registering
from holdfast.cli import main
from holdfast.stack.apicurio import RegistryError
from ingest.schema_registry import Registry
from schemas import codec
from tests.schemas.test_evolution import BY_OUR_OWN_RULE, COMPATIBLE, INCOMPATIBLE, new_version
from tests.schemas.test_evolution import folder as codec_folder
from tests.support.examples import example
from tests.support.registry import registry_url

__all__ = ["codec_folder", "registry_url"]

pytestmark = pytest.mark.live
NAMES = sorted(codec.schema_ids())
PREFIX = "shop."
_subjects = itertools.count()


@pytest.fixture(scope="module")
def url(registry_url: str) -> str:
    """A registry into which our schemas were brought."""
    done = registering.register(registry_url, PREFIX)
    assert (done.subjects, done.new) == (len(Registry(PREFIX).subjects), done.versions)
    return registry_url


@pytest.fixture(scope="module")
def client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url})


@pytest.fixture
def folder(codec_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of schemas/avro that the codec and the registry's names are read from instead."""
    monkeypatch.setattr("ingest.schema_registry.AVRO", codec_folder)
    return codec_folder


def test_it_has_every_version_under_its_pinned_id_and_checks_compatibility(client: SchemaRegistryClient) -> None:
    for name, ids in codec.schema_ids().items():
        found = [client.get_version(f"holdfast.{name}", number) for number in client.get_versions(f"holdfast.{name}")]
        assert [each.schema_id for each in found] == ids
        assert registering.is_same(found[-1].schema.schema_str, codec.schema_text(name))
    assert client.get_compatibility() == "BACKWARD_TRANSITIVE"


@pytest.mark.parametrize("name", NAMES)
def test_the_stock_deserializer_reads_what_the_codec_writes(client: SchemaRegistryClient, name: str) -> None:
    read = AvroDeserializer(client)(codec.encode(name, example(name)), SerializationContext("any", MessageField.VALUE))
    assert read.keys() == example(name).keys()


def test_a_record_of_an_earlier_version_is_read_by_its_id(client: SchemaRegistryClient) -> None:
    for name, ids in codec.schema_ids().items():
        for number, schema_id in enumerate(ids, 1):
            assert client.get_version(f"holdfast.{name}", number).schema.schema_str == client.get_schema(schema_id).schema_str


@pytest.mark.parametrize("name", NAMES)
def test_the_codec_reads_what_the_stock_serializer_writes(client: SchemaRegistryClient, name: str) -> None:
    options = {"auto.register.schemas": False, "use.latest.version": True, "subject.name.strategy": lambda _context, record: record}
    write = AvroSerializer(client, codec.schema_text(name), conf=options)
    data = write(_typed(json.loads(codec.schema_text(name)), example(name)), SerializationContext("any", MessageField.VALUE))
    assert codec.decode(data)[:2] == (name, example(name))


def _typed(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The stock serializer takes a time as ms, too; nothing to change but the copy."""
    return {field["name"]: value[field["name"]] for field in schema["fields"]}


def test_bringing_them_again_changes_nothing(url: str) -> None:
    done = CliRunner().invoke(main, ["schemas", "register", "--registry", url, "--json"], env={"HOLDFAST_TOPIC_PREFIX": PREFIX})
    assert (done.exit_code, json.loads(done.stdout)["new"]) == (0, 0), done.output


def _changed(name: str, change: Callable[[Any], object]) -> Schema:
    schema = json.loads(codec.schema_text(name))
    change(schema)
    return Schema(json.dumps(schema), "AVRO")


def _copy(client: SchemaRegistryClient, name: str) -> str:
    """A subject of the test's own that begins with the record's schema."""
    subject = f"copy-{next(_subjects)}"
    client.register_schema(subject, Schema(codec.schema_text(name), "AVRO"))
    return subject


PASS = COMPATIBLE | {why: case[:2] for why, case in BY_OUR_OWN_RULE.items()}


@pytest.mark.parametrize(("name", "change"), PASS.values(), ids=PASS)
def test_it_takes_a_compatible_version(client: SchemaRegistryClient, name: str, change: Callable[[Any], object]) -> None:
    subject = _copy(client, name)
    client.register_schema(subject, _changed(name, change))
    assert client.get_versions(subject) == [1, 2]


@pytest.mark.parametrize(("name", "change", "_why"), INCOMPATIBLE.values(), ids=INCOMPATIBLE)
def test_it_refuses_an_incompatible_version(client: SchemaRegistryClient, name: str, change: Callable[[Any], object], _why: str) -> None:
    subject = _copy(client, name)
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, _changed(name, change))
    # 422 where the change leaves no schema: a default that is no value of the new type.
    assert refused.value.http_status_code in (409, 422)
    assert client.get_versions(subject) == [1]


def test_a_new_version_comes_in_under_its_new_id(url: str, folder: Path) -> None:
    new_version(folder, *COMPATIBLE["field with a default"])
    done = registering.register(url, PREFIX)
    assert done.new == sum(versions[-1].schema_id == 901 for versions in Registry(PREFIX).subjects.values())
    # A client of its own: one remembers for long what was the latest.
    assert SchemaRegistryClient({"url": url}).get_latest_version("holdfast.OrderLine").schema_id == 901


def test_an_incompatible_version_of_ours_is_not_brought(url: str, folder: Path) -> None:
    name, change, _why = INCOMPATIBLE["symbol lost"]
    new_version(folder, name, change, 902)
    with pytest.raises(RegistryError, match=r"holdfast\.OrderCommand version 2 .* was not taken: .*Incompatible"):
        registering.register(url, PREFIX)


def test_another_schema_under_our_id_is_noticed(url: str, folder: Path) -> None:
    name, change = COMPATIBLE["field with a default"]
    new_version(folder, name, change, 903)
    new_version(folder, name, lambda schema: schema["fields"].append({"name": "wish", "type": "string", "default": ""}), 904)
    with pytest.raises(RegistryError, match=r"holdfast\.OrderLine version 2, not our schema with ID 903"):
        registering.register(url, PREFIX)


def test_a_registry_that_is_not_there_is_named() -> None:
    done = CliRunner().invoke(main, ["schemas", "register", "--registry", "http://127.0.0.1:9/apis/ccompat/v7"])
    assert done.exit_code == 1
    assert "the schema registry at http://127.0.0.1:9" in done.output
