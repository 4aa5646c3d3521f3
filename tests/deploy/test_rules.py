"""Alert rules fire when they should; rules and dashboards name figures that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import telemetry.figures
from holdfast.stack import packages
from holdfast.stack.errors import MissingProgramError

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "holdfast.yml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
TESTS = Path(__file__).parent / "rules_test.yml"
GATEWAY = "".join((ROOT / "ingest" / file).read_text() for file in ("gateway.py", "http/metrics.py"))


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("promtool") is None and packages.can_install():
        try:
            packages.install(["prometheus"], tmp_path_factory.mktemp("apt") / "apt.log")
        except MissingProgramError as error:
            pytest.skip(str(error))
    return shutil.which("promtool") or pytest.skip("there is no promtool here, and none can be installed")


def run(promtool: str, folder: Path, rules: str) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(rules)
    shutil.copy(TESTS, folder)
    return subprocess.run([promtool, "test", "rules", TESTS.name], cwd=folder, capture_output=True, text=True, check=False)


def test_every_alert_fires_when_it_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    done = run(promtool, tmp_path, RULES.read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    named = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert named == set(re.findall(r"alertname: (\w+)", TESTS.read_text())), "each alert has a test"


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("> 60", "> 600"),
        ("> 120", "> 1"),
        ("for: 1m", "for: 0s"),
        ("> 0.01", "> 0.5"),
        ("up{", "gone{"),
        ("_open) > 0", "_open) > 1"),
        ("[10m])) > 0.5", "[10m])) > 5"),
    ],
)
def test_the_tests_notice_a_rule_that_is_wrong(promtool: str, tmp_path: Path, rule: str, broken: str) -> None:
    assert rule in RULES.read_text()
    assert run(promtool, tmp_path, RULES.read_text().replace(rule, broken)).returncode != 0


def figures() -> set[str]:
    """Every sample name that workers, sinks and webhooks can say."""
    assert telemetry.figures
    return {sample.name for family in REGISTRY.collect() for sample in family.samples} | {
        f"{family.name}{ending}" for family in REGISTRY.collect() for ending in ("", "_total", "_bucket", "_count", "_sum")
    }


@pytest.mark.parametrize("file", [RULES, *DASHBOARDS], ids=lambda path: path.name)
def test_it_names_figures_that_there_are(file: Path) -> None:
    named = set(re.findall(r"\bholdfast_\w+", file.read_text()))
    gateway = {name for name in named if re.sub(r"_(total|bucket|count|sum)$", "", name) in GATEWAY}
    assert named
    assert named - figures() - gateway == set()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_whole(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 0
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
