"""The compiled codec and the pure one give the same, on sound records and on garbage."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, compiled, partitions
from tests.support.examples import example

ROOT = Path(__file__).parents[2]
NAMES = sorted(codec.schema_ids())
ENCODED = {name: codec.encode(name, example(name)) for name in NAMES}
HAS_COMPILER = shutil.which("cc") is not None and (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
needs_compiled = pytest.mark.skipif(compiled.PURE or not HAS_COMPILER, reason="no compiled parts here")
fast = compiled.load("schemas._avro", compiled.AVRO_VERSION)


def of(name: str) -> Any:
    return codec._by_name()[name]


def both(name: str, body: bytes) -> tuple[Any, Any]:
    """Return what the compiled codec and the pure one read of a body; of what cannot be read, the reason."""
    data = of(name).header + body
    return _read(codec._value_of, name, data), _read(codec._plain_value_of, name, data)


def _read(reader: Any, name: str, data: bytes) -> Any:
    try:
        return reader(of(name), data)
    except codec.UndecodableError as error:
        return re.sub("0x[0-9a-f]+", "", str(error))  # fastavro names an object by its address


@needs_compiled
def test_where_there_is_a_compiler_the_compiled_parts_are_there() -> None:
    assert compiled.describe() == "compiled"
    assert [name for name in NAMES if of(name).plan is None] == [], "no record of ours is beyond the compiled codec"


@needs_compiled
@pytest.mark.parametrize("name", NAMES)
def test_a_sound_record_is_read_and_written_by_the_compiled_part_itself(name: str) -> None:
    value, end = of(name).plan.decode(ENCODED[name], codec.HEADER_BYTES)
    assert (value, end) == codec._plain_value_of(of(name), ENCODED[name])
    assert of(name).plan.encode(of(name).header, value) == ENCODED[name]


@settings(max_examples=600)
@given(st.sampled_from(NAMES), st.data())
def test_records_with_some_bytes_changed_cut_or_added_are_read_alike(name: str, data: st.DataObject) -> None:
    body = bytearray(ENCODED[name][5:])
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF])))
    cut = data.draw(st.one_of(st.just(len(body)), st.integers(0, len(body))))
    mine, pure = both(name, bytes(body[:cut]) + data.draw(st.binary(max_size=3)))
    assert mine == pure


@settings(max_examples=600)
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_garbage_is_read_alike(name: str, body: bytes) -> None:
    mine, pure = both(name, body)
    assert mine == pure


def _long(value: int) -> bytes:
    n, out = value << 1 ^ value >> 63, bytearray()
    n &= 2**64 - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def _in_blocks(items: list[bytes], sizes: list[int], sized: bool) -> bytes:
    """Write an array as other writers may: in several blocks, with or without their sizes in bytes."""
    out, rest = b"", list(items)
    for size in [*sizes, len(items)]:
        block, rest = rest[:size], rest[size:]
        if block:
            joined = b"".join(block)
            out += (_long(-len(block)) + _long(len(joined)) if sized else _long(len(block))) + joined
    return out + b"\0"


@settings(max_examples=300)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12), st.lists(st.integers(1, 5), max_size=5), st.booleans())
def test_arrays_in_blocks_are_read_alike(numbers: list[int], sizes: list[int], sized: bool) -> None:
    topics, ids = [b"\x02a"] * len(numbers), [b"\0"] * len(numbers)
    columns = (topics, [_long(n) for n in numbers], [_long(7)] * len(numbers), ids)
    mine, pure = both("TaskPositions", b"".join(_in_blocks(column, sizes, sized) for column in columns))
    assert mine == pure
    assert mine[0]["offset"] == numbers


@pytest.mark.parametrize(
    "number",
    [b"\x80\x00", b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x02", b"\xff" * 12, b"\x80" * 10 + b"\x01", b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x10"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_odd_and_oversized_numbers_are_read_alike(number: bytes, place: int) -> None:
    body = ENCODED["OrderLine"][5:]
    order_id = next(n for n in range(1, 11) if not body[n - 1] & 0x80)
    mine, pure = both("OrderLine", number + body[order_id:] if place == 0 else body[:order_id] + number + body[order_id + 1 :])
    assert mine == pure


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", "é".encode(), b"a\0b"])
def test_odd_texts_are_read_alike(text: bytes) -> None:
    mine, pure = both("TaskPositions", b"\x02" + _long(len(text)) + text + b"\0" + b"\0\0\0")
    assert mine == pure


anything = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**66), 2**66), st.floats(), st.text(max_size=5), st.binary(max_size=5)),
    *(st.lists(st.one_of(st.integers(0, 5), st.text(max_size=3)), max_size=3), st.just(bytearray(b"x")), st.just((1, 2)), st.just({"line": 1})),
)


@settings(max_examples=600)
@given(st.sampled_from(NAMES), st.data())
def test_values_that_may_not_fit_are_written_or_refused_alike(name: str, data: st.DataObject) -> None:
    value = dict(example(name))
    for field in data.draw(st.lists(st.sampled_from(sorted(value)), max_size=2)):
        value[field] = data.draw(anything)
    if data.draw(st.booleans()):
        value.pop(data.draw(st.sampled_from(sorted(value))))
    assert _written(codec.encoder(name), value) == _written(codec.plain_encoder(of(name)), value)


def _written(encoder: Any, value: dict[str, Any]) -> Any:
    try:
        return encoder(value)
    except Exception as error:
        return type(error)


@settings(max_examples=500)
@given(st.binary(max_size=70), st.integers(-(2**63), 2**63 - 1), st.integers(1, 64))
def test_partitions_are_the_same(key: bytes, number: int, count: int) -> None:
    assert partitions.murmur2(key) == partitions.plain_murmur2(key)
    assert partitions.order_partition(number, count) == partitions.plain_order_partition(number, count)


def test_the_pure_source_can_be_asked_for() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "from schemas import codec, compiled; print(codec._by_name()['OrderLine'].plan, compiled.describe())"],
        env=os.environ | {"HOLDFAST_PURE": "1"},
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert found.stdout.strip() == "None pure (HOLDFAST_PURE is set)"
