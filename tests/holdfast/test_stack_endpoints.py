"""Endpoints: from where, in which form, and without their passwords."""

from pathlib import Path

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from holdfast.stack.addresses import Endpoints, MysqlAddress, given
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import NoStackError, StackError
from holdfast.stack.home import Home
from holdfast.stack.mariadb import accounts_sql
from holdfast.stack.status import in_ranges

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.create()
    return home


GIVEN = {
    "HOLDFAST_KAFKA": "127.0.0.1:9092",
    "HOLDFAST_MYSQL": "mysql://me:secret@127.0.0.1:3306/shop",
    "HOLDFAST_REDIS": "redis://127.0.0.1:6379/0",
}


def test_endpoints_of_the_environment_come_first(home: Home) -> None:
    assert endpoints(home, GIVEN).variables() == GIVEN


def test_without_a_stack_the_error_says_what_to_do(home: Home) -> None:
    with pytest.raises(NoStackError, match=r"start it with `holdfast up` \(or set HOLDFAST_KAFKA, HOLDFAST_REDIS\)"):
        endpoints(home, {"HOLDFAST_MYSQL": GIVEN["HOLDFAST_MYSQL"]})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HOLDFAST_KAFKA", "nowhere"),
        ("HOLDFAST_KAFKA", "kafka://a:1"),
        ("HOLDFAST_KAFKA", "a:1,b"),
        ("HOLDFAST_REDIS", "127.0.0.1:6379"),
        ("HOLDFAST_MYSQL", "127.0.0.1:3306"),
        ("HOLDFAST_MYSQL", "mysql://127.0.0.1:3306/shop"),
        ("HOLDFAST_MYSQL", "mysql://me:hidden@127.0.0.1:3306"),
        ("HOLDFAST_MYSQL", "mysql://me:hidden@127.0.0.1:many/shop"),
    ],
)
def test_a_malformed_endpoint_is_named_and_its_password_is_not(variable: str, value: str) -> None:
    with pytest.raises(StackError, match=f"^{variable} must look like") as caught:
        given({variable: value})
    assert "hidden" not in str(caught.value)


@hypothesis_given(user=TEXT, password=TEXT, database=TEXT, port=st.integers(1, 65_535))
def test_any_password_survives_its_url(user: str, password: str, database: str, port: int) -> None:
    at = MysqlAddress("127.0.0.1", port, user, password, database.strip("/") or "d")
    assert MysqlAddress.parse(at.url()) == at


def test_endpoints_show_no_password() -> None:
    shown = repr(Endpoints("127.0.0.1:9092", GIVEN["HOLDFAST_MYSQL"], "redis://:secret@127.0.0.1:1/0"))
    assert "secret" not in shown + repr(MysqlAddress.parse(GIVEN["HOLDFAST_MYSQL"]))


def test_the_accounts_file_has_one_statement_a_line() -> None:
    lines = accounts_sql("pw").splitlines()
    assert all(line.endswith(";") for line in lines)


@pytest.mark.parametrize(
    ("partitions", "shown"),
    [
        ([], ""),
        (["stock-0"], "stock 0"),
        (["orders-0", "orders-1", "orders-2", "orders-5", "stock-3"], "orders 0-2 5, stock 3"),
        (["order.outcomes-7", "order.outcomes-6"], "order.outcomes 6-7"),
    ],
)
def test_partitions_are_shown_in_ranges(partitions: list[str], shown: str) -> None:
    assert in_ranges(partitions) == shown
