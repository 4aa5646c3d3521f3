"""The Helm chart: what it makes is valid Kubernetes, and has what a cluster expects of a good tenant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.stack.home import Home
from schemas.topics import ALL, PIPELINE_GROUP

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "holdfast"
KUBERNETES = "1.31"
SECURED = {
    "security.kafkaProtocol": "SASL_SSL",
    "security.kafkaMechanism": "SCRAM-SHA-512",
    "security.kafkaLogin.secretName": "kafka-login",
    "security.tls.secretName": "tls",
    "security.tls.kafkaCa": "ca.pem",
    "security.tls.mysqlCa": "ca.pem",
    "payments.provider": "http",
    "payments.url": "https://pay.example",
    "payments.key.secretName": "pay",
    "webhooks.replicas": "1",
    "topicPrefix": "shop.",
}
BARE = {"worker.scaling.enabled": "false", "setup.enabled": "false", "gateway.replicas": "0"}


@pytest.fixture(scope="module")
def helm() -> str:
    """The program: this machine's, or the one that `make chart` put into the cache."""
    built = Home.from_environment().cache / "bin" / "helm"
    found = shutil.which("helm") or (str(built) if built.exists() else None)
    if found is None:
        pytest.skip("no helm here: install it, or run `make chart`, which fetches one")
    return found


def render(helm: str, values: dict[str, str]) -> list[dict[str, Any]]:
    flags = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run([helm, "template", "shop", str(CHART), *flags], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def test_helm_finds_no_fault(helm: str) -> None:
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", [{}, SECURED, BARE], ids=["as it is", "secured", "bare"])
def test_what_it_makes_is_valid(helm: str, values: dict[str, str]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="`make chart` brings Kubernetes' schemas")
    documents = render(helm, values)
    for document in documents:
        if not document["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))


def test_every_process_is_a_good_tenant(helm: str) -> None:
    documents = render(helm, SECURED)
    deployments = of_kind(documents, "Deployment")
    assert set(deployments) == {f"shop-{name}" for name in ("worker", "sink-mysql", "sink-redis", "gateway", "webhooks")}
    for name, pod in {**deployments, **of_kind(documents, "Job")}.items():
        spec = pod["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        if name not in ("shop-webhooks", *of_kind(documents, "Job")):
            assert {"readinessProbe", "startupProbe"} <= set(container)
    budgets = of_kind(documents, "PodDisruptionBudget")
    assert set(budgets) == set(deployments)
    for name, budget in budgets.items():
        labels = deployments[name]["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_no_secret_is_in_it_and_each_is_named_where_it_is(helm: str) -> None:
    documents = render(helm, SECURED)
    assert not of_kind(documents, "Secret")
    for deployment in of_kind(documents, "Deployment").values():
        environment = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
        secret = ("HOLDFAST_MYSQL", "HOLDFAST_REDIS", "HOLDFAST_KAFKA_SASL_USERNAME", "HOLDFAST_KAFKA_SASL_PASSWORD", "HOLDFAST_PAYMENT_KEY")
        assert all("secretKeyRef" in environment[name]["valueFrom"] for name in secret)
        assert environment["HOLDFAST_KAFKA_TLS_CA"]["value"] == environment["HOLDFAST_MYSQL_TLS_CA"]["value"] == "/etc/holdfast/tls/ca.pem"


def test_workers_follow_the_lag(helm: str) -> None:
    (scaled,) = of_kind(render(helm, SECURED), "ScaledObject").values()
    assert scaled["spec"]["scaleTargetRef"]["name"] in of_kind(render(helm, SECURED), "Deployment")
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (2, 8)
    triggers = [each["metadata"] for each in scaled["spec"]["triggers"]]
    assert {each["topic"] for each in triggers} <= {topic.named("shop.") for topic in ALL}
    assert {each["consumerGroup"] for each in triggers} == {f"shop.{PIPELINE_GROUP}"}
    assert {(each["sasl"], each["tls"]) for each in triggers} == {("scram_sha512", "enable")}
    assert "replicas" not in of_kind(render(helm, SECURED), "Deployment")["shop-worker"]["spec"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"worker.scaling.max": "9"}, "more pods than the 8 partitions"),
        ({"worker.scaling.max": "1"}, "less than worker.scaling.min"),
        ({**SECURED, "security.kafkaMechanism": "GSSAPI"}, "security.kafkaMechanism"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: str, values: dict[str, str], said: str) -> None:
    flags = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run([helm, "template", "shop", str(CHART), *flags], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_values_name_every_group_of_the_chart() -> None:
    """Needs no helm: the file is YAML, and what it scales by is a topic of ours."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["worker"]["scaling"]["max"] <= values["partitions"]
    templates = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    assert all(f".Values.{name}" in templates for name in values), json.dumps(list(values))
