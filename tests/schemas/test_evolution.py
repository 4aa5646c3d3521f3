"""Changing a record: what is pinned, what is compatible, and that the rules bite."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import codec
from tests.support import contracts
from tests.support.examples import example

NEW_ID = 901
Schema = dict[str, Any]


def _forget_schemas() -> None:
    for cached in (codec.schema_ids, codec._by_name, codec._by_header):
        cached.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of schemas/avro that the codec reads instead."""
    copy = tmp_path / "avro"
    shutil.copytree(codec.AVRO, copy)
    (copy / "earlier").mkdir(exist_ok=True)
    monkeypatch.setattr(codec, "AVRO", copy)
    _forget_schemas()
    yield copy
    _forget_schemas()


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def new_version(folder: Path, name: str, change: Callable[[Schema], object], schema_id: int = NEW_ID) -> None:
    """Change a record by the rules: the version before is kept, the new one has its ID and is pinned."""
    ids = json.loads((folder / "ids.json").read_text())
    shutil.copy(folder / f"{name}.avsc", folder / "earlier" / f"{name}.{ids[name][-1]}.avsc")
    _edit(folder / f"{name}.avsc", change)
    _edit(folder / "ids.json", lambda all_ids: all_ids[name].append(schema_id))
    print_ = contracts.fingerprint(json.loads((folder / f"{name}.avsc").read_text()))
    _edit(folder / "fingerprints.json", lambda pins: pins.update({str(schema_id): print_}))
    _forget_schemas()


def _add(**field: Any) -> Callable[[Schema], None]:
    return lambda schema: schema["fields"].append(field)


def _drop(name: str) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        schema["fields"] = [field for field in schema["fields"] if field["name"] != name]

    return change


def _retype(name: str, kind: Any) -> Callable[[Schema], None]:
    def change(schema: Schema) -> None:
        next(field for field in schema["fields"] if field["name"] == name)["type"] = kind

    return change


def _lose_symbol(schema: Schema) -> None:
    next(field for field in schema["fields"] if field["name"] == "kind")["type"]["symbols"].remove("RETURN")


def _rename_field(schema: Schema) -> None:
    schema["fields"][0]["name"] = "order_number"


# -- as it stands ------------------------------------------------------------------------------------------------------


def test_the_schemas_keep_every_rule() -> None:
    assert contracts.problems(codec.AVRO) == []


def test_the_rules_look_at_every_record() -> None:
    assert set(contracts.versions(codec.AVRO)) == {path.stem for path in codec.AVRO.glob("*.avsc")} == set(codec.schema_ids())


# -- careless changes are noticed ---------------------------------------------------------------------------------------


def test_a_schema_without_an_id_is_noticed(folder: Path) -> None:
    shutil.copy(folder / "OrderLine.avsc", folder / "Stray.avsc")
    assert contracts.problems(folder) == ["Stray.avsc has no schema ID in ids.json"]


def test_an_id_without_a_schema_is_noticed(folder: Path) -> None:
    (folder / "OrderLine.avsc").unlink()
    assert contracts.problems(folder) == ["OrderLine.avsc is in ids.json, but there is no such file"]


def test_an_id_used_twice_is_noticed(folder: Path) -> None:
    _edit(folder / "ids.json", lambda ids: ids.update(OrderLines=ids["OrderLine"]))
    assert "stands for OrderLine and for OrderLines" in contracts.problems(folder)[0]


def test_a_file_of_another_record_is_noticed(folder: Path) -> None:
    shutil.copy(folder / "OrderLine.avsc", folder / "StockLevel.avsc")
    assert "StockLevel.avsc is the schema of a OrderLine" in contracts.problems(folder)


@pytest.mark.parametrize(
    "change",
    [
        _add(name="gift", type="boolean", default=False),
        _drop("payment_token"),
        _retype("quantity", "int"),
        _retype("placed_at", "long"),
        lambda schema: schema["fields"].reverse(),
    ],
    ids=["added", "dropped", "retyped", "logical type dropped", "fields in another order"],
)
def test_a_change_without_a_new_id_is_noticed(folder: Path, change: Callable[[Schema], object]) -> None:
    _edit(folder / "OrderLine.avsc", change)
    assert contracts.problems(folder) == ["schema ID 101 is pinned with another schema: keep that one in earlier/ and give the new one a new ID"]


def test_a_changed_default_is_noticed(folder: Path) -> None:
    _edit(folder / "OrderCommand.avsc", lambda schema: schema["fields"][3].update(default=1))
    assert len(contracts.problems(folder)) == 1


def test_a_change_of_words_alone_is_free(folder: Path) -> None:
    _edit(folder / "OrderLine.avsc", lambda schema: schema.update(doc="One line."))
    assert contracts.problems(folder) == []


def test_a_new_id_without_the_earlier_version_is_noticed(folder: Path) -> None:
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False))
    (folder / "earlier" / "OrderLine.101.avsc").unlink()
    assert contracts.problems(folder) == ["OrderLine.101.avsc is in ids.json, but there is no such file"]


def test_a_new_id_that_is_not_pinned_is_noticed(folder: Path) -> None:
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False))
    _edit(folder / "fingerprints.json", lambda pins: pins.pop(str(NEW_ID)))
    assert "pin schema ID 901" in contracts.problems(folder)[0]


