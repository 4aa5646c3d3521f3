"""The AsyncAPI document says what the contracts say, and is one by AsyncAPI's own schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from holdfast import asyncapi
from schemas.codec import schema_ids, schema_text
from schemas.topics import ALL, GENERATIONS
from tests.support.node import npm

KEPT = Path(__file__).parents[2] / "docs" / "asyncapi.json"
SPECS = Path(__file__).parents[1] / "consumers" / "asyncapi" / "package.json"


@pytest.fixture(scope="module")
def official() -> jsonschema_rs.Draft7Validator:
    folder = npm(SPECS)
    return jsonschema_rs.Draft7Validator(json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text()))


def test_the_kept_document_is_what_the_contracts_say() -> None:
    assert KEPT.read_text() == asyncapi.text(), "run `holdfast topics asyncapi > docs/asyncapi.json`"


def test_every_topic_and_record_is_in_it() -> None:
    found = asyncapi.document()
    assert set(found["channels"]) == {topic.name for topic in ALL}
    assert set(found["components"]["schemas"]) == set(schema_ids()) - set(GENERATIONS.records)
    assert all(each["schema"] == json.loads(schema_text(name)) for name, each in found["components"]["schemas"].items())


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi.document()
    for reference in _references(document):
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
        assert at


def test_it_is_valid(official: jsonschema_rs.Draft7Validator) -> None:
    assert [error.message[:300] for error in official.iter_errors(asyncapi.document())] == []


@pytest.mark.parametrize("path", ["asyncapi", "info", "channels", "operations"])
def test_a_wrong_one_is_not(official: jsonschema_rs.Draft7Validator, path: str) -> None:
    assert not official.is_valid({**asyncapi.document(), path: 5})


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [reference for each in value.values() for reference in _references(each)]
    return [reference for each in value for reference in _references(each)] if isinstance(value, list) else []
