"""The HTTP client of the suite: it repeats what promises to be repeatable, journals what was accepted, and tells on the rest."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from ingest.requests import Line, Order
from tests.faults.http_clients import Front, KeyBook, faults_of, keys_file
from tests.faults.journal import Journal

ORDER = Order(1, "u1", [Line("p1", 2, 100), Line("p2", 1, 0)], "GBP", "tok_ok", 1_700_000_000_000)
HANG_UP = 0


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([], []),
        ([("a", 0, ""), ("a", 202, "1"), ("a", 0, ""), ("a", 202, "1"), ("b", 202, "2")], []),
        ([("a", 202, "1"), ("a", 202, "2")], ["key a stands for the orders 1, 2"]),
        ([("a", 0, ""), ("a", 500, "")], ["the gateway answered 500 to the order under key a"]),
        ([("a", 422, ""), ("a", 202, "1")], ["the gateway answered 422 to the order under key a"]),
    ],
)
def test_another_order_under_a_key_and_any_other_answer_are_told(tmp_path: Path, said: list[tuple[str, int, str]], found: list[str]) -> None:
    book = KeyBook(tmp_path / "x.keys")
    for key, status, order_id in said:
        book.note(key, status, order_id)
    with (tmp_path / "x.keys").open("ab") as file:
        file.write(b'{"key": "torn", "sta')
    assert faults_of([tmp_path / "x.keys", tmp_path / "none.keys"]) == found


@contextmanager
def server(answers: list[int], keys: list[str]) -> Iterator[str]:
    """A server that gives these answers one after the other (0: hangs up) and notes the keys it was asked under."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["idempotency-key"])
            status = answers.pop(0)
            if status == HANG_UP:
                self.close_connection = True
                return
            body = json.dumps({"order_id": "77", "status": "accepted"}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def place(tmp_path: Path, answers: list[int], *, again: bool = False) -> tuple[list[str], list[dict[str, object]], list[dict[str, object]]]:
    """Place ORDER against a server that answers so: the keys asked under, the journal, the keys file."""
    keys: list[str] = []
    path = tmp_path / "client-0.journal"
    with server(answers, keys) as url, httpx.Client(base_url=url, trust_env=False) as client, Journal(path) as journal:
        Front(client, journal, KeyBook(keys_file(path)), threading.Event(), threading.Event()).place("k", ORDER, again=again)
    return keys, lines(path), lines(keys_file(path))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_repeats_under_the_same_key_until_the_order_is_accepted_and_then_journals_it(tmp_path: Path) -> None:
    keys, journal, book = place(tmp_path, [HANG_UP, 503, 409, 429, 202])
    assert keys == ["k"] * 5
    assert [entry["send"] for entry in journal if "send" in entry] == [{"order_id": "77", "lines": [[1, "p1", 2], [2, "p2", 1]], "copies": 1}]
    assert [entry["ack"] for entry in journal if "ack" in entry] == [{"order_id": "77", "lines": [1, 2]}]
    assert [(entry["status"], entry["order_id"]) for entry in book] == [(0, ""), (202, "77")]


def test_a_repeat_of_what_was_accepted_is_not_journaled_again(tmp_path: Path) -> None:
    _keys, journal, book = place(tmp_path, [202], again=True)
    assert (journal, book[-1]["order_id"]) == ([], "77")


@pytest.mark.parametrize("status", [400, 401, 422, 500, 502])
def test_any_other_answer_ends_it_and_is_told(tmp_path: Path, status: int) -> None:
    keys, journal, _book = place(tmp_path, [status])
    assert (keys, journal) == (["k"], [])
    assert faults_of([keys_file(tmp_path / "client-0.journal")]) == [f"the gateway answered {status} to the order under key k"]
