"""Rates, medians, ratios and figures of raw rounds."""

from __future__ import annotations

import pytest

from bench.stats import DECIDE, DECIDE_ALONE, MEMORY, Sample, best_of, figures, middle_of, rates, ratio, ratios, spread, values


def sample(at: float, done: int, cpu: float = 0.0) -> Sample:
    return Sample(at, done, cpu, 2 * cpu)


def test_a_rate_counts_what_follows_the_first_commit() -> None:
    found = rates([sample(0, 0), sample(10, 0), sample(11, 400), sample(12, 700, 1.5), sample(13, 1_400, 2.0), sample(20, 1_400, 9.0)], 1_400)
    assert found.per_s == 1_000 / 2
    assert found.seconds == 2
    assert found.cpu_s_per_100k == pytest.approx(200.0)
    assert found.servers_cpu_s_per_100k == pytest.approx(400.0)


def test_the_warm_half_begins_when_half_of_the_orders_are_done() -> None:
    found = rates([sample(0, 0), sample(1, 100), sample(5, 500), sample(6, 1_000)], 1_000)
    assert found.warm_per_s == 500
    assert found.per_s == 180


def test_the_warm_half_of_a_run_whose_second_half_is_one_commit_begins_before_it() -> None:
    assert rates([sample(0, 0), sample(1, 100), sample(3, 1_000)], 1_000).warm_per_s == 450


@pytest.mark.parametrize("samples", [[], [sample(0, 0)], [sample(0, 0), sample(1, 0)], [sample(0, 0), sample(1, 50), sample(2, 50)]])
def test_a_run_of_one_commit_has_no_rate(samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="take more orders"):
        rates(samples, 50)


def one(part: str, per_s: float, **more: object) -> dict[str, object]:
    return {"part": part, "round": 1, "per_s": per_s, "warm_per_s": 2 * per_s, "right": True, **more}


def test_a_run_that_failed_or_was_wrong_has_no_rate() -> None:
    rounds = [one("a", 10), one("a", 30), one("a", 1_000, right=False), one("a", 2_000, error="killed"), one("b", 7), {"part": "a", "round": 9}]
    assert values(rounds, "a", "per_s") == [10, 30]
    assert middle_of(rounds, "a", "per_s") == 20
    assert middle_of(rounds, "c", "per_s") is None
    assert best_of(rounds, ["a", "b", "c"], "per_s") == 20
    assert best_of(rounds, ["c"], "per_s") is None


def test_spread_is_a_share_of_the_median() -> None:
    assert spread([90, 100, 120]) == pytest.approx(0.3)
    assert spread([5]) == 0
    assert spread([0, 0]) == 0


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(3.0, 2.0, 1.5), (1.0, 3.0, 0.333), (None, 2.0, None), (2.0, None, None), (2.0, 0.0, None)])
def test_ratio(ours: float | None, theirs: float | None, expected: float | None) -> None:
    assert ratio(ours, theirs) == expected


def test_ratios_take_the_peer_at_its_best_and_the_worst_mix_of_ours() -> None:
    rounds = [
        one(DECIDE, 300),
        one(DECIDE_ALONE, 200),
        *(one(part, rate) for part, rate in zip(MEMORY, (80, 100), strict=True)),
        one("kafka_streams_rocksdb_1.uniform", 60),
        one("holdfast_single_1.uniform", 50),
        one("holdfast_single_2.uniform", 90),
        one("holdfast_columns_1.hot10", 190),
        one("holdfast_columns_1.one", 150),
        one("holdfast_columns_1.million", 180),
        one("row_locks.uniform", 2),
        one("write_and_commit.uniform", 4),
    ]
    found = ratios(rounds)
    assert found["decide_vs_kafka_streams_memory_warm"] == 1.5  # 300 / (2 x 100)
    assert found["decide_vs_kafka_streams_rocksdb"] == 5
    assert found["single_record_vs_kafka_streams_memory_warm"] == 0.45
    assert found["skew_worst_vs_uniform"] == 0.75
    assert (found["vs_row_locks"], found["vs_write_and_commit"]) == (100, 50)
    assert found["vs_row_locks_batched"] is None
    assert figures(rounds)["decide_one_process_per_s"] == 200
    assert figures(rounds)["rate_1m_products_vs_1k"] == 0.9


def test_one_skewed_mix_alone_is_no_worst() -> None:
    assert ratios([one(DECIDE_ALONE, 200), one("holdfast_columns_1.hot10", 190)])["skew_worst_vs_uniform"] is None


NAMES_OF_RATIOS = {
    *("decide_vs_kafka_streams_memory_warm", "decide_vs_kafka_streams_rocksdb", "single_record_vs_kafka_streams_memory_warm"),
    *("skew_worst_vs_uniform", "vs_row_locks", "vs_write_and_commit"),
}
NAMES_OF_FIGURES = {
    *("decide_one_process_per_s", "whole_path_lines_per_s", "whole_path_orders_per_s", "p99_ms_half_ceiling", "p99_ms_100_per_s"),
    *("rate_1m_products_vs_1k", "recovery_rows_per_s"),
}


def test_every_agreed_ratio_and_figure_is_named_even_when_nothing_was_measured() -> None:
    assert set(ratios([])) >= NAMES_OF_RATIOS
    assert set(figures([])) >= NAMES_OF_FIGURES
    assert {*ratios([]).values(), *figures([]).values()} == {None}
