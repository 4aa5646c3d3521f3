"""`holdfast load` without servers: what it counts, and what it says of input that it cannot use."""

import json
import lzma
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from ingest.retail_file import COLUMNS

SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"
ROW = "536365,85123A,HEART,6,2010-12-01T08:26:00,2.55,17850,United Kingdom\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["load", *arguments])


def test_dry_run_counts_without_any_server() -> None:
    result = run(str(SAMPLE), "--dry-run", "--json", "--opening-stock", "0.5")
    assert result.exit_code == 0
    counts = json.loads(result.stdout)
    assert counts["rows"] == counts["lines"] + counts["return_lines"] + counts["corrections"] + counts["dead_letters"] == 60_000
    assert (counts["orders"], counts["dry_run"], counts["rows_sent"], counts["opening_units"]) == (2_107, True, 0, 267_621)


def test_dry_run_for_people() -> None:
    result = run(str(SAMPLE), "--dry-run")
    assert "60,000" in result.stdout
    assert "nothing was sent" in result.stdout


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--opening-stock", "lots"), "'lots' is not a number such as 0.9"),
        (("--opening-stock", "-1"), "'-1' is not from 0 to 1,000"),
        (("--opening-stock", "nan"), "'nan' is not from 0"),
        (("--rate", "0"), "--rate"),
        (("--source", "a b"), "--source is 'a b'"),
        (("--source", "x" * 33), "--source is"),
        (("--fast",), "No such option"),
    ],
)
def test_a_flag_that_cannot_be_used_is_named(flags: tuple[str, ...], text: str) -> None:
    result = run(str(SAMPLE), "--dry-run", *flags)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"InvoiceNo;StockCode\n", "not the header"),
        (lzma.compress((",".join(COLUMNS) + "\n" + ROW * 5_000).encode())[:-100], "cut short"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, body: bytes, text: str) -> None:
    (tmp_path / "broken.csv").write_bytes(body)
    result = run(str(tmp_path / "broken.csv"))
    assert result.exit_code == 2
    assert "broken.csv" in result.stderr
    assert text in result.stderr


def test_a_missing_file_is_named() -> None:
    result = run("nowhere.csv", "--dry-run")
    assert (result.exit_code, "nowhere.csv: No such file" in result.stderr) == (2, True)
