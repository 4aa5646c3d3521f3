"""How API keys look, and what state they are in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.api_keys import ApiKey, key_id_in, new_key_text, parse_key, secret_hash
from ingest.http.keys import remember

NOW = datetime(2026, 11, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


def test_a_key_made_up_is_256_bits_and_reads_back() -> None:
    keys = {new_key_text() for _ in range(100)}
    assert len({key.secret for key in keys}) == len({key.key_id for key in keys}) == 100
    assert all(parse_key(key.text) == key and len(bytes.fromhex(key.secret)) == 32 for key in keys)
    assert all(key.secret not in repr(secret_hash(key.secret)) for key in keys)


@given(st.text() | st.from_regex(r"hf_[0-9a-f]{15,17}_[0-9a-fA-F]{63,65}\n?"))
def test_what_is_no_key_is_none(text: str) -> None:
    found = parse_key(text)
    assert found is None or found.text == text


def test_a_key_is_named_by_its_id_or_by_itself() -> None:
    key = new_key_text()
    assert key_id_in(key.text) == key_id_in(key.key_id) == key.key_id
    assert key_id_in(key.secret) is key_id_in("") is key_id_in(key.key_id + "\n") is None


@pytest.mark.parametrize(
    ("expires", "revoked", "state"),
    [
        (None, None, "active"),
        (LATER, None, "active"),
        (NOW, None, "expired"),
        (EARLIER, None, "expired"),
        (LATER, EARLIER, "revoked"),
        (EARLIER, EARLIER, "revoked"),
    ],
)
def test_states(expires: datetime | None, revoked: datetime | None, state: str) -> None:
    assert ApiKey("i", b"", "", None, (), expires_at=expires, revoked_at=revoked).state(NOW) == state


def test_what_is_remembered_of_made_up_keys_is_bounded() -> None:
    found: dict[str, float] = {}
    for n in range(1_000):
        remember(found, str(n % 300), n, 100)
    assert list(found) == [str(n % 300) for n in range(900, 1_000)]
