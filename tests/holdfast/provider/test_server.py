"""The provider as a process: what it answers, to whom, and that a kill loses nothing of what it said."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.provider.server import is_loopback
from tests.support.provider import ProviderProcess, own_provider

KEY = "a secret of the provider"
pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    settings = {"HOLDFAST_PAYMENT_KEY": KEY, "HOLDFAST_SANDBOX_SLOW": "0.4", "HOLDFAST_SANDBOX_SILENT": "600"}
    with own_provider(tmp_path_factory.mktemp("provider"), **settings) as started:
        yield started


@pytest.fixture(autouse=True)
def _well(provider: ProviderProcess) -> None:
    provider.mode()


def charge(order_id: int, **fields: Any) -> dict[str, Any]:
    return {"order_id": str(order_id), "attempt": 1, "amount": 500, "currency": "GBP", "token": "tok_ok", "user": "ann", **fields}


def refund(order_id: int, amount: int) -> dict[str, Any]:
    return {"order_id": str(order_id), "attempt": 1, "amount": amount, "currency": "GBP", "charge": f"{order_id}-1-0"}


def post(provider: ProviderProcess, key: str, body: Any, path: str = "/charges") -> tuple[int, Any]:
    return provider.call("POST", path, body, Idempotency_Key=key, Authorization=f"Bearer {KEY}", Content_Type="application/json")


def test_a_charge_and_its_refund_each_once(provider: ProviderProcess) -> None:
    for _ in range(2):
        assert post(provider, "1-1-0", charge(1)) == (200, {"key": "1-1-0", "result": "paid", "reason": ""})
    for _ in range(2):
        assert post(provider, "1-1-1", refund(1, 400), "/refunds") == (200, {"key": "1-1-1", "result": "refunded", "reason": ""})
    status, answer = post(provider, "1-1-2", refund(1, 400), "/refunds")
    assert (status, answer["result"], "100 left" in answer["reason"]) == (422, "rejected", True)
    mine = [entry for entry in provider.ledger() if entry["order_id"] == "1"]
    assert [(entry["key"], entry["kind"], entry["result"], entry["amount"]) for entry in mine] == [
        ("1-1-0", "charge", "paid", 500),
        ("1-1-1", "refund", "refunded", 400),
        ("1-1-2", "refund", "rejected", 400),
    ]


def test_a_declined_token_says_why(provider: ProviderProcess) -> None:
    assert post(provider, "2-1-0", charge(2, token="tok_declined")) == (402, {"key": "2-1-0", "result": "declined", "reason": "token declined"})


def test_a_key_belongs_to_one_request(provider: ProviderProcess) -> None:
    post(provider, "3-1-0", charge(3))
    status, answer = post(provider, "3-1-0", charge(3, amount=501))
    assert (status, answer["key"], answer["result"]) == (422, "3-1-0", "rejected")


BAD: dict[str, tuple[str, Any, str]] = {
    "no key": ("", charge(4), "Idempotency-Key"),
    "a key too long": ("k" * 256, charge(4), "Idempotency-Key"),
    "no JSON": ("4-1-0", b"{", "send JSON"),
    "no object": ("4-1-0", [], "send JSON"),
    "an unknown field": ("4-1-0", charge(4, surprise=1), "surprise"),
    "a number for the order": ("4-1-0", {**charge(4), "order_id": 4}, "order_id"),
    "order 0": ("4-1-0", charge(0), "order_id"),
    "an amount of nothing": ("4-1-0", charge(4, amount=0), "amount"),
    "no currency": ("4-1-0", charge(4, currency="pounds"), "currency"),
    "a charge of a charge": ("4-1-0", charge(4, charge="1-1-0"), "charge"),
    "a token too long": ("4-1-0", charge(4, token="t" * 256), "token"),
    "not a number": ("4-1-0", charge(4, attempt="one"), "attempt"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_is_told_what_is_wrong(provider: ProviderProcess, what: str) -> None:
    key, body, word = BAD[what]
    status, answer = post(provider, key, body)
    assert status == 400
    assert word in answer["error"]


def test_an_endless_body_is_not_read(provider: ProviderProcess) -> None:
    assert _status_of_body(provider, b"x" * 100_000) == 413


def _status_of_body(provider: ProviderProcess, body: bytes) -> int:
    head = f"POST /charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: big\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", provider.port), 10) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.recv(1_000).split()[1])


@pytest.mark.parametrize("given", ["", "Bearer wrong", KEY[:-1]])
def test_who_has_no_key_is_let_down(provider: ProviderProcess, given: str) -> None:
    assert provider.call("POST", "/charges", charge(5), Idempotency_Key="5-1-0", Authorization=given)[0] == 401
    assert KEY not in provider.log.read_text()


def test_a_slow_token_is_answered_later_and_then_at_once(provider: ProviderProcess) -> None:
    started = time.monotonic()
    first = post(provider, "6-1-0", charge(6, token="tok_slow"))
    assert time.monotonic() - started >= 0.4
    assert first == post(provider, "6-1-0", charge(6, token="tok_slow"))


def test_a_silent_token_takes_the_money_and_says_nothing(provider: ProviderProcess) -> None:
    with socket.create_connection(("127.0.0.1", provider.port), 10) as connection:
        _send(connection, "7-1-0", 7, "tok_silent")
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert [entry["result"] for entry in provider.ledger() if entry["order_id"] == "7"] == ["paid"]


def _send(connection: socket.socket, key: str, order_id: int, token: str) -> None:
    body = json.dumps(charge(order_id, token=token)).encode()
    head = f"POST /charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def test_a_token_that_is_answered_twice(provider: ProviderProcess) -> None:
    with socket.create_connection(("127.0.0.1", provider.port), 10) as connection:
        _send(connection, "8-1-0", 8, "tok_twice")
        connection.settimeout(10)
        heard = b""
        while heard.count(b"HTTP/1.1") < 2 or not heard.endswith(b"}"):
            heard += connection.recv(1_000)
    first, second = heard.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"402")
    assert post(provider, "8-1-0", charge(8, token="tok_twice"))[0] == 402
    assert [entry["result"] for entry in provider.ledger() if entry["order_id"] == "8"] == ["paid"]


def test_down_it_carries_out_nothing(provider: ProviderProcess) -> None:
    provider.mode(down=True)
    assert post(provider, "9-1-0", charge(9))[0] == 503
    provider.mode()
    assert [entry for entry in provider.ledger() if entry["order_id"] == "9"] == []
    assert post(provider, "9-1-0", charge(9))[0] == 200


def test_failing_and_dropping_it_carries_out_about_half(provider: ProviderProcess) -> None:
    provider.mode(fail_rate=0.5, drop_rate=0.5)
    for n in range(1_000, 1_040):
        with suppress(OSError):  # of a dropped connection
            assert post(provider, f"{n}-1-0", charge(n))[0] in (429, 500, 503)
    done = [entry for entry in provider.ledger() if 1_000 <= int(entry["order_id"]) < 1_040]
    assert 5 < len(done) < 35


@pytest.mark.parametrize("mode", [{"fail_rate": 2}, {"speed": 1}, {"down": "yes"}, [], {"slow_s": -1}])
def test_a_mode_that_cannot_be_had_is_refused(provider: ProviderProcess, mode: Any) -> None:
    status, answer = provider.call("PUT", "/mode", mode)
    assert status == 400
    assert answer["error"]
    assert provider.call("GET", "/mode")[1]["down"] is False


@pytest.mark.parametrize(("address", "expected"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("10.0.0.1", False), ("", False), (None, False)])
def test_who_is_on_this_machine(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_killed_and_started_again_it_remembers_what_it_did(tmp_path: Path) -> None:
    with own_provider(tmp_path) as provider:
        before = [provider.call("POST", "/charges", charge(n), Idempotency_Key=f"{n}-1-0") for n in range(1, 20)]
        provider.kill()
        provider.start()
        assert [provider.call("POST", "/charges", charge(n), Idempotency_Key=f"{n}-1-0") for n in range(1, 20)] == before
        assert len(provider.ledger()) == 19
        provider.signal(signal.SIGTERM)
        assert provider.popen is not None
        assert provider.popen.wait(10) == 0
