"""The codec takes exactly the records of ours; anything else is an UndecodableError with the reason."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.audit import wire
from schemas import codec
from schemas.codec import UndecodableError
from schemas.outcomes import DeadLetterReason
from tests.support.examples import example, plain

NAMES = sorted(codec.schema_ids())
ENCODED = {name: codec.encode(name, example(name)) for name in NAMES}
HEADERS = [data[:5] for data in ENCODED.values()]
names = st.sampled_from(NAMES)


def _reason(data: bytes | None) -> DeadLetterReason:
    with pytest.raises(UndecodableError) as caught:
        codec.decode(data)
    assert str(caught.value.reason) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("data", [None, b"", b"\0", b"\0\0\0\0", b"hello, world", b'{"order_id": 1}', b"\1\0\0\0\x65"])
def test_bytes_without_a_header_are_not_confluent(data: bytes | None) -> None:
    assert _reason(data) is DeadLetterReason.NOT_CONFLUENT


@pytest.mark.parametrize("schema_id", [0, 1, 100, 199, 2**31, 2**32 - 1])
def test_an_id_nobody_knows_is_an_unknown_schema(schema_id: int) -> None:
    data = b"\0" + schema_id.to_bytes(4, "big") + ENCODED["OrderLine"][5:]
    assert _reason(data) is DeadLetterReason.UNKNOWN_SCHEMA
    with pytest.raises(UndecodableError, match=f"schema ID {schema_id} "):
        codec.record_name(data)


def test_a_json_body_behind_a_good_header_is_undecodable() -> None:
    assert _reason(ENCODED["OrderLine"][:5] + json.dumps(example("OrderLine")).encode()) is DeadLetterReason.UNDECODABLE


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_decoded_or_undecodable(data: bytes) -> None:
    _decoded_or_undecodable(data)


@settings(max_examples=1_500)
@given(st.sampled_from(HEADERS), st.binary(max_size=300))
@also(HEADERS[0], b"\xff" * 400)
@also(HEADERS[0], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" * 40)
def test_arbitrary_bodies_behind_good_headers_are_decoded_or_undecodable(header: bytes, body: bytes) -> None:
    _decoded_or_undecodable(header + body)


@settings(max_examples=1_500)
@given(names, st.data())
def test_records_with_some_bytes_changed_are_decoded_or_undecodable(name: str, data: st.DataObject) -> None:
    changed = bytearray(ENCODED[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    _decoded_or_undecodable(bytes(changed))


def _decoded_or_undecodable(data: bytes) -> None:
    """Whatever is decoded is a record of ours: it can be written and comes back the same, in every Avro implementation."""
    try:
        decoded = codec.decode(data)
    except UndecodableError:
        with pytest.raises(wire.UndecodableError):  # the audit's own reader must agree
            wire.decode(data)
        return
    assert wire.decode(data) == tuple(decoded)
    again = codec.decode(codec.encode(decoded.name, decoded.value))
    assert again == decoded
    assert _out_of_range(json.loads(codec.schema_text(decoded.name)), decoded.value) == []


def _out_of_range(schema: dict[str, Any], value: dict[str, Any]) -> list[str]:
    bits = {"int": 31, "long": 63}
    wrong = []
    for field in plain(schema)["fields"]:
        kind, found = field["type"], value[field["name"]]
        if isinstance(kind, dict) and isinstance(kind.get("items"), str) and kind["items"] in bits:
            wrong += [field["name"] for number in found if not -(2 ** bits[kind["items"]]) <= number < 2 ** bits[kind["items"]]]
        elif isinstance(kind, str) and kind in bits and not -(2 ** bits[kind]) <= found < 2 ** bits[kind]:
            wrong.append(field["name"])
    return wrong


@settings(max_examples=400)
@given(names, st.data())
def test_a_record_cut_short_is_undecodable(name: str, data: st.DataObject) -> None:
    length = data.draw(st.integers(5, len(ENCODED[name]) - 1))
    assert _reason(ENCODED[name][:length]) in {DeadLetterReason.UNDECODABLE, DeadLetterReason.UNEQUAL_COLUMNS}


@settings(max_examples=400)
@given(names, st.binary(min_size=1, max_size=40))
def test_a_record_with_bytes_behind_it_is_undecodable(name: str, more: bytes) -> None:
    assert _reason(ENCODED[name] + more) is DeadLetterReason.UNDECODABLE


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**40, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("name", ["OrderLine", "OrderLines"])
def test_an_int_that_is_no_int_is_undecodable(name: str, number: int) -> None:
    """Avro's int has 32 bits, and so have the stores' columns; the varint on the wire may say more."""
    value = {**example(name), "line_count": number if name == "OrderLine" else [1, number, 1]}
    assert _reason(_as_long(name, value)) is DeadLetterReason.UNDECODABLE


def _as_long(name: str, value: dict[str, Any]) -> bytes:
    """Encode with every int widened to long: the same bytes, were the numbers small."""
    wide = json.loads(json.dumps(plain(json.loads(codec.schema_text(name)))).replace('"int"', '"long"'))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(wide), value)
    return ENCODED[name][:5] + body.getvalue()


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31)])
def test_the_largest_and_smallest_int_are_fine(number: int) -> None:
    value = {**example("OrderLines"), "line_count": [1, number, 1]}
    assert codec.decode(codec.encode("OrderLines", value)).value == value


def _columns(name: str) -> list[str]:
    return [field for field, value in example(name).items() if isinstance(value, list | bytes)]


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in sorted(codec.COLUMNAR) for column in _columns(name)])
@pytest.mark.parametrize("longer", [True, False], ids=["longer", "shorter"])
def test_a_column_of_another_length_is_unequal_columns(name: str, column: str, longer: bool) -> None:
    full = example(name)[column]
    value = {**example(name), column: full + full[:1] if longer else full[:-1]}
    assert _reason(codec.encode(name, value)) is DeadLetterReason.UNEQUAL_COLUMNS


@pytest.mark.parametrize("name", sorted(codec.COLUMNAR))
def test_a_columnar_record_without_items_is_a_record(name: str) -> None:
    value = {**example(name), **{column: example(name)[column][:0] for column in _columns(name)}}
    assert codec.decode(codec.encode(name, value)) == (name, value, 0)


@pytest.mark.parametrize("name", sorted(set(NAMES) - codec.COLUMNAR))
def test_any_other_record_is_one_item(name: str) -> None:
    assert codec.decode(ENCODED[name]).size == 1


def test_a_field_that_does_not_fit_is_not_written() -> None:
    for wrong in ({"quantity": "six"}, {"quantity": 2**70}, {"product_id": None}, {"product_id": 6}):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            codec.encode("OrderLine", {**example("OrderLine"), **wrong})
    with pytest.raises((ValueError, TypeError)):
        codec.encode("OrderLine", {k: v for k, v in example("OrderLine").items() if k != "quantity"})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)


@given(order_id=longs, line=ints, line_count=ints, quantity=longs, unit_price=longs, placed_at=longs, ids=st.tuples(texts, texts, texts, texts))
def test_any_values_of_the_right_types_come_back(ids: tuple[str, str, str, str], **numbers: int) -> None:
    value = {**numbers, **dict(zip(("product_id", "currency", "user_id", "payment_token"), ids, strict=True))}
    assert codec.decode(codec.encode("OrderLine", value)).value == value


@pytest.mark.parametrize("name", sorted(codec.schema_ids()))
def test_a_whole_record_is_read_in_part_whole(name: str) -> None:
    assert codec.decode_part(codec.encode(name, example(name))) == (name, example(name), "")


def test_a_record_that_breaks_off_is_read_up_to_there() -> None:
    whole = codec.encode("OrderCommand", {"command_id": "c1", "kind": "SHIP", "order_id": 7, "issued_at": 0, "actor": "ann"})
    part = codec.decode_part(whole[:-2])
    assert (part.name, part.value["order_id"], "actor" in part.value) == ("OrderCommand", 7, False)
    assert "'actor'" in part.broke
    assert codec.decode_part(whole + b"xy").broke.startswith("2 bytes left over")


def test_a_record_of_no_known_schema_cannot_be_read_in_part() -> None:
    with pytest.raises(codec.UndecodableError):
        codec.decode_part(b"\x07garbage")
