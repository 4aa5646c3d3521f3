"""Positions: written as they are read, and checked against inputs that may not be the same any more."""

import pytest

from schemas import codec
from streams.runtime.clients import InputTopic, MisconfiguredError
from streams.runtime.positions import check_changelog, check_positions, check_rows_known, cut, positions_of, positions_record

INPUTS = {"orders": InputTopic("id-of-orders", 8), "stock.commands": InputTopic("id-of-commands", 8)}
END = {"stock.commands": 45, "orders": 1_209}
RECORDED = {"orders": (1_209, 8, "id-of-orders"), "stock.commands": (45, 8, "id-of-commands")}
MARKS = {"orders": (0, 2_000), "stock.commands": (0, 45)}


def _check(**changes: object) -> dict[str, int]:
    whole = {"recorded": RECORDED, "inputs": INPUTS, "marks": MARKS, "partitions": 8, **changes}
    return check_positions("stock.3", **whole)  # type: ignore[arg-type]


def test_what_is_recorded_comes_back() -> None:
    assert positions_of(codec.encode("TaskPositions", positions_record(END, INPUTS))) == RECORDED


def test_the_record_is_the_same_whatever_the_order_of_the_inputs() -> None:
    assert positions_record(END, INPUTS) == positions_record(dict(reversed(END.items())), INPUTS)


def test_a_task_that_never_committed_has_none() -> None:
    assert positions_of(None) == {}


def test_a_task_goes_on_where_it_stood() -> None:
    assert _check() == END


def test_a_new_task_reads_from_the_first_offset_there_is() -> None:
    assert _check(recorded={}, marks={"orders": (7, 2_000), "stock.commands": (0, 45)}) == {"orders": 7, "stock.commands": 0}


def test_deleted_markers_behind_the_position_are_no_loss() -> None:
    """The brokers have deleted everything of an input, the last transaction's marker too, which the group had been told of."""
    marks = {**MARKS, "orders": (1_210, 1_210)}
    assert cut(RECORDED, marks) == ["orders"]
    assert _check(marks=marks, reached={"orders": 1_210}) == {**END, "orders": 1_210}
    assert _check(marks=marks, reached={"orders": 2_000}) == {**END, "orders": 1_210}
    with pytest.raises(MisconfiguredError, match=r"orders holds offsets 1210\.\.1210, but the task stands at 1209"):
        _check(marks={**MARKS, "orders": (1_210, 1_210)}, reached={"orders": 1_209})
    with pytest.raises(MisconfiguredError, match="stands at 1209"):
        _check(marks={**MARKS, "orders": (0, 1_208)}, reached={"orders": 2_000})
    assert cut(RECORDED, MARKS) == []


def test_an_input_added_later_is_read_from_its_start() -> None:
    assert _check(recorded={"orders": RECORDED["orders"]}) == {"orders": 1_209, "stock.commands": 0}


def test_an_input_no_longer_read_is_forgotten() -> None:
    assert _check(inputs={"orders": INPUTS["orders"]}) == {"orders": 1_209}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": {**INPUTS, "orders": InputTopic("another", 8)}}, ["orders", "not the one", "id-of-orders", "another", "start over"]),
        ({"recorded": {**RECORDED, "orders": (1_209, 4, "id-of-orders")}}, ["orders", "4 partitions", "partitions were added"]),
        ({"inputs": {**INPUTS, "orders": InputTopic("id-of-orders", 16)}}, ["orders has 16 partitions", "set to 8", "HOLDFAST_PARTITIONS"]),
        ({"partitions": 4}, ["orders has 8 partitions", "set to 4", "HOLDFAST_PARTITIONS"]),
        ({"marks": {**MARKS, "stock.commands": (0, 44)}}, ["stock.commands holds offsets 0..44", "stands at 45"]),
        ({"marks": {**MARKS, "orders": (1_210, 2_000)}}, ["orders holds offsets 1210..2000", "stands at 1209"]),
    ],
    ids=["made again", "recorded with fewer partitions", "partitions added", "worker set otherwise", "end before the position", "start behind the position"],
)
def test_an_input_that_does_not_fit_is_refused_with_reason(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        _check(**changes)
    assert "task stock.3" in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("position", [0, 2_000])
def test_the_first_and_the_next_offset_are_within_the_log(position: int) -> None:
    recorded = {**RECORDED, "orders": (position, 8, "id-of-orders")}
    assert _check(recorded=recorded)["orders"] == position


# -- the changelog itself --------------------------------------------------------------------------------------------------

STATE = {"stock.state": (107, 8, "id-of-state")}


@pytest.mark.parametrize("recorded", [STATE, RECORDED, {}], ids=["recorded", "of an earlier version", "of a new task"])
def test_a_changelog_that_is_the_same_or_was_never_recorded_is_fine(recorded: dict[str, tuple[int, int, str]]) -> None:
    check_changelog("stock.3", recorded, "stock.state", {"stock.state": InputTopic("id-of-state", 8)})
    check_rows_known("stock.3", recorded, "stock.state", [103, 107])


@pytest.mark.parametrize("found", [InputTopic("another", 8), InputTopic("id-of-state", 9)], ids=["made again", "partitions added"])
def test_a_changelog_that_is_another_is_refused(found: InputTopic) -> None:
    with pytest.raises(MisconfiguredError, match=r"stock\.3.*stock\.state.*Restore"):
        check_changelog("stock.3", STATE, "stock.state", {"stock.state": found})


def test_rows_of_a_schema_that_is_not_known_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match=r"stock\.3.*stock\.state.*107.*later version"):
        check_rows_known("stock.3", STATE, "stock.state", [103])
