"""What a notice says, who gets it, and when it is tried again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.webhooks.notices import Endpoint, delay_s, headers_of, notice_of, secret_text, wants
from tests.support.outputs import outcome

ENDPOINT = Endpoint("wh_1", "https://shop.example/hook", None, frozenset(), b"s" * 32, 1_000)


@pytest.mark.parametrize(
    ("endpoint", "written_at", "wanted"),
    [
        (ENDPOINT, 1_000, True),
        (ENDPOINT, 999, False),
        (ENDPOINT._replace(user_id="17850"), 1_000, True),
        (ENDPOINT._replace(user_id="17851"), 1_000, False),
        (ENDPOINT._replace(events=frozenset({"confirmed", "shipped"})), 1_000, True),
        (ENDPOINT._replace(events=frozenset({"shipped"})), 1_000, False),
    ],
)
def test_who_hears_of_an_order(endpoint: Endpoint, written_at: int, wanted: bool) -> None:
    assert wants(endpoint, outcome(), written_at) is wanted


def test_nobody_is_told_of_history() -> None:
    assert not wants(ENDPOINT, outcome(change="IMPORTED"), 1_000)


def test_a_notice_is_the_same_whenever_it_is_made() -> None:
    first, second = (notice_of(ENDPOINT, outcome(7, 2, change="SHIPPED"), 3) for _ in range(2))
    assert first == second
    document = json.loads(first.body)
    assert (first.notice_id, first.event, document["type"], document["data"]["order_id"]) == ("order-7-2", "shipped", "order.shipped", "7")
    assert document["timestamp"] == document["data"]["changed_at"] == "2010-12-01T10:40:00.052Z"


def test_two_states_never_share_an_id() -> None:
    made = [notice_of(ENDPOINT, outcome(order, version), 0).notice_id for order in (1, 11, 111) for version in (1, 11, 2)]
    assert len(set(made)) == len(made)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the Standard Webhooks libraries, whose ID is not one of ours.
    secret, body = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), b'{"test": 2432232314}'
    signed = hmac.new(secret, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body, hashlib.sha256).digest()
    assert base64.b64encode(signed) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    notice = notice_of(ENDPOINT, outcome(7), 0)
    headers = headers_of(notice, secret, 1_614_265_330)
    ours = hmac.new(secret, b"order-7-1.1614265330." + notice.body, hashlib.sha256).digest()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("order-7-1", "1614265330")
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(ours).decode()}"


def test_a_secret_is_shown_as_its_libraries_take_it() -> None:
    assert base64.b64decode(secret_text(b"x" * 32).removeprefix("whsec_")) == b"x" * 32


@given(st.integers(1, 10_000), st.floats(0.01, 10), st.floats(10, 1e5), st.floats(0, 1), st.floats(0, 1e6))
def test_a_delay_grows_and_is_bounded(attempts: int, first_s: float, longest_s: float, jitter: float, wanted_s: float) -> None:
    found = delay_s(attempts, first_s, longest_s, jitter, wanted_s)
    assert min(first_s, longest_s) / 2 <= found <= longest_s
    assert found >= min(wanted_s, longest_s)
    assert delay_s(attempts + 1, first_s, longest_s, jitter) >= delay_s(attempts, first_s, longest_s, jitter)
