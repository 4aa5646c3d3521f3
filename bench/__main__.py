"""Run every bench on servers of its own, and print one JSON object with what each saw: `make bench`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

BENCHES = {
    "stock_alone": ("bench.stock_alone",),
    "stock_alone_90_percent_on_10_products": ("bench.stock_alone", "--hot", "10"),
    "stock_alone_columns_of_100": ("bench.stock_alone", "--per-record", "100"),
    "latency_1000_per_s_2_partitions": ("bench.latency", "--rate", "1000", "--partitions", "2"),
    "latency_1000_per_s_8_partitions": ("bench.latency", "--rate", "1000", "--partitions", "8"),
    "recovery_1m_rows": ("bench.recovery",),
}


def run(module: str, *options: str) -> dict[str, object]:
    """Run one bench as its own process; its last line is its result."""
    done = subprocess.run([sys.executable, "-m", module, *options], check=True, stdout=subprocess.PIPE)
    result: dict[str, object] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return result


def holdfast(*command: str) -> None:
    """Run one `holdfast` command."""
    subprocess.run([sys.executable, "-m", "holdfast", *command], check=True, stdout=subprocess.DEVNULL)


@click.command()
@click.option("--only", multiple=True, type=click.Choice(sorted(BENCHES)), help="run only these")
def main(only: tuple[str, ...]) -> None:
    """Measure on this machine; timings are noisy, so compare figures of one run with each other."""
    results: dict[str, object] = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as home:
        os.environ.setdefault("HOLDFAST_CACHE", str(Path.cwd() / ".holdfast" / "cache"))
        os.environ["HOLDFAST_HOME"] = home
        holdfast("up", "--servers-only")
        try:
            for name in only or BENCHES:
                click.echo(f"{name} ...", err=True)
                results[name] = run(*BENCHES[name])
        finally:
            holdfast("down", "--wipe")
    click.echo(json.dumps(results))


if __name__ == "__main__":
    main()
