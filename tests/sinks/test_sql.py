"""The statements' shape; what they do is tested on the server (tests/live/test_sink_stores.py)."""

from hypothesis import given

from sinks import batch, sql
from tests.support.outputs import VALUES, level, outcome, records


def test_an_empty_batch_is_no_statement():
    assert list(sql.statements(batch.Batch())) == []


def test_version_is_set_last_because_the_others_compare_with_it():
    for _, behind in (sql.PRODUCTS, sql.ORDERS, sql.LINES):
        before, _, last = behind.rpartition(", version = ")
        assert last == "GREATEST(version, VALUES(version))"
        assert " version = " not in before


def test_strings_are_escaped():
    nasty = "'); DROP TABLE products; --"
    text = "".join(sql.statements(batch.fold(records([level(nasty), outcome(user_id="\\'", products=[nasty])]))))
    assert text.count("'\\'); DROP TABLE products; --'") == 2
    assert "'\\\\\\''" in text


def test_shared_rows_are_in_the_order_of_their_keys():
    folded = batch.fold(records([level(p) for p in "cab"] + [outcome(i, user_id=u) for i, u in ((3, "z"), (2, "y"))]))
    products, users, orders, _ = sql.statements(folded)
    assert products.index("('a'") < products.index("('b'") < products.index("('c'")
    assert users.index("('y'") < users.index("('z'")
    assert orders.index("(2,") < orders.index("(3,")


@given(VALUES)
def test_no_statement_is_without_rows_or_has_too_many(values):
    for statement in sql.statements(batch.fold(records(values))):
        assert " VALUES (" in statement


def test_long_batches_are_several_statements():
    folded = batch.fold(records([level(str(i)) for i in range(sql.ROWS_PER_STATEMENT + 1)]))
    first, second = sql.statements(folded)
    assert first.count("),(") == sql.ROWS_PER_STATEMENT - 1
    assert second.count("),(") == 0
