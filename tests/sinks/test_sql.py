"""The statements' shape; what they do is tested on the server (tests/live/test_sink_stores.py)."""

from hypothesis import given
from hypothesis import strategies as st

from sinks import batch, sql
from tests.support.outputs import VALUES, level, outcome, records

LARGEST = 2**24


def test_an_empty_batch_is_no_statement():
    assert list(sql.statements(batch.Batch(), LARGEST)) == []


def test_version_is_set_last_because_the_others_compare_with_it():
    for _, behind in (sql.PRODUCTS, sql.ORDERS, sql.LINES):
        before, _, last = behind.rpartition(", version = ")
        assert last == "GREATEST(version, VALUES(version))"
        assert " version = " not in before


def test_strings_are_escaped():
    nasty = "'); DROP TABLE products; --"
    text = "".join(sql.statements(batch.fold(records([level(nasty), outcome(user_id="\\'", products=[nasty])])), LARGEST))
    assert text.count("'\\'); DROP TABLE products; --'") == 2
    assert "'\\\\\\''" in text


def test_shared_rows_are_in_the_order_of_their_keys():
    folded = batch.fold(records([level(p) for p in "cab"] + [outcome(i, user_id=u) for i, u in ((3, "z"), (2, "y"))]))
    products, users, orders, _ = sql.statements(folded, LARGEST)
    assert products.index("('a'") < products.index("('b'") < products.index("('c'")
    assert users.index("('y'") < users.index("('z'")
    assert orders.index("(2,") < orders.index("(3,")


@given(VALUES, st.integers(4_000, 40_000))
def test_statements_fit_and_say_together_what_one_of_each_table_says(values, largest):
    folded = batch.fold(records(values))
    whole, cut = list(sql.statements(folded, LARGEST)), list(sql.statements(folded, largest))
    assert len(whole) <= 4
    assert all(len(statement.encode()) <= largest and " VALUES (" in statement for statement in cut)
    assert rows(cut) == rows(whole)


def rows(statements):
    """The rows of each table, joined again."""
    found = {}
    for statement in statements:
        before, _, rest = statement.partition(" VALUES ")
        found.setdefault(before, []).append(rest.rpartition(" ON DUPLICATE KEY")[0])
    return {before: ",".join(texts) for before, texts in found.items()}


def test_a_row_longer_than_the_room_is_a_statement_of_its_own():
    folded = batch.fold(records([level(p) for p in "ab"]))
    assert [statement.count("),(") for statement in sql.statements(folded, 1)] == [0, 0]


def test_long_batches_are_several_statements():
    folded = batch.fold(records([level(str(i)) for i in range(sql.ROWS_PER_STATEMENT + 1)]))
    first, second = sql.statements(folded, LARGEST)
    assert first.count("),(") == sql.ROWS_PER_STATEMENT - 1
    assert second.count("),(") == 0
