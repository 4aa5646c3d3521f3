"""TLS and SASL from the environment: what each client is given, and what is said of values that cannot be used."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from schemas.secure import SecurityError, kafka_settings, kafka_tls, mysql_settings

AT = "broker:9093"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An authority, a certificate and its key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    mine = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    mine.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    mine.private_key_pem.write_to_path(str(folder / "key.pem"))
    return {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}


LOGIN = {"HOLDFAST_KAFKA_SASL_USERNAME": "ann", "HOLDFAST_KAFKA_SASL_PASSWORD": "s3cret"}


def test_without_a_word_nothing_is_secured() -> None:
    assert kafka_settings(AT, {}) == {"bootstrap.servers": AT}
    assert kafka_tls({}) is None
    assert mysql_settings({}) == {}


def test_tls_with_a_certificate_of_ours(files: dict[str, str]) -> None:
    environ = {"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SSL", **{f"HOLDFAST_KAFKA_TLS_{name.upper()}": path for name, path in files.items()}}
    assert kafka_settings(AT, environ) == {
        "bootstrap.servers": AT,
        "security.protocol": "SSL",
        "ssl.ca.location": files["ca"],
        "ssl.certificate.location": files["cert"],
        "ssl.key.location": files["key"],
    }
    context = kafka_tls(environ)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(("protocol", "tls"), [("SASL_SSL", True), ("SASL_PLAINTEXT", False)])
def test_a_login(protocol: str, tls: bool) -> None:
    environ = {"HOLDFAST_KAFKA_SECURITY_PROTOCOL": protocol, "HOLDFAST_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", **LOGIN}
    sasl = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ann", "sasl.password": "s3cret"}
    assert kafka_settings(AT, environ) == {"bootstrap.servers": AT, "security.protocol": protocol, **sasl}
    assert (kafka_tls(environ) is not None) == tls


def test_the_database_over_tls(files: dict[str, str]) -> None:
    context = mysql_settings({"HOLDFAST_MYSQL_TLS_CA": files["ca"]})["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("environ", "asked", "named"),
    [
        ({"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "TLS"}, lambda e: kafka_settings(AT, e), "HOLDFAST_KAFKA_SECURITY_PROTOCOL is 'TLS'"),
        ({"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, lambda e: kafka_settings(AT, e), "HOLDFAST_KAFKA_SASL_USERNAME is not set"),
        ({"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "HOLDFAST_KAFKA_SASL_MECHANISM": "GSSAPI", **LOGIN}, lambda e: kafka_settings(AT, e), "GSSAPI"),
        ({"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SSL", "HOLDFAST_KAFKA_TLS_CA": "/no/such.pem"}, lambda e: kafka_settings(AT, e), "HOLDFAST_KAFKA_TLS_CA"),
        ({"HOLDFAST_MYSQL_TLS_CA": "/no/such.pem"}, mysql_settings, "HOLDFAST_MYSQL_TLS_CA"),
        ({"HOLDFAST_MYSQL_TLS_CA": __file__}, mysql_settings, "PEM"),
    ],
)
def test_what_cannot_be_used_is_named(environ: dict[str, str], asked: Callable[[dict[str, str]], object], named: str) -> None:
    with pytest.raises(SecurityError, match=named) as refused:
        asked(environ)
    assert "s3cret" not in str(refused.value)


def test_every_client_of_the_brokers_takes_these_settings() -> None:
    """A client made without them would work on a laptop and nowhere else."""
    folders = ("failpoints", "schemas", "ingest", "streams", "sinks", "holdfast")
    root = Path(__file__).resolve().parents[2]
    plain = [str(file) for folder in folders for file in (root / folder).rglob("*.py") if '"bootstrap.servers":' in file.read_text()]
    assert plain == [str(root / "schemas/secure.py")]
