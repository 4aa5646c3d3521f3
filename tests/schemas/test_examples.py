"""Every record has an example, and two independent Avro implementations read each other's bytes of it."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import avro.io
import avro.schema
import pytest

from holdfast.audit import wire
from schemas import codec
from tests.support.examples import FOLDER, example, plain

NAMES = sorted(codec.schema_ids())


def _apache(name: str, *, logical: bool = False) -> avro.schema.Schema:
    schema = json.loads(codec.schema_text(name))
    return avro.schema.parse(json.dumps(schema if logical else plain(schema)))


def _written_by_apache(name: str, value: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    avro.io.DatumWriter(_apache(name)).write(value, avro.io.BinaryEncoder(body))
    return body.getvalue()


def _read_by_apache(name: str, body: bytes, *, logical: bool = False) -> Any:
    return avro.io.DatumReader(_apache(name, logical=logical)).read(avro.io.BinaryDecoder(io.BytesIO(body)))


def test_every_record_has_one() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_names_every_field_in_the_schema_s_order(name: str) -> None:
    fields = [field["name"] for field in json.loads(codec.schema_text(name))["fields"]]
    assert list(json.loads((FOLDER / f"{name}.json").read_text())) == fields


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_from_the_codec_as_it_went_in(name: str) -> None:
    decoded = codec.decode(codec.encode(name, example(name)))
    assert (decoded.name, decoded.value) == (name, example(name))


@pytest.mark.parametrize("name", NAMES)
def test_starts_with_zero_and_the_schema_id_big_endian(name: str) -> None:
    schema_id = codec.schema_ids()[name][-1]
    data = codec.encode(name, example(name))
    assert list(data[:5]) == [0, 0, 0, schema_id // 256, schema_id % 256]
    assert codec.record_name(data) == name


@pytest.mark.parametrize("name", NAMES)
def test_apache_avro_reads_what_the_codec_wrote(name: str) -> None:
    assert _read_by_apache(name, codec.encode(name, example(name))[5:]) == example(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_codec_reads_what_apache_avro_wrote(name: str) -> None:
    header = b"\0" + codec.schema_ids()[name][-1].to_bytes(4, "big")
    assert codec.decode(header + _written_by_apache(name, example(name))).value == example(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_audit_s_own_reader_agrees(name: str) -> None:
    assert wire.decode(codec.encode(name, example(name))) == tuple(codec.decode(codec.encode(name, example(name))))


def test_times_are_times_to_other_readers() -> None:
    body = codec.encode("OrderLine", example("OrderLine"))[5:]
    assert _read_by_apache("OrderLine", body, logical=True)["placed_at"] == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(codec.COLUMNAR))
def test_a_columnar_one_shows_at_least_two_items(name: str) -> None:
    assert codec.decode(codec.encode(name, example(name))).size >= 2
