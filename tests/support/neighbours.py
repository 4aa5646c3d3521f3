"""Who else is at work in a shop while something is tried out: a warehouse, a load of a file, receivers of webhooks, a customer who follows an order."""

from __future__ import annotations

import csv
import lzma
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner

from generations import read
from holdfast.cli import main
from holdfast.log_whole import partitions_of, read_whole
from schemas import codec
from schemas.topics import ORDER_OUTCOMES
from tests.support.gateway import GatewayProcess, order_body
from tests.support.pipeline import Pipeline, until
from tests.support.sse import following, receiving

SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"


class Nobody:
    """Nobody else is there while the partitions change."""

    orders = 0

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @contextmanager
    def at_work(self, gateway: GatewayProcess) -> Iterator[None]:
        yield

    def finish(self) -> None:
        """Once the change is over."""


class Everybody(Nobody):
    """A warehouse that ships, a file that is loaded, receivers of webhooks, a customer who follows an order."""

    INVOICES = 400
    DELAY_S = 8

    @contextmanager
    def at_work(self, gateway: GatewayProcess) -> Iterator[None]:
        self._cut_file()
        with receiving() as self.receiver:
            self._command("webhooks", "add", f"{self.receiver.url}/all", "--json")
            self.pipeline.start("webhooks", "holdfast", "webhooks", "run")
            self.pipeline.start("ship", "holdfast", "ship", "--follow", "--delay", str(self.DELAY_S))
            self.load = self.pipeline.start("load", "holdfast", "load", str(self.file), "--rate", "100")
            follower = threading.Thread(target=self._follow, args=(gateway,))
            follower.start()
            yield
            follower.join(120)
            self._check()  # while the receiver still listens

    def _command(self, *command: str) -> None:
        done = CliRunner(env=self.pipeline.environment()).invoke(main, list(command))
        assert done.exit_code == 0, done.output

    def _cut_file(self) -> None:
        """The first invoices of a real shop, each whole."""
        self.file = self.pipeline.folder / "shop.csv"
        with lzma.open(SAMPLE, "rt", newline="") as rows, self.file.open("w", newline="") as out:
            reader, writer, seen = csv.reader(rows), csv.writer(out), set[str]()
            writer.writerow(next(reader))
            for row in reader:
                seen.add(row[0])
                if len(seen) > self.INVOICES:
                    break
                writer.writerow(row)

    def _follow(self, gateway: GatewayProcess) -> None:
        """Follow an order from before the change until it is shipped, which is after it."""
        self.heard: list[str] = []
        while "shipped" not in self.heard:  # one that came before its product's stock is rejected
            self.heard = self._followed(gateway, gateway.post("/v1/orders", order_body(("p1", 1))).json()["order_id"])

    def _followed(self, gateway: GatewayProcess, order_id: str) -> list[str]:
        heard: list[str] = []
        last: str | None = None
        while not {"rejected", "shipped"} & set(heard):
            with suppress(httpx.HTTPError), following(gateway, order_id, last) as stream:
                for event in stream:
                    heard.append(event.name)
                    last = event.id
                    if event.name in ("rejected", "shipped"):
                        break
        return heard

    def finish(self) -> None:
        """The load stopped for the change, if it was not through by then; run again it goes on."""
        self.load.popen.wait(180)
        self.pipeline.run("holdfast", "load", str(self.file))

    def _check(self) -> None:
        until(lambda: "CONFIRMED" not in self._decided().values(), 90, "everything is shipped")
        assert self.heard[-1] == "shipped"
        self.orders = len(self._decided())
        while untold := self._decided().keys() - {int(each.state[0]) for each in self.receiver.of("/all")}:
            self._hear_more(f"{len(untold)} of {self.orders} orders are untold, such as {min(untold)}")
        notices = {(each.state, each.notice_id) for each in self.receiver.of("/all")}
        assert len(notices) == len({state for state, _ in notices}), "a state told by two notices"

    def _hear_more(self, what: str) -> None:
        so_far = len(self.receiver.of("/all"))
        until(lambda: len(self.receiver.of("/all")) > so_far, 30, what)

    def _decided(self) -> dict[int, str]:
        prefixes = read(self.pipeline.kafka, self.pipeline.prefix).prefixes
        return {outcome["order_id"]: outcome["status"] for prefix in prefixes for outcome in told(self.pipeline, prefix)}


def told(pipeline: Pipeline, prefix: str) -> list[dict[str, Any]]:
    """The outcomes of one generation, each order's in their order."""
    name = ORDER_OUTCOMES.named(prefix)
    places = [(name, number) for number in range(partitions_of(pipeline.kafka, [name])[name])]
    records = [codec.decode(message.value()) for message in read_whole(pipeline.kafka, places)]
    return [record.value for record in records if record.name == "OrderOutcome"]
