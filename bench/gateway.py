"""The gateway over HTTP, with API keys and throttling as users have them, on servers of its own: `python -m bench.gateway`.

- single: `POST /v1/orders`, one after the other on kept connections, in turns with a bare handler of the same HTTP server that does nothing; the
  same bytes to both. keyed: the same with a new Idempotency-Key each.
- batch: `POST /v1/orders:batch` with 100 orders each; orders per second that the brokers acknowledged.
- steady, steady_keyed: `POST /v1/orders` by a schedule of so many per second; an order's time runs from when it was due.
- reads: `GET /v1/products/{id}` of products that are in Redis, one gateway process.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import click

from bench import report
from bench.front import LEAD_S, Front, front, run
from bench.gateway_report import figures, table
from bench.http_load import COUNTER, Job, Tally
from bench.latency import percentiles
from bench.processes import machine
from bench.servers import servers

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).with_name("gateway.json")
SCRATCH: Final = ROOT / ".holdfast" / "bench-gateway.json"
"""Of what is no measurement."""
BATCH: Final = 100
VARIANTS: Final = 64
ACCEPTED: Final = '"status":"accepted"'
WARM_UP: Final = ("bare", "single", "keyed", "batch", "reads")
MOST_REQUESTS: Final = 10**8
"""Of one client in one part: the numbers of its Idempotency-Keys are its own."""
_numbers = count(1)


@dataclass(frozen=True)
class Wish:
    """What was asked for. Times in s."""

    rounds: int
    seconds: float
    warm_s: float
    connections: int
    batch_connections: int
    clients: int
    rate: int
    warm_up_s: float = 10.0
    """Before the first round, of each of WARM_UP: a broker that has just started has yet to compile its code."""


# -- requests ----------------------------------------------------------------------------------------------------------------


def request(method: str, path: str, key: str, body: str = "", *headers: str) -> str:
    """Return a request's bytes as text."""
    more = [f"Content-Length: {len(body)}", *headers] if method == "POST" else headers
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", *more, "", body])


def order(product: str, user: str) -> str:
    """Return the body of an order of one line."""
    line = {"product_id": product, "quantity": 1, "unit_price": 1275}
    return json.dumps({"user": user, "currency": "GBP", "lines": [line], "payment": {"token": "tok_ok"}}, separators=(",", ":"))


def orders(at: Front, *headers: str) -> list[str]:
    """Return requests of the customer's orders."""
    json_body = "Content-Type: application/json"
    return [request("POST", "/v1/orders", at.customer, order(product, "u1"), json_body, *headers) for product in at.products[:VARIANTS]]


def keyed_orders(at: Front) -> list[str]:
    return orders(at, f"Idempotency-Key: b-{COUNTER.decode()}")


def batches(at: Front) -> list[str]:
    """Return batches of a shop's backend, whose key is of no user: each order is another customer's."""
    products = [at.products[n * BATCH % len(at.products) :][:BATCH] for n in range(10)]
    bodies = ["".join(order(product, f"c{n}") + "\n" for n, product in enumerate(some)) for some in products]
    return [request("POST", "/v1/orders:batch", at.shop, body, "Content-Type: application/x-ndjson") for body in bodies]


def reads(at: Front) -> list[str]:
    return [request("GET", f"/v1/products/{product}", at.customer) for product in at.products]


# -- measuring ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """One kind of load. `rate` per second, 0: as fast as answers come. `good`: the status of every right answer; `word`: what its body says per order."""

    requests: Sequence[str]
    good: str
    connections: int
    rate: float = 0.0
    keyed: bool = False
    word: str = ""


