"""The rows of Idempotency-Keys on the real server, claimed by many at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count

import pymysql
import pytest

from ingest.config import connect
from ingest.order_keys import Answered, KeyAsked, Standing, claim_all, mark
from sinks.migrate import migrate

pytestmark = pytest.mark.live
HASH = b"h" * 16
LEASE_MS = 60_000


def claim(url: str, asked: Sequence[KeyAsked], lease_ms: int = LEASE_MS) -> list[Answered]:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        answers = claim_all(cursor, asked, lease_ms)
        connection.commit()
        return answers


def test_claims_of_the_same_keys_at_once_agree(fresh_database: str) -> None:
    migrate(fresh_database)
    ids = count(1)
    keys = [f"k{n}" for n in range(60)]

    def claim_some(seed: int) -> list[tuple[str, Answered]]:
        some = random.Random(seed).sample(keys, 30)
        asked = [KeyAsked("u", key, HASH, next(ids)) for key in some]
        return list(zip(some, claim(fresh_database, asked), strict=True))

    with ThreadPoolExecutor(8) as threads:
        answered = [pair for pairs in threads.map(claim_some, range(40)) for pair in pairs]
    standing = {key: [answer for said, answer in answered if said == key] for key in {said for said, _ in answered}}
    assert all(len({answer.order_id for answer in answers}) == 1 for answers in standing.values())
    assert all([answer.standing for answer in answers].count(Standing.OURS) == 1 for answers in standing.values())


def test_a_lease_that_is_over_is_taken_by_the_next(fresh_database: str) -> None:
    migrate(fresh_database)
    assert claim(fresh_database, [KeyAsked("u", "k", HASH, 1)], 0) == [Answered(Standing.OURS, 1)]
    second, other = KeyAsked("u", "k", HASH, 2), KeyAsked("u", "other", HASH, 3)
    assert claim(fresh_database, [second, other]) == [Answered(Standing.OURS, 1), Answered(Standing.OURS, 3)]
    (third,) = claim(fresh_database, [KeyAsked("u", "k", HASH, 4)])
    assert (third.standing, third.order_id) == (Standing.IN_FLIGHT, 1)
    assert 0 < third.wait_ms <= LEASE_MS


@pytest.mark.parametrize(("known", "standing"), [(True, Standing.DONE), (False, Standing.OURS)])
def test_what_is_settled_is_not_in_flight(fresh_database: str, known: bool, standing: Standing) -> None:
    migrate(fresh_database)
    claim(fresh_database, [KeyAsked("u", "k", HASH, 1), KeyAsked("u", "other", HASH, 2)])
    with closing(connect(fresh_database)) as connection, connection.cursor() as cursor:
        mark(cursor, {1: known})
        connection.commit()
    again = claim(fresh_database, [KeyAsked("u", "k", HASH, 3), KeyAsked("u", "other", HASH, 4)])
    assert [(answer.standing, answer.order_id) for answer in again] == [(standing, 1), (Standing.IN_FLIGHT, 2)]


def test_what_does_not_fit_is_an_error_and_nothing_is_stored(fresh_database: str) -> None:
    migrate(fresh_database)
    with pytest.raises(pymysql.DataError):
        claim(fresh_database, [KeyAsked("u", "fits", HASH, 1), KeyAsked("u" * 65, "k", HASH, 2)])
    assert claim(fresh_database, [KeyAsked("u", "fits", HASH, 3)]) == [Answered(Standing.OURS, 3)]
