"""docker-compose.yml and what it mounts, without a daemon: valid, complete, bounded, nobody is root."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import docker

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
STEPS = {"topics", "migrate", "schemas", "demo"}
WITHOUT_HEALTH = STEPS | {"webhooks", "warehouse"}
SERVERS = {"kafka", "mysql", "redis", "registry", "prometheus", "grafana"}
OURS = {"worker", "sink-mysql", "sink-redis", "gateway", "webhooks", "warehouse"} | STEPS
# Their images say who they run as, and it is not root.
OF_THEIR_OWN_USER = {"kafka", "registry", "grafana"} | OURS


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_compose_itself_finds_no_fault() -> None:
    try:
        words = docker.compose()
    except docker.NoDocker as error:
        pytest.skip(str(error))
    done = subprocess.run([*words, "-f", str(COMPOSE), "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_is_there(services: dict[str, Any]) -> None:
    assert set(services) == SERVERS | OURS


def test_every_image_can_be_another(services: dict[str, Any]) -> None:
    assert all(re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-.+\}", each["image"]) for each in services.values())


def test_every_server_says_whether_it_is_well(services: dict[str, Any]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        assert (check == {"disable": True}) if name in WITHOUT_HEALTH else {"test", "interval", "timeout", "retries"} <= set(check), name


def test_everything_is_bounded(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name


def test_ports_are_for_this_machine_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_nobody_is_root(services: dict[str, Any]) -> None:
    assert all(service.get("user", "root") != "root" for name, service in services.items() if name not in OF_THEIR_OWN_USER)
    assert re.search(r"^USER 10001:10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in OURS:
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"]), name


def test_what_is_waited_for_is_there_and_what_is_kept_has_a_volume(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in STEPS else "service_healthy"
            assert condition == {"condition": wanted}, f"{name} waits for {other}"
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", []) if not volume.startswith((".", "$"))}
    assert used == set(volumes)


def test_what_is_mounted_from_here_is_here(services: dict[str, Any]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_image_has_every_package_that_is_installed() -> None:
    """A package that setup.cfg finds and the Dockerfile forgets would be missing only there."""
    setup, dockerfile, ignored = ((ROOT / name).read_text() for name in ("setup.cfg", "Dockerfile", ".dockerignore"))
    packages = re.findall(r"^    ([a-z]+)\*$", setup, re.MULTILINE)
    assert packages
    for package in packages:
        assert f"COPY {package} {package}" in dockerfile
        assert f"!{package}" in ignored.splitlines()


def test_prometheus_asks_services_that_are_there(services: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    asked = {name for job in config["scrape_configs"] for found in job.get("dns_sd_configs", []) for name in found["names"]}
    assert asked <= set(services)
    assert {"gateway", "worker", "sink-mysql", "sink-redis", "webhooks"} <= asked
