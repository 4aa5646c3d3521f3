"""How many rows the stages hold, as their workers' figures say."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 1.0
GAUGE = "holdfast_rows"


def rows_by_stage(urls: Iterable[str]) -> dict[str, int]:
    """Return stage -> rows in all of these processes' figures (URLs of Prometheus text); one that does not answer in a second has none."""
    found: Counter[str] = Counter()
    for url in urls:
        for family in text_string_to_metric_families(_read(url)):
            if family.name == GAUGE:
                for sample in family.samples:
                    found[sample.labels["stage"]] += int(sample.value)
    return dict(sorted(found.items()))


def _read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310  # a process of ours wrote the address
            return str(answer.read().decode())
    except (OSError, ValueError):
        return ""
