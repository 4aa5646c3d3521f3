"""The fault suite itself: its schedule and its measures, and a short run of it (`make faults` is the long one)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.stack.addresses import given as given_endpoints
from ingest.requests import Order, OrderCommand, StockCommand, check_order, check_order_command, check_stock_command
from schemas.outcomes import StockCommandKind
from tests.faults import report, schedule
from tests.faults.__main__ import main
from tests.faults.catalogue import catalogue, chosen
from tests.faults.clients import acknowledgement_of, entry_of
from tests.faults.fault import Fault
from tests.faults.journal import Journal
from tests.faults.result import Result, RoundResult, Struck
from tests.faults.run import Plan, run
from tests.faults.silence import Probe, answered, silence, typical, under_way
from tests.faults.site import Site
from tests.faults.traffic import Traffic

SEED = 4


def nothing(_site: Site, _random: Random) -> None:
    """Do no harm."""


FAULTS = {f"k{n}": Fault(f"k{n}", "", nothing, lasts_s=float(3 * n), alone=n == 5) for n in range(6)}

# -- the schedule -----------------------------------------------------------------------------------------------------

lengths = st.floats(30, 4_000)


@given(st.integers(), lengths)
def test_a_seed_repeats_a_schedule(seed: int, seconds: float) -> None:
    assert schedule.rounds(seed, seconds, FAULTS) == schedule.rounds(seed, seconds, dict(reversed(FAULTS.items())))


@given(st.integers(), lengths)
def test_single_faults_have_time_and_strike_once(seed: int, seconds: float) -> None:
    singles = [each.singles for each in schedule.rounds(seed, seconds, FAULTS)]
    assert max(Counter(strike.kind for strikes in singles for strike in strikes).values()) == 1
    for strikes in singles:
        for one, following in pairwise(strikes):
            assert following.at_s >= one.at_s + FAULTS[one.kind].lasts_s + schedule.SPACE_S - 0.2


@given(st.integers(), lengths)
def test_mixed_faults_never_overlap_with_themselves_and_leave_the_lonely_out(seed: int, seconds: float) -> None:
    for each in schedule.rounds(seed, seconds, FAULTS):
        ends: dict[str, float] = {}
        for strike in each.mixed:
            assert strike.at_s >= ends.get(strike.kind, 0.0)
            assert not FAULTS[strike.kind].alone
            assert strike.at_s < each.mixed_s
            ends[strike.kind] = strike.at_s + FAULTS[strike.kind].lasts_s


@given(st.integers())
def test_half_an_hour_strikes_every_kind_alone_and_three_hundred_times_in_all(seed: int) -> None:
    rounds = schedule.rounds(seed, 1_800, FAULTS)
    assert {strike.kind for each in rounds for strike in each.singles} == set(FAULTS)
    assert sum(len(each.singles) + len(each.mixed) for each in rounds) >= 300
    assert [each.number for each in rounds] == list(range(1, len(rounds) + 1))
    assert len({each.seed for each in rounds}) == len(rounds)


def test_a_short_run_is_one_round_with_both_sorts() -> None:
    (only,) = schedule.rounds(SEED, 60, FAULTS)
    assert only.singles
    assert only.mixed


def test_mixed_faults_overlap() -> None:
    rounds = schedule.rounds(SEED, 600, FAULTS)
    pairs = [(a, b) for each in rounds for a, b in pairwise(each.mixed)]
    assert any(a.at_s + FAULTS[a.kind].lasts_s > b.at_s for a, b in pairs)


def test_only_lonely_faults_are_struck_one_by_one() -> None:
    lonely = {"k5": FAULTS["k5"]}
    assert [each.mixed for each in schedule.rounds(SEED, 120, lonely)] == [()]


def test_the_catalogue_names_each_kind_once_and_refuses_unknown_words() -> None:
    faults = catalogue()
    assert all(name == fault.name and fault.what and fault.lasts_s >= 0 for name, fault in faults.items())
    assert set(chosen(faults, ["worker"])) == {name for name in faults if "worker" in name}
    assert chosen(faults, []) == faults
    with pytest.raises(ValueError, match="no kind of fault has 'tornado'"):
        chosen(faults, ["worker", "tornado"])


# -- the measures -----------------------------------------------------------------------------------------------------


def probe(partition: int, sent: float, seen: float | None, place: str = "log") -> Probe:
    return Probe(int(sent * 10), partition, sent, seen={} if seen is None else {place: seen})


@pytest.mark.parametrize(
    ("probes", "longest"),
    [
        ([], 0.0),
        ([probe(0, 9.0, 9.5)], 0.0),  # answered before it struck
        ([probe(0, 9.0, 12.0)], 2.0),  # on its way at the strike: counts from there
        ([probe(0, 11.0, 14.0), probe(1, 11.0, 18.5)], 7.5),  # the slowest partition
        ([probe(0, 11.0, None)], 19.0),  # never answered: all the time that is this fault's
        ([probe(0, 29.0, 99.0)], 1.0),  # the next fault's doing
        ([probe(0, 31.0, 99.0)], 0.0),
    ],
)
def test_silence_is_the_longest_wait_of_any_probe(probes: list[Probe], longest: float) -> None:
    assert silence(probes, "log", since=10.0, until=30.0) == longest


def test_silence_is_counted_place_by_place() -> None:
    one = Probe(1, 0, 10.0, seen={"log": 11.0, "redis": 15.0})
    assert [silence([one], place, 10.0, 20.0) for place in ("log", "redis", "mysql")] == [1.0, 5.0, 10.0]


def test_the_typical_wait_is_the_median_of_what_was_answered() -> None:
    probes = [probe(0, 1.0, 2.0), probe(0, 1.0, 4.0), probe(0, 1.0, 90.0), probe(0, 1.0, None)]
    assert typical(probes, "log") == 3.0
    assert typical([], "log") == 0.0


def test_answered_means_every_partition_a_fresh_probe_everywhere() -> None:
    everywhere = {"log": 12.0, "mysql": 12.0}
    probes = [Probe(n, n, 11.0, seen=dict(everywhere)) for n in range(2)]
    assert answered(probes, 2, ["log", "mysql"], since=10.0)
    assert not answered(probes, 3, ["log"], since=10.0)
    assert not answered(probes, 2, ["log"], since=11.5)
    probes[0].expired = True
    assert not answered(probes, 2, ["log"], since=10.0), "an order that expired has only its deadline's answer"
    probes[0].expired = False
    del probes[1].seen["mysql"]
    assert not answered(probes, 2, ["log", "mysql"], since=10.0)


def test_orders_under_way_are_those_a_fault_could_harm() -> None:
    sent = {1: 1.0, 2: 5.0, 3: 12.0, 4: 21.0, 5: 2.0}
    decided = {1: 2.0, 2: 11.0, 3: 13.0, 4: 22.0}
    assert under_way(sent, decided, since=10.0, until=20.0) == 3  # 2, 3, and 5, which nobody answered


# -- the report -------------------------------------------------------------------------------------------------------


def a_result(*struck: Struck, **fields: object) -> Result:
    return Result(SEED, 60.0, [replace(RoundResult(1, list(struck), orders=10, lines=20), **fields)])


STRUCK = Struck("k1", 1.0, 2.0, 9.0, single=True, in_flight=7, silence={"log": 3.0, "mysql": 4.0, "redis": 5.0}, silence_since_strike=4.5)


def test_a_clean_run_says_so_with_its_numbers() -> None:
    said = report.document(a_result(STRUCK, replace(STRUCK, single=False, silence={})))
    assert said["ok"]
    assert said["faults"]["k1"] == {
        **{"count": 2, "single": 1, "max_silence_s": 3.0, "max_silence_since_strike_s": 4.5, "max_silence_stores_s": 5.0, "in_flight": 14},
    }
    assert "| k1 | what | 2 | 3.0 s | the strike | 5.0 s | 14 |" in report.table(said, {"k1": Fault("k1", "what", nothing)})
    assert "| k1 | what | 2 | 3.0 s | its end | 5.0 s | 14 |" in report.table(said, {"k1": Fault("k1", "what", nothing, withholds=True)})


@pytest.mark.parametrize(
    "result",
    [
        a_result(STRUCK, violations=[{"promise": "I1", "kind": "oversold"}]),
        a_result(STRUCK, problems=["k1 did not meet the load: nothing was in flight"]),
        a_result(replace(STRUCK, silence={"log": 15.1})),
        replace(a_result(STRUCK), interrupted=True),
        Result(SEED, 60.0, []),
    ],
    ids=["a violation", "a problem", "too long a silence", "broken off", "nothing was run"],
)
def test_anything_wrong_is_not_clean(result: Result) -> None:
    assert not report.document(result)["ok"]


def test_what_could_not_be_struck_is_not_counted() -> None:
    said = report.document(a_result(STRUCK, Struck("k2", 1.0, error="not struck: no such server")))
    assert said["strikes"] == 1
    assert said["not_struck"] == {"k2": 1}
    assert "k2" not in said["faults"]


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--minutes", "x"], ["--only", "tornado"], ["--seed", "x"]])
def test_wrong_use_is_told(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


# -- the load ---------------------------------------------------------------------------------------------------------


def sent_by(seed: int, batches: int = 400) -> list[Order | OrderCommand | StockCommand]:
    traffic = Traffic(seed, 6.0, first_id=1_000)
    return [thing for n in range(batches) for thing in traffic.batch(1_700_000_000_000 + 100 * n)]


def test_a_seed_repeats_the_load() -> None:
    assert sent_by(1) == sent_by(1)
    assert sent_by(1) != sent_by(2)


def test_the_load_is_valid_and_has_everything_in_it() -> None:
    things = sent_by(SEED)
    for thing in things:
        if isinstance(thing, Order):
            check_order(thing)
        elif isinstance(thing, OrderCommand):
            check_order_command(thing)
        else:
            check_stock_command(thing)
    orders = [thing for thing in things if isinstance(thing, Order)]
    assert {len(order.lines) for order in orders} == {1, 2, 3, 4}
    assert len({order.order_id for order in orders}) < len(orders), "nothing was sent twice"
    kinds = {thing.kind.name for thing in things if not isinstance(thing, Order)}
    assert kinds == {"CANCEL", "SHIP", "RETURN", "RESTOCK", "COUNT", "WRITE_OFF", "FOUND", "FREEZE", "UNFREEZE"}


def test_the_journal_has_each_send_on_disk_before_its_ack(tmp_path: Path) -> None:
    order, command = next(t for t in sent_by(1) if isinstance(t, Order)), StockCommand("c1", StockCommandKind.RESTOCK, "p1", 5)
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        journal.send([entry_of(order), entry_of(command)])
        on_disk = path.read_bytes()
        journal.ack(acknowledgement_of(order))
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert on_disk.count(b"\n") == 2
    assert lines[0]["send"]["lines"] == [[n, line.product_id, line.quantity] for n, line in enumerate(order.lines, 1)]
    assert lines[1]["send"] == {"command_id": "c1", "kind": "RESTOCK", "product_id": "p1", "quantity": 5}
    assert lines[2]["ack"] == {"order_id": str(order.order_id), "lines": [n for n, _ in enumerate(order.lines, 1)]}


def test_a_journal_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(b'{"t": 1, "se')
    with Journal(path) as journal:
        journal.ack({"command_id": "c1"})
    assert json.loads(path.read_bytes().splitlines()[-1])["ack"] == {"command_id": "c1"}


# -- the short run ----------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.live
def test_a_minute_of_faults_under_load_leaves_every_promise_kept(tmp_path: Path) -> None:
    if given_endpoints():
        pytest.skip("servers of the environment are not ours to harm")
    said: list[str] = []
    result = run(Plan(SEED, 60.0, rate=80.0, folder=tmp_path, order_timeout_s=8), said.append)
    assert result.ok, f"seed {SEED}: {report.document(result)}\n" + "\n".join(said)
    assert len(result.struck) >= 8
    assert all(struck.in_flight for struck in result.struck)
    assert sum(r.orders for r in result.rounds) > 1_000
