"""The statements' shape; what they do is tested on the server (tests/live/test_sink_stores.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks import batch, sql
from tests.schemas.test_compiled import needs_compiled
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
    whole, cut = inserts(sql.statements(folded, LARGEST)), inserts(sql.statements(folded, largest))
    assert len(rows(whole)) <= 4
    assert all(len(statement.encode()) <= largest and " VALUES (" in statement for statement in cut)
    assert rows(cut) == rows(whole)


def inserts(statements):
    """The statements as they are where no row is there yet."""
    return [text for each in statements for text in ([each] if isinstance(each, str) else each.otherwise())]


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


def shipped(order_id, version=2, products=("A", "B"), **other):
    made = outcome(order_id, version, products, change="SHIPPED", status="SHIPPED")
    return made | {"lines": [line | {"returned": 0} for line in made["lines"]]} | other


@needs_compiled
def test_shipped_orders_of_one_version_are_one_statement():
    folded = batch.fold(records([shipped(9), outcome(8), shipped(7, products=["A"]), shipped(6, 3)]))
    two, three, eight = sql.line_statements(folded, LARGEST)
    assert two.text.endswith("SET status = 'SHIPPED', refusal = '', returned = 0, version = 2 WHERE order_id IN (7,9) AND version = 1")
    assert three.text.endswith("version = 3 WHERE order_id IN (6) AND version = 2")
    assert (two.rows, three.rows) == (3, 2)
    assert eight.startswith(sql.LINES[0] + "(8,1,")
    (otherwise,) = two.otherwise()
    assert otherwise == sql.LINES[0] + "(7,1,'A',1,250,'SHIPPED','',0,2),(9,1,'A',1,250,'SHIPPED','',0,2),(9,2,'B',2,250,'SHIPPED','',0,2)" + sql.LINES[1]


@needs_compiled
def test_many_shipped_orders_are_several_statements_that_fit_everywhere():
    folded = batch.fold(records([shipped(2**62 + n) for n in range(sql.ORDERS_PER_UPDATE + 1)]))
    first, second = sql.line_statements(folded, 15_000)
    assert (first.rows, second.rows) == (2 * sql.ORDERS_PER_UPDATE, 2)
    assert len(first.text) < 15_000


@pytest.mark.parametrize(
    "values",
    [
        [outcome(1, 1, ["A"]), shipped(1, 2, ["A"])],
        [shipped(1, 2, user_id="O'Hara")],
        [shipped(1, 2, change="AMENDED")],
        [shipped(1, 2, change="AMENDED", status="CONFIRMED")],
        [outcome(1, 2, change="SHIPPED", status="SHIPPED")],
        [shipped(1, 2) | {"lines": [{**line, "status": status} for line, status in zip(shipped(1)["lines"], ("SHIPPED", "HELD"), strict=True)]}],
    ],
    ids=["both versions", "not plain", "amended", "amended and confirmed", "come back", "held"],
)
def test_lines_that_may_have_changed_otherwise_are_written_whole(values):
    (statement,) = sql.line_statements(batch.fold(records(values)), LARGEST)
    assert statement.startswith(sql.LINES[0])


def test_shards_write_shipped_lines_whole():
    folded = batch.fold(records([shipped(1)]))
    assert all(isinstance(statement, str) for shard in range(2) for statement in sql.line_statements(folded, LARGEST, shard, 2))
