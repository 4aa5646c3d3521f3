"""`results.json`, the table, and the plan of parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.contenders import CONTENDERS, MOST_COLUMNS, MOST_SINGLE
from bench.others import command
from bench.plan import OTHERS, When, chosen, orders_of, parts, schedule, seconds_of
from bench.stats import DECIDE, DECIDE_ALONE, FIGURES, MEMORY, MILLION, ROCKSDB, SINGLE, SKEWED
from bench.topics import Tally

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_gb": 16.0, "system": "Linux 6", "python": "3.11", "java": "17"}
OPTIONS = {"seconds": 5.0, "partitions": 8, "quick": False, "path_partitions": 4, "rounds": 2, "data": "sample.csv"}


def measured(part: str, number: int, per_s: float, **more: object) -> dict[str, object]:
    numbers = {"per_s": per_s, "warm_per_s": per_s, "cpu_s_per_100k": 1.0, "servers_cpu_s_per_100k": 0.5, "peak_mb": 100.0, "orders": 500_000}
    return {"part": part, "round": number, **numbers, "right": True, "verdict": "right", **more}


ROUNDS = [
    measured("holdfast_columns_1.uniform", 1, 90_000),
    measured("holdfast_columns_1.uniform", 2, 110_000),
    measured("bare_loop_1.uniform", 1, 60_000, right=False, verdict="WRONG: 1 x second outcome"),
    {"part": "quixstreams.uniform", "round": 1, "error": "BuildError: no | network\nat all"},
]


def test_results_have_the_agreed_form() -> None:
    found = json.loads(json.dumps(report.document(MACHINE, OPTIONS, ROUNDS)))
    assert list(found) == ["machine", "options", "ratios", "figures", "rounds"]
    assert found["rounds"] == ROUNDS
    assert found["figures"]["decide_one_process_per_s"] == 100_000


def test_the_table_names_what_failed_and_what_was_wrong() -> None:
    text = report.table(report.document(MACHINE, OPTIONS, ROUNDS), parts())
    assert "| Holdfast, columns of 100, 1 process | 500,000 | 100,000 | 100,000 | 20% | 1 + 0.5 | 100 | right |" in text
    assert "| - | - | - | - | - | - | WRONG: 1 x second outcome |" in text
    assert "BuildError: no / network at all" in text
    assert "Kafka Streams" not in text  # was not tried
    assert "2 cores of a CPU" in text


def test_the_table_has_the_whole_path_and_the_latency_curve() -> None:
    single = {"part": "whole_path.single_lines", "round": 1, "lines": 1_000, "accepted_per_s": 30_000, "decided_per_s": 14_000, "per_s": 12_000, "drain_s": 9.5}
    curve = [{"share": 10, "rate": 1_200, "p50": 20.1, "p99": 40.2, "p99_9": 60.3, "max": 70.0}]
    rounds = [
        {**single, "cpu_us_per_line": {"kafka": 40.5, "all": 150.0}},
        {"part": "whole_path.real_file", "round": 1, "lines": 5_000, "per_s": 25_000, "cpu_us_per_line": {"all": 70.1}},
        {"part": "latency.curve", "round": 1, "p99_ms": 40.2, "curve": curve},
    ]
    text = report.table(report.document(MACHINE, OPTIONS, rounds), parts())
    assert "| whole_path.single_lines | 1,000 | 30,000 | 14,000 | 12,000 | 9.5 |" in text
    assert "| whole_path.real_file | 5,000 | - | - | 25,000 | - |" in text
    assert "| kafka | - | 40.5 |" in text
    assert "| all | 70.1 | 150.0 |" in text
    assert "| 10 % | 1,200 | 20.1 | 40.2 | 60.3 |" in text


def test_the_table_goes_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.put_table(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n{report.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no lines"):
        report.put_table(page, "new")


def test_the_page_has_its_marks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert page.index(report.BEGIN) < page.index(report.END)


def test_results_are_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert report.read(path) == {}
    report.write(path, {"rounds": ROUNDS})
    assert report.read(path) == {"rounds": ROUNDS}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_every_part_that_a_ratio_or_figure_is_made_of_exists() -> None:
    names = {part.name for part in parts()}
    assert {*MEMORY, *ROCKSDB, *SINGLE, *SKEWED, *(part for part, _ in FIGURES.values())} <= names
    assert len(names) == len(parts())
    assert set(OTHERS) <= names


def test_rounds_alternate() -> None:
    two = chosen(["bare_loop_1", "redis_lua_1.uni*"])
    assert [(number, part.name) for number, part in schedule(two, 2)] == [
        *((1, "bare_loop_1.uniform"), (1, "redis_lua_1.uniform")),
        *((2, "bare_loop_1.uniform"), (2, "redis_lua_1.uniform")),
    ]


def test_a_programs_name_chooses_all_its_mixes_and_an_unknown_name_is_told() -> None:
    assert [part.name.partition(".")[2] for part in chosen(["holdfast_columns_1"])] == list(CONTENDERS["holdfast_columns_1"].mixes)
    assert chosen([]) == parts()
    with pytest.raises(ValueError, match="no part is called 'nothing'"):
        chosen(["bare_loop_1", "nothing"])


def test_every_program_gets_the_orders_it_decides_in_about_that_time() -> None:
    by_name = {part.name: part for part in parts()}
    assert orders_of(by_name["bare_loop_2.uniform"], 5.0) == 500_000
    assert orders_of(by_name["faust_guide.uniform"], 5.0) == 4_000
    assert orders_of(by_name["faust_guide.uniform"], 0.1) == 2_000
    assert orders_of(by_name["holdfast_columns_1.uniform"], 60.0) == MOST_COLUMNS
    assert orders_of(by_name["holdfast_single_1.uniform"], 60.0) == MOST_SINGLE
    assert orders_of(by_name["holdfast_columns_1.million"], 4.0) < orders_of(by_name["holdfast_columns_1.uniform"], 4.0)
    assert orders_of(by_name["recovery"], 5.0) == 0


def test_ratios_are_made_of_what_runs_in_every_round_and_agreed_figures_of_what_runs_before_the_rest() -> None:
    planned = schedule(parts(), 3)
    rounds = {part.name: [number for number, other in planned if other is part] for _, part in planned}
    assert {tuple(rounds[name]) for name in (*MEMORY, *ROCKSDB, *SINGLE, *SKEWED, DECIDE, DECIDE_ALONE, MILLION, "row_locks.uniform", "recovery")} == {
        (1, 2, 3)
    }
    assert all(rounds[part.name] == [1] for part in parts() if part.when is not When.EVERY_ROUND)
    last = max(at for at, (_, part) in enumerate(planned) if part.when is not When.IN_THE_END)
    assert all(part.when is When.IN_THE_END for _, part in planned[last + 1 :])
    assert [number for number, _ in planned[: last + 1]] == sorted(number for number, _ in planned[: last + 1])
    agreed = {part for name, (part, _) in FIGURES.items() if not name.startswith("gateway")}
    assert agreed <= {part.name for _, part in planned[: last + 1]}


def test_every_part_says_how_long_it_takes_and_as_long_as_it_took_before() -> None:
    for part in parts():
        assert 10 < seconds_of(part, 5.0, []) < 200, part.name
        earlier = [{"part": part.name, "round": 1, "took": 44.5}, {"part": part.name, "round": 2, "took": 9.0, "error": "killed"}]
        assert seconds_of(part, 5.0, earlier) == 44.5


def test_the_latency_at_half_of_the_ceiling_needs_the_ceiling() -> None:
    data = Path("sample.csv")
    with pytest.raises(ValueError, match=r"needs the rate of whole_path\.single_lines"):
        command("latency.half_ceiling", OPTIONS, data, [])
    rounds = [{"part": "whole_path.single_lines", "round": 1, "per_s": 9_000}]
    made = command("latency.half_ceiling", OPTIONS, data, rounds)
    assert made[made.index("--rate") + 1] == "4500"
    curve = command("latency.curve", OPTIONS, data, rounds)
    assert curve[curve.index("--ceiling") + 1] == "9000"


def test_a_tally_counts_the_orders_before_committed_offsets() -> None:
    tally = Tally(2)
    for partition, offset, orders in ((0, 0, 100), (0, 1, 100), (0, 3, 40), (1, 5, 7)):
        tally.add(partition, offset, orders)
    assert [tally.before(offsets) for offsets in ([0, 0], [1, 0], [3, 5], [4, 6], [9, 9])] == [0, 100, 200, 247, 247]