def test_a_forgotten_id_is_noticed(folder: Path) -> None:
    _edit(folder / "ids.json", lambda ids: ids.update(OrderLine=[NEW_ID]))
    found = contracts.problems(folder)
    assert any("fingerprints.json pins schema ID 101" in problem for problem in found)


def test_a_lower_id_for_a_newer_version_is_noticed(folder: Path) -> None:
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False), schema_id=7)
    assert "new versions take higher IDs" in contracts.problems(folder)[0]


# -- compatible and incompatible versions --------------------------------------------------------------------------------


COMPATIBLE = {
    "field with a default": ("OrderLine", _add(name="gift", type="boolean", default=False)),
    "field dropped": ("OrderLine", _drop("payment_token")),
    "default in a changelog row": ("TaskPositions", _add(name="note", type="string", default="")),
    "head of a columnar record": ("StockDecisions", _add(name="stage_version", type="int", default=0)),
    "int to long": ("OrderLine", _retype("line", "long")),
}
INCOMPATIBLE = {
    "no default": ("OrderLine", _add(name="gift", type="boolean"), "gift"),
    "narrowed": ("OrderLine", _retype("quantity", "int"), "long"),
    "other type": ("OrderLine", _retype("quantity", "string"), "long"),
    "renamed": ("OrderLine", _rename_field, "order_number"),
    "symbol lost": ("OrderCommand", _lose_symbol, "RETURN"),
    "null lost": ("DeadLetter", _retype("order_id", "long"), "null"),
}
# What Avro itself, and so a registry, lets pass.
BY_OUR_OWN_RULE = {
    "column added": ("OrderLines", _add(name="gift", type={"type": "array", "items": "boolean"}, default=[]), "keeps its columns"),
    "column dropped": ("OrderLines", _drop("payment_token"), "keeps its columns"),
}


@pytest.mark.parametrize(("name", "change"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_compatible_version_passes(folder: Path, name: str, change: Callable[[Schema], None]) -> None:
    new_version(folder, name, change)
    assert contracts.problems(folder) == []


@pytest.mark.parametrize(("name", "change", "why"), (INCOMPATIBLE | BY_OUR_OWN_RULE).values(), ids=INCOMPATIBLE | BY_OUR_OWN_RULE)
def test_an_incompatible_version_is_noticed(folder: Path, name: str, change: Callable[[Schema], None], why: str) -> None:
    new_version(folder, name, change)
    assert any("cannot read" in problem and why in problem for problem in contracts.problems(folder))


def test_every_earlier_version_counts_not_only_the_last(folder: Path) -> None:
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False), 901)
    new_version(folder, "OrderLine", lambda schema: schema["fields"][-1].pop("default"), 902)
    problems = contracts.problems(folder)
    assert len(problems) == 1
    assert problems[0].startswith("OrderLine 902 cannot read 101")


# -- the codec over several versions -------------------------------------------------------------------------------------


def test_a_record_of_an_earlier_version_is_read_as_a_current_one(folder: Path) -> None:
    before = codec.encode("OrderLine", example("OrderLine"))
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False))
    assert codec.decode(before) == ("OrderLine", {**example("OrderLine"), "gift": False}, 1)
    after = codec.encode("OrderLine", {**example("OrderLine"), "gift": True})
    assert after[:5] == b"\0" + NEW_ID.to_bytes(4, "big")
    assert codec.decode(after).value["gift"] is True


def test_a_dropped_field_is_left_out(folder: Path) -> None:
    before = codec.encode("OrderLine", example("OrderLine"))
    new_version(folder, "OrderLine", _drop("payment_token"))
    assert "payment_token" not in codec.decode(before).value


def test_a_columnar_record_of_an_earlier_version_keeps_its_size(folder: Path) -> None:
    before = codec.encode("StockDecisions", example("StockDecisions"))
    new_version(folder, "StockDecisions", _add(name="stage_version", type="int", default=0))
    assert codec.decode(before) == ("StockDecisions", {**example("StockDecisions"), "stage_version": 0}, 2)


def test_a_changelog_row_of_an_earlier_version_is_read(folder: Path) -> None:
    _edit(folder / "OrderRow.avsc", _drop("open_refunds"))
    _forget_schemas()
    before = codec.encode("OrderRow", {k: v for k, v in example("OrderRow").items() if k != "open_refunds"})
    new_version(folder, "OrderRow", _add(name="open_refunds", type={"type": "array", "items": "int"}, default=[]))
    assert codec.decode(before).value == example("OrderRow")


def test_three_versions_are_all_read(folder: Path) -> None:
    first = codec.encode("OrderLine", example("OrderLine"))
    new_version(folder, "OrderLine", _add(name="gift", type="boolean", default=False), 901)
    second = codec.encode("OrderLine", {**example("OrderLine"), "gift": True})
    new_version(folder, "OrderLine", _add(name="wish", type="string", default=""), 902)
    assert [codec.decode(data).value["gift"] for data in (first, second)] == [False, True]
    assert [codec.decode(data).value["wish"] for data in (first, second)] == ["", ""]
    assert contracts.problems(folder) == []
