"""The same batches give the same bytes, whichever process takes them; the same records give the same decisions, however they are cut."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import ORDER_OUTCOMES, PAYMENT_RESULTS, STOCK_DECISIONS
from streams.runtime.records import Place, Record, StageKind, Write
from tests.flow.traffic import Traffic
from tests.support import replay
from tests.support.flow import SOUND, START, Flow
from tests.support.stages import changelog, dead, rows_of, said

ROOT = Path(__file__).parents[2]
LATER = START + 30_000
"""When everything is decided where only the cuts differ: no deadline has passed by then."""
ANSWERS = {STOCK_DECISIONS, ORDER_OUTCOMES, PAYMENT_RESULTS}


def busy(flow: Flow, seed: int, acts: int) -> None:
    """Let traffic and tasks take turns."""
    traffic = Traffic(flow, seed)
    traffic.open_shop()
    for _ in range(acts):
        traffic.act()
        for _ in range(flow.rng.randrange(5)):
            flow.step()
        if flow.rng.random() < 0.1 and traffic.pending:
            traffic.pending.pop()  # a line that never comes: its order expires
    traffic.finish()
    flow.settle()


# -- the same batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_batches_give_the_same_bytes_in_every_process(seed: int, tmp_path: Path) -> None:
    flow = replay.new_flow(partitions=3, seed=seed)
    flow.fates, flow.weights = SOUND, (10, 1, 1, 1)
    tape, written = replay.record(flow)
    busy(flow, seed, acts=300)
    assert {write.topic for writes in written for write in writes} >= ANSWERS
    assert sum(not step.records for step in tape.steps) > 3, "no deadline passed"
    file = tmp_path / "tape"
    file.write_bytes(pickle.dumps(tape))
    outputs = [in_a_process_with(hash_seed, file) for hash_seed in ("0", "1", "4242")]
    assert outputs == [replay.as_bytes(written)] * 3


def in_a_process_with(hash_seed: str, tape: Path) -> bytes:
    """Return what another process writes when it takes the tape's batches. The hash seed orders the sets of that process."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.support.replay", str(tape)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True, timeout=120).stdout


# -- other cuts ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[11, 12, 13])
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def inputs(seed: int) -> dict[int, list[Record]]:
    """What each task of a shop was given, by its number; timers left out."""
    flow = replay.new_flow(partitions=2, seed=seed)
    tape, _ = replay.record(flow)
    busy(flow, seed, acts=500)
    found: dict[int, list[Record]] = {number: [] for number in range(len(flow.tasks))}
    for step in tape.steps:
        found[step.task] += [Record(*fields) for fields in step.records]
    return found


def cuts(records: Sequence[Record], chance: random.Random) -> Iterator[list[list[Record]]]:
    """Yield the records cut into batches: one, one each, and at random."""
    yield [list(records)]
    yield [[record] for record in records]
    for longest in (3, 20, 100):
        rest, batches = list(records), []
        while rest:
            size = chance.randint(1, longest)
            batches.append(rest[:size])
            rest = rest[size:]
        yield batches


def decide(kind: StageKind, place: Place, batches: Sequence[Sequence[Record]]) -> tuple[Any, list[Write]]:
    """Let a new stage decide the batches; return it and what it wrote."""
    stage, writes = kind.new(place), []
    for batch in batches:
        writes += stage.decide(batch, LATER)
        stage.committed()
    return stage, writes


def without(items: Sequence[dict[str, Any]], *fields: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if name not in fields} for item in items]


def decisions(kind: StageKind, writes: Sequence[Write]) -> dict[str, Any]:
    """Fold what a stage wrote: what must not hang on the cuts."""
    if kind.name == "stock":
        levels = {level["product_id"]: level for level in said(writes, "StockLevel")}
        return {"answers": by_place(said(writes, "StockDecisions")), "movements": by_place(said(writes, "StockMovements")), "levels": levels}
    if kind.name == "payments":
        return {"results": by_place(said(writes, "PaymentResults"))}
    outcomes = said(writes, "OrderOutcome")
    return {
        # How often an order's change is told, and so its version, does hang on the cuts: several in one batch are told once.
        "outcomes": {outcome["order_id"]: without([outcome], "version") for outcome in outcomes},
        "decided": without([outcome for outcome in outcomes if outcome["change"] == "DECIDED"], "version"),
        "moves": by_place(said(writes, "StockCommands")),
        "requests": by_place(said(writes, "PaymentRequests")),
        "refused": said(writes, "OrderCommandRefused"),
    }


def by_place(items: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return the items in order by the partition they went to."""
    found: dict[int, list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(item["to"], []).append(item)
    return found


@pytest.mark.parametrize("number", range(6))
def test_other_cuts_give_the_same_decisions(inputs: dict[int, list[Record]], number: int, seed: int) -> None:
    task = replay.new_flow(partitions=2).tasks[number]
    records = inputs[number]
    assert len(records) > 5, f"{task.kind.name} had nothing to cut"
    folds = []
    for batches in cuts(records, random.Random(seed)):
        stage, writes = decide(task.kind, task.place, batches)
        folds.append((decisions(task.kind, writes), dead(writes), set(changelog(writes, task.kind.changelog)), set(rows_of(stage))))
    for fold in folds[1:]:
        assert fold == folds[0]
    assert any(folds[0][0].values())
