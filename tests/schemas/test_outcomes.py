"""One set of words: the enums in code, in the schemas and in docs/outcomes.md."""

import json
import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

import schemas
from generations import Step
from schemas import codec, outcomes
from schemas.currencies import CURRENCIES
from schemas.outcomes import DECISIONS, DeadLetterAction, DeadLetterReason, LineStatus, OrderCommandKind, OrderStatus, OutcomeChange, Refusal, StockCommandKind

DOCS = (Path(schemas.__file__).parents[1] / "docs" / "outcomes.md").read_text()


def _enums(schema: Any) -> dict[str, list[str]]:
    """Return every enum inside a schema: name -> symbols."""
    if isinstance(schema, list):
        return {name: symbols for part in schema for name, symbols in _enums(part).items()}
    if not isinstance(schema, dict):
        return {}
    own = {schema["name"]: schema["symbols"]} if schema.get("type") == "enum" else {}
    return own | {name: symbols for part in schema.values() for name, symbols in _enums(part).items()}


SYMBOLS = {
    "StockCommandKind": [kind.name for kind in StockCommandKind if kind < StockCommandKind.RELEASE],
    "OrderCommandKind": [kind.name for kind in OrderCommandKind if kind < OrderCommandKind.RESTATE],
    "OrderStatus": [status.name for status in OrderStatus if OrderStatus.CONFIRMED <= status <= OrderStatus.RETURNED],
    "LineStatus": [status.name for status in LineStatus],
    "OutcomeChange": [change.name for change in OutcomeChange],
    "DeadLetterAction": [action.name for action in DeadLetterAction],
    "GenerationStep": [step.name for step in Step],
}


def test_enums_of_the_schemas_have_the_code_s_symbols_in_the_code_s_order() -> None:
    seen = set()
    for name in codec.schema_ids():
        for enum, symbols in _enums(json.loads(codec.schema_text(name))).items():
            assert symbols == SYMBOLS[enum], f"{enum} in {name}"
            seen.add(enum)
    assert seen == set(SYMBOLS)


def test_operators_kinds_have_the_enum_s_own_numbers() -> None:
    assert [StockCommandKind[symbol] for symbol in SYMBOLS["StockCommandKind"]] == list(range(8))
    assert [OrderCommandKind[symbol] for symbol in SYMBOLS["OrderCommandKind"]] == list(range(3))


@pytest.mark.parametrize("kind", [Refusal, StockCommandKind, OrderCommandKind, OrderStatus, LineStatus, OutcomeChange])
def test_every_code_fits_a_byte(kind: type[IntEnum]) -> None:
    assert all(0 <= code <= 255 for code in kind)


@pytest.mark.parametrize("refusal", [refusal.name for refusal in Refusal if refusal])
def test_the_docs_name_every_refusal(refusal: str) -> None:
    assert re.search(rf"\b{refusal}\b", DOCS)


def test_the_docs_check_lines_in_the_order_of_the_enum() -> None:
    table = DOCS.split("## A line of an order")[1].split("##")[0]
    named = [Refusal[name] for name in re.findall(r"\| `(\w+)`", table)]
    assert named == sorted(named)
    assert set(named) == {r for r in Refusal if Refusal.INVALID_ORDER_ID <= r <= Refusal.INSUFFICIENT_STOCK}


def test_the_docs_name_no_code_that_is_not_there() -> None:
    known = {name for enum in vars(outcomes).values() if isinstance(enum, type) and issubclass(enum, (IntEnum, DeadLetterReason)) for name in enum.__members__}
    shouted = {word for word in re.findall(r"`([A-Z]+_[A-Z_]+)`", DOCS) if not word.startswith("HOLDFAST_")} - {"INVALID_"}
    assert shouted <= known


def test_the_transition_table_of_the_docs_names_every_state() -> None:
    table = DOCS.split("## An order")[1]
    for status in OrderStatus:
        assert re.search(rf"^\| [^|]*\b{status.name.lower() if status is OrderStatus.UNKNOWN else status.name}\b", table, re.MULTILINE), status


@pytest.mark.parametrize("reason", [reason.value for reason in DeadLetterReason])
def test_the_docs_name_every_reason_for_a_dead_letter(reason: str) -> None:
    assert f"`{reason}`" in DOCS


def test_decisions_are_the_states_an_order_can_first_be_published_in() -> None:
    assert {status.name for status in DECISIONS} == {"CONFIRMED", "REJECTED", "PAYMENT_FAILED", "EXPIRED", "CANCELLED"}


def test_only_invalid_lines_are_invalid() -> None:
    invalid = {refusal.name for refusal in Refusal if refusal.is_invalid_line}
    assert invalid == {name for name in Refusal.__members__ if name.startswith("INVALID_") and name != "INVALID_COMMAND"} | {"UNKNOWN_CURRENCY"}


def test_currencies_are_three_capital_letters() -> None:
    assert len(CURRENCIES) > 150
    assert all(re.fullmatch("[A-Z]{3}", code) for code in CURRENCIES)
    assert {"GBP", "EUR", "USD", "JPY"} <= CURRENCIES
    assert "XXX" not in CURRENCIES
