"""Clients' journals: what a line means, what a torn one does, what is no journal; and that the load clients write what the audit reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.audit import CannotCheckError, Report, check
from holdfast.audit.journals import Journal
from holdfast.cli import main
from tests.faults.journal import Journal as Writer
from tests.faults.journal import order_sent
from tests.support.correct_history import correct_shop

SEND = {"send": {"order_id": "77", "lines": [[1, "apple", 1], [2, "fig", 2]]}}
ACK = {"ack": {"order_id": "77", "lines": [1, 2]}}
HALF = {"ack": {"order_id": "77", "lines": [2]}}
"""Of an order that is not in the log."""
FIG = {"send": {"order_id": "10", "lines": [[1, "fig", 1]]}}
FIGS = {"send": {"order_id": "10", "lines": [[1, "fig", 5]]}}
GOT_FIG = {"ack": {"order_id": "10", "lines": [1]}}
"""Of an order for one fig."""
CANCEL = {"send": {"command_id": "lost", "kind": "CANCEL", "order_id": "1"}}
DONE = {"ack": {"command_id": "lost"}}


def audited(path: Path, **options: bool) -> Report:
    return check(correct_shop().log(), None, [Journal.open(path)], **options)


def journal(folder: Path, *lines: Any) -> Path:
    path = folder / "client.journal"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ((), 0),
        ((SEND,), 0),  # sent and not acknowledged: it may be there or not
        ((SEND, ACK), 2),
        ((SEND, HALF), 1),
        ((SEND, HALF, ACK), 2),
        ((SEND, ACK, SEND, ACK), 2),  # said again: found once
        ((SEND, SEND, ACK, ACK), 2),
        ((SEND, ACK, CANCEL, DONE), 3),
        ((CANCEL,), 0),
        ((CANCEL, CANCEL, DONE, DONE), 1),
        ((ACK, DONE), 0),  # the journal that has the send says whether it is there
        ((FIG, GOT_FIG), 0),
        ((FIGS, GOT_FIG), 1),
        ((FIGS, FIG, GOT_FIG), 0),  # under one number, so either may be what was acknowledged
        (({"send": {"command_id": "broken", "kind": "WRITE_OFF", "product_id": "pear"}}, {"ack": {"command_id": "broken"}}), 0),
        (({"send": {"command_id": "broken", "kind": "RESTOCK", "product_id": "pear"}}, {"ack": {"command_id": "broken"}}), 1),
        (({"send": {"command_id": "ship-6", "kind": "SHIP", "order_id": "6", "line": 0}}, {"ack": {"command_id": "ship-6"}}), 0),
        (({"send": {"command_id": "ship-6", "kind": "SHIP", "order_id": "7"}}, {"ack": {"command_id": "ship-6"}}), 1),
    ],
)
def test_what_was_acknowledged_is_in_the_log(lines: tuple[Any, ...], missing: int, tmp_path: Path) -> None:
    assert audited(journal(tmp_path, *lines)).kinds()["acknowledged_not_in_log"] == missing


def test_a_violation_names_the_line_of_the_journal_and_the_promise(tmp_path: Path) -> None:
    report = audited(journal(tmp_path, CANCEL, SEND, HALF))
    missing, undecided = report.violations
    assert (missing.promise, missing.kind, undecided.promise, undecided.kind) == ("I5", "acknowledged_not_in_log", "I2", "acknowledged_undecided")
    assert str(missing) == f"{tmp_path / 'client.journal'} line 3; order_id=77 line=2 product_id=fig quantity=2; not on orders"
    assert report.checked["I5"]["journals"] == report.checked["I5"]["acknowledged"] == 1


@pytest.mark.parametrize("cut", range(1, len(json.dumps(ACK)) + 1))
def test_a_line_that_breaks_off_counts_as_not_written(cut: int, tmp_path: Path) -> None:
    """Its writer was killed: at the end of the file, or before it was opened again."""
    torn = json.dumps(ACK).encode()[:-cut]
    assert audited(journal(tmp_path, SEND, torn)).ok
    assert audited(journal(tmp_path, SEND, torn + b"\n", CANCEL)).ok


def test_an_acknowledgement_without_its_last_newline_counts(tmp_path: Path) -> None:
    assert not audited(journal(tmp_path, SEND, json.dumps(ACK).encode())).ok


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"2026-11-23 order 77 sent\n", "it is no JSON object"),
        (b"\x00\x01\x02\n", "it is no JSON object"),
        (b"[]\n", "it is no JSON object"),
        ({"t": 5}, 'it has not just one of "send" and "ack"'),
        ({**SEND, **ACK}, 'it has not just one of "send" and "ack"'),
        ({"send": {"lines": []}}, "it names no order and no command"),
        ({"ack": {"order_id": 77, "lines": [1]}}, "Expected `str`, got `int` - at `$.ack.order_id`"),
        ({"ack": {"order_id": "7x", "lines": [1]}}, "order_id is '7x', not a whole number in a string"),
        ({"send": {"order_id": "7", "lines": [[1, "apple"]]}}, "Expected `array` of length 3"),
    ],
)
def test_what_is_no_journal_is_refused_with_its_line(line: Any, why: str, tmp_path: Path) -> None:
    path = journal(tmp_path, SEND, line)
    with pytest.raises(CannotCheckError) as error:
        audited(path)
    assert f"{path} line 2 is not a journal's: {why}" in str(error.value)
    assert "holdfast audit --help" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CannotCheckError, match=f"the journal {path}"):
            Journal.open(path)


def test_what_is_written_after_the_audit_began_is_not_looked_at(tmp_path: Path) -> None:
    path = journal(tmp_path, SEND)
    opened = Journal.open(path)
    with path.open("a") as more:
        more.write(json.dumps(ACK) + "\n")
    assert check(correct_shop().log(), None, [opened]).ok
    assert not check(correct_shop().log(), None, [Journal.open(path)]).ok


def test_only_a_complete_set_of_journals_says_what_nobody_sent(tmp_path: Path) -> None:
    path = journal(tmp_path, SEND)
    assert audited(path).ok
    assert set(audited(path, complete=True).kinds()) == {"in_log_unsent"}


def test_the_load_clients_write_what_the_audit_reads(tmp_path: Path) -> None:
    path = tmp_path / "client.journal"
    for _ in range(2):
        with Writer(path) as writer:
            writer.send([order_sent(10, [(1, "fig", 1)], copies=2), order_sent(77, [(1, "apple", 1)], line_count=2), CANCEL["send"]])
            writer.ack({"order_id": "10", "lines": [1]})
            writer.ack({"command_id": "lost"})
    entries = list(Journal.open(path).entries())
    assert [entry.number for entry in entries if entry.sent] == [1, 2, 3, 7, 8, 9], "line 6 ends what might have been torn"
    assert [entry.number for entry in entries if entry.acknowledged] == [4, 5, 10, 11]
    assert audited(path).kinds() == {"acknowledged_not_in_log": 1}


def test_a_complete_set_needs_journals_and_clients_that_have_ended(tmp_path: Path) -> None:
    for options in ([], ["--live", "--journal", str(journal(tmp_path, SEND))]):
        result = CliRunner().invoke(main, ["audit", "--journal-complete", *options])
        assert result.exit_code == 2
        assert "--journal-complete needs every client's --journal" in result.output
