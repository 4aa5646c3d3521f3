"""How every client reaches the servers besides their addresses: TLS and SASL, from the environment (names in docs/deploy.md).

A value that cannot be used raises SecurityError naming its variable; passwords are in no message.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_KAFKA: Final = "HOLDFAST_KAFKA_"
_FILES: Final = {"TLS_CA": "ssl.ca.location", "TLS_CERT": "ssl.certificate.location", "TLS_KEY": "ssl.key.location"}


class SecurityError(ValueError):
    """A variable that cannot be used; the text says which, why and what to do."""


def kafka_settings(bootstrap: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what a librdkafka client needs to reach the brokers at `bootstrap` (host:port, ...)."""
    protocol = kafka_protocol(environ)
    found: dict[str, Any] = {"bootstrap.servers": bootstrap}
    if protocol != "PLAINTEXT":
        found["security.protocol"] = protocol
    if protocol.endswith("SSL"):
        found |= {setting: _file(environ, _KAFKA + name) for name, setting in _FILES.items() if environ.get(_KAFKA + name)}
    if protocol.startswith("SASL"):
        user, password, mechanism = kafka_login(environ)
        found |= {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
    return found


def kafka_protocol(environ: Mapping[str, str] = os.environ) -> str:
    """Return HOLDFAST_KAFKA_SECURITY_PROTOCOL, PLAINTEXT by default."""
    return _one_of(environ, _KAFKA + "SECURITY_PROTOCOL", PROTOCOLS)


def kafka_login(environ: Mapping[str, str] = os.environ) -> tuple[str, str, str]:
    """Return user, password and mechanism for SASL."""
    mechanism = _one_of(environ, _KAFKA + "SASL_MECHANISM", MECHANISMS)
    return _needed(environ, _KAFKA + "SASL_USERNAME"), _needed(environ, _KAFKA + "SASL_PASSWORD"), mechanism


def kafka_tls(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext | None:
    """Return what a client that is not librdkafka checks the brokers by; None without TLS."""
    if not kafka_protocol(environ).endswith("SSL"):
        return None
    names = [_KAFKA + name for name in _FILES]
    return _context(environ, *names)


def mysql_settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what pymysql needs to reach the database over TLS: nothing unless HOLDFAST_MYSQL_TLS_CA names a file.

    The server's certificate must be of that authority and of the host's name.
    """
    names = ("HOLDFAST_MYSQL_TLS_CA", "HOLDFAST_MYSQL_TLS_CERT", "HOLDFAST_MYSQL_TLS_KEY")
    return {"ssl": _context(environ, *names)} if environ.get(names[0]) else {}


def _context(environ: Mapping[str, str], ca: str, cert: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_file(environ, ca) if environ.get(ca) else None)
        if environ.get(cert):
            context.load_cert_chain(_file(environ, cert), _file(environ, key) if environ.get(key) else None)
    except ssl.SSLError as error:
        raise SecurityError(f"{ca}, {cert} and {key} are to name PEM files of an authority, a certificate and its key: {error}") from error
    return context


def _one_of(environ: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    value = environ.get(name) or known[0]
    if value not in known:
        raise SecurityError(f"{name} is {value!r}: use one of {', '.join(known)}")
    return value


def _needed(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise SecurityError(f"{name} is not set: HOLDFAST_KAFKA_SECURITY_PROTOCOL asks for a login")
    return environ[name]


def _file(environ: Mapping[str, str], name: str) -> str:
    path = environ.get(name, "")
    if not Path(path).is_file():
        raise SecurityError(f"{name} is {path!r}, which is no file")
    return path