def jobs(shape: Shape, port: int, wish: Wish, begin: float) -> list[Job]:
    """Return what each client does. Of a schedule, the clients' requests are due in turns."""
    connections, rate = max(1, shape.connections // wish.clients), shape.rate / wish.clients
    later = [n / shape.rate if shape.rate else 0.0 for n in range(wish.clients)]
    return [
        Job(
            *(port, list(shape.requests[n :: wish.clients]), connections, begin + late, wish.warm_s - late, wish.seconds, rate),
            counts=next(_numbers) * MOST_REQUESTS if shape.keyed else 0,
            word=shape.word,
        )
        for n, late in enumerate(later)
    ]


def measure(at: Front, shape: Shape, port: int, wish: Wish) -> dict[str, Any]:
    """Load one server for a while; return rates, times in ms, and how many cores each process took. `right`: every answer was good."""
    begin = time.monotonic() + LEAD_S
    with ThreadPoolExecutor(1) as threads:
        cores = threads.submit(cores_between, at, begin + wish.warm_s, wish.seconds)
        tallies = run(jobs(shape, port, wish, begin))
        return summed(tallies, shape, wish.seconds) | {"cores": cores.result()}


def cores_between(at: Front, begin: float, seconds: float) -> dict[str, float]:
    """Return how many cores each kind of process takes in a time to come."""
    time.sleep(max(0.0, begin - time.monotonic()))
    before = at.cpu()
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    return {name: round((cpu - before[name]) / seconds, 2) for name, cpu in at.cpu().items()}


def summed(tallies: Sequence[Tally], shape: Shape, seconds: float) -> dict[str, Any]:
    """Return what all clients saw together."""
    statuses: Counter[str] = Counter()
    for tally in tallies:
        statuses.update(tally.statuses)
    times, late = [us / 1e6 for tally in tallies for us in tally.us], [us / 1e6 for tally in tallies for us in tally.late_us]
    words = sum(tally.words for tally in tallies)
    orders_right = not shape.word or words == BATCH * statuses[shape.good]
    return {
        "per_s": round(statuses[shape.good] / seconds, 1),
        "orders_per_s": round(words / seconds, 1) if shape.word else None,
        "ms": percentiles(times) if times else {},
        "late_ms": percentiles(late) if late else {},
        "statuses": dict(statuses),
        "right": set(statuses) == {shape.good} and orders_right,
        "client_cores": round(sum(tally.cpu_s for tally in tallies) / seconds, 2),
    }


def line_of(found: Mapping[str, Any]) -> str:
    """Return one line of progress."""
    wrong = "" if found["right"] else f", WRONG: {found['statuses']}"
    return f"{found['orders_per_s'] or found['per_s']:,.0f}/s, p99 {found['ms'].get('p99')} ms{wrong}"


def rounds(at: Front, wish: Wish) -> Iterator[dict[str, Any]]:
    """Measure every part of every round; what is compared with each other runs one after the other."""
    single, many = Shape(orders(at), "202", wish.connections), Shape(batches(at), "200", wish.batch_connections, word=ACCEPTED)
    single_keyed = replace(single, requests=keyed_orders(at), keyed=True)
    parts = {
        "bare": (single, at.bare),
        "single": (single, at.gateway),
        "keyed": (single_keyed, at.gateway),
        "batch": (many, at.gateway),
        "steady": (replace(single, rate=wish.rate), at.gateway),
        "steady_keyed": (replace(single_keyed, rate=wish.rate), at.gateway),
        "reads": (Shape(reads(at), "200", wish.connections), at.gateway),
    }
    for name in WARM_UP if wish.warm_up_s else ():
        click.echo(f"warming up: {name}", err=True)
        measure(at, *parts[name], replace(wish, seconds=wish.warm_up_s))
    for number in range(1, wish.rounds + 1):
        for name, (shape, port) in parts.items():
            click.echo(f"round {number}: {name} ... ", err=True, nl=False)
            found = measure(at, shape, port, wish)
            click.echo(line_of(found), err=True)
            yield {"part": name, "round": number, **found}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", "count_", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5), default=10.0, show_default=True, help="Counted per part and round.")
@click.option("--warm", type=click.FloatRange(0.2), default=3.0, show_default=True, help="Seconds before that.")
@click.option("--connections", type=click.IntRange(1), default=512, show_default=True)
@click.option("--batch-connections", type=click.IntRange(1), default=16, show_default=True, help="The same for batches.")
@click.option("--clients", type=click.IntRange(1), default=2, show_default=True, help="Processes of the load generator.")
@click.option("--rate", type=click.IntRange(1), default=1_000, show_default=True, help="Orders per second of the steady load.")
@click.option("--quick", is_flag=True, help="One round of a second each: whether everything runs, no measurement.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="By default bench/gateway.json; .holdfast/bench-gateway.json with --quick.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def main(quick: bool, output: Path | None, as_json: bool, count_: int, seconds: float, warm: float, **load: int) -> None:
    """Measure the gateway. The exit code is 1 if an answer was not what it should be."""
    wish = Wish(1, 1.0, 0.5, **load, warm_up_s=0.0) if quick else Wish(count_, seconds, warm, **load)
    target = output or (SCRATCH if quick else RESULTS)
    target.parent.mkdir(exist_ok=True)
    on, found = machine(), list[dict[str, Any]]()
    with servers() as per, front(per) as at:
        for each in rounds(at, wish):
            found.append(each)
            report.write(target, {"machine": on, "options": asdict(wish), "figures": figures(found), "rounds": found})
    click.echo(json.dumps(figures(found)) if as_json else table(found))
    sys.exit(0 if all(each["right"] for each in found) else 1)


if __name__ == "__main__":
    main()
