"""The http provider against a real server, and against servers that are none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Pending, Request
from streams.payments import Heard, key_of
from streams.payments.contract import LARGEST_ANSWER
from streams.payments.http import HttpProvider, checked
from tests.support.pipeline import until
from tests.support.provider import ProviderProcess, own_provider

KEY = "a secret of the provider"
PAID = Answer(PaymentResult.PAID)


def charge(order_id: int, token: str = "tok_ok") -> Request:
    return Request(PaymentKind.CHARGE, order_id, 1, 0, 30, "GBP", token, "ann")


def answers(provider: HttpProvider, *requests: Request) -> dict[str, Heard]:
    """Have these asked until all are answered."""
    desk, found = provider.desk(), list[Heard]()
    desk.leave([Pending(request, 0, n, 0) for n, request in enumerate(requests)])
    until(lambda: found.extend(desk.collect(0)) or not desk.is_asking(), 60, f"{len(requests)} answers")
    return {key_of(heard.request): heard for heard in found}


# -- a provider --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with own_provider(tmp_path_factory.mktemp("provider"), HOLDFAST_PAYMENT_KEY=KEY, HOLDFAST_SANDBOX_SLOW="1") as started:
        yield started


@pytest.mark.live
def test_charges_declines_and_refunds(server: ProviderProcess) -> None:
    provider = HttpProvider(server.url + "/", KEY)
    assert provider.ask([charge(1)]) == [None]
    back = charge(1)._replace(kind=PaymentKind.REFUND, sequence=1)
    assert answers(provider, charge(1), charge(2, "tok_declined")) == {
        "1-1-0": Heard(charge(1), PAID),
        "2-1-0": Heard(charge(2, "tok_declined"), Answer(PaymentResult.DECLINED, "token declined")),
    }
    assert answers(provider, back) == {"1-1-1": Heard(back, Answer(PaymentResult.REFUNDED))}
    too_much = answers(provider, back._replace(sequence=2))["1-1-2"].answer
    assert (too_much.result, too_much.moved_nothing) == (PaymentResult.DECLINED, True)


@pytest.mark.live
def test_an_answer_after_the_timeout_is_heard_at_a_later_ask(server: ProviderProcess) -> None:
    heard = answers(HttpProvider(server.url, KEY, timeout=0.3), charge(3, "tok_slow"))
    assert heard == {"3-1-0": Heard(charge(3, "tok_slow"), PAID, doubtful=True)}


@pytest.mark.live
def test_second_answers_are_taken_for_nobody_s(server: ProviderProcess) -> None:
    """They come on connections that carry other requests by then: taken for those, they would decline what was paid."""
    requests = [charge(n, "tok_twice" if n % 2 else "tok_declined" if n % 3 else "tok_ok") for n in range(100, 300)]
    heard = answers(HttpProvider(server.url, KEY, concurrency=8), *requests)
    done = {entry["key"]: entry["result"] for entry in server.ledger()}
    for key, each in heard.items():
        if each.request.payment_token != "tok_twice" or not each.doubtful:
            assert (each.answer.result is PaymentResult.PAID) == (done[key] == "paid"), key


@pytest.mark.live
def test_a_wrong_key_is_no_answer(server: ProviderProcess) -> None:
    desk = HttpProvider(server.url, "wrong").desk()
    desk.leave([Pending(charge(4), 0, 0, 0)])
    until(lambda: desk._asker._vain >= 2, 20, "it was asked in vain")  # type: ignore[attr-defined]
    desk.close()
    assert not desk.is_due(0)
    assert [entry for entry in server.ledger() if entry["order_id"] == "4"] == []


# -- servers that are none ---------------------------------------------------------------------------------------------------

Say = Callable[[socket.socket, int], object]


class Odd:
    """A server that does something odd with its first connections, by number, and then answers as it should."""

    def __init__(self, odd: Say, times: int = 1) -> None:
        self.odd, self.times, self.seen = odd, times, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65_536)
                self.seen += 1
                (self.odd if self.seen <= self.times else self.well)(connection, self.seen)

    @staticmethod
    def well(connection: socket.socket, _: int) -> None:
        body = b'{"key": "7-1-0", "result": "paid"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


ODD: dict[str, Say] = {
    "hangs up": lambda c, _: c.close(),
    "talks nonsense": lambda c, _: c.sendall(b"\xff\xfe\r\n\r\n"),
    "stops in the middle": lambda c, _: c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{"key": "7-1-0", "result"'),
    "sends an endless answer": lambda c, _: c.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (2 * LARGEST_ANSWER)
        + b'{"key": "7-1-0", "result": "paid"}'.ljust(2 * LARGEST_ANSWER)
    ),
    "answers somebody else": lambda c, _: c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 34\r\nConnection: close\r\n\r\n{"key": "8-1-0", "result": "paid"}'),
    "sends us elsewhere": lambda c, _: c.sendall(b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "has no key for us": lambda c, _: c.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
    "is still at it": lambda c, _: c.sendall(b'HTTP/1.1 409 Wait\r\nContent-Length: 34\r\nConnection: close\r\n\r\n{"key": "7-1-0", "result": "paid"}'),
}


@pytest.mark.parametrize("what", ODD)
def test_whatever_is_no_clear_answer_is_asked_again(what: str) -> None:
    odd = Odd(ODD[what], times=2)
    assert answers(HttpProvider(odd.url, timeout=2.0), charge(7)) == {"7-1-0": Heard(charge(7), PAID, doubtful=True)}
    assert odd.seen == 3


@pytest.mark.live
def test_who_was_never_reached_cannot_have_done_anything(tmp_path: Path) -> None:
    server = ProviderProcess(tmp_path)
    desk, found = HttpProvider(server.url).desk(), list[Heard]()
    desk.leave([Pending(charge(7), 0, 0, 0)])
    until(lambda: desk._asker._vain >= 2, 20, "it was asked in vain")  # type: ignore[attr-defined]
    try:
        server.start()
        until(lambda: found.extend(desk.collect(0)) or found, 60, "the answer")
    finally:
        server.kill()
    assert found == [Heard(charge(7), PAID, doubtful=False)]


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://", "https://ann:secret@x", "http://x/?key=secret", "http://x#secret"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="payment provider's URL") as refused:
        checked(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("url", "base"), [("http://x:1", "http://x:1"), ("https://pay.example/v1/", "https://pay.example/v1")])
def test_a_url_that_can(url: str, base: str) -> None:
    assert checked(url) == base
