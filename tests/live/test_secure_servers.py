"""Real servers that refuse whoever comes without TLS and a login: the whole way of an order through them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
import trustme
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from holdfast.stack.addresses import MysqlAddress
from holdfast.stack.errors import MissingProgramError, NotHealthyError
from holdfast.stack.health import check_kafka, check_mysql, check_redis
from holdfast.stack.kafka import Kafka
from holdfast.stack.ports import free_port
from holdfast.stack.redis_server import RedisServer
from tests.support.pipeline import Load, Pipeline, running
from tests.support.servers import OwnServer, home_in, own_mariadb, own_mysql
from tests.support.stack import unique_name

pytestmark = [pytest.mark.live, pytest.mark.long]
USER, PASSWORD = "shop", "s3cret,and=long"
LISTENERS = "listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,CERTIFIED:SSL"


@dataclass(frozen=True)
class Certificates:
    """PEM files of one authority: a server's certificate for this machine, and a client's."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Certificates:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        for name, subject in (("server", "127.0.0.1"), ("client", "shop.test")):
            issued = authority.issue_cert(subject, "localhost")
            # Kafka takes keys as PKCS #8 alone.
            key = load_pem_private_key(issued.private_key_pem.bytes(), None)
            key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
            (folder / f"{name}.key").write_bytes(key_pem)
            (folder / f"{name}.crt").write_bytes(chain)
            (folder / f"{name}.pem").write_bytes(key_pem + chain)
        return cls(folder)

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)


@dataclass(frozen=True)
class SecureKafka(Kafka):
    """A broker with two more doors: SASL over TLS, and TLS with a certificate of the client's."""

    certificates: Certificates | None = None

    def door(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _properties(self) -> str:
        pem = self.certificates
        assert pem is not None
        doors = f",LOGIN://{self.door('login')},CERTIFIED://{self.door('certified')}"
        lines = [line for line in super()._properties().splitlines() if not line.startswith("listener.security")]
        kept = [line + doors if line.startswith(("listeners=", "advertised.listeners=")) else line for line in lines]
        own = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": pem["server.pem"],
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": pem["ca.pem"],
            "listener.name.certified.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.login.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        }
        return "\n".join([*kept, LISTENERS, *(f"{name}={value}" for name, value in own.items()), ""])


@dataclass(frozen=True)
class SecureRedis(RedisServer):
    """A Redis that speaks TLS alone."""

    certificates: Certificates | None = None

    def endpoint(self) -> str:
        assert self.certificates is not None
        return f"rediss://127.0.0.1:{self.ports['tls']}/0?ssl_ca_certs={self.certificates['ca.pem']}"

    def command(self) -> list[str]:
        pem = self.certificates
        assert pem is not None
        files = ["--tls-cert-file", pem["server.crt"], "--tls-key-file", pem["server.key"], "--tls-ca-cert-file", pem["ca.pem"]]
        return [*super().command(), "--port", "0", "--tls-port", str(self.ports["tls"]), *files, "--tls-auth-clients", "no"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    folder = tmp_path_factory.mktemp("kafka")
    ports = {name: free_port() for name in ("kafka", "kafka-controller", "login", "certified")}
    found = SecureKafka(home_in(folder), ports, certificates=certificates)
    server = OwnServer(found, check_kafka, folder / "kafka.log")
    try:
        server.start()
        secret = UserScramCredentialUpsertion(USER, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), PASSWORD.encode())
        client = AdminClient({"bootstrap.servers": found.endpoint()})  # its futures end with it
        client.alter_user_scram_credentials([secret])[USER].result(30)
        yield found
    finally:
        server.kill()


def login(certificates: Certificates) -> dict[str, str]:
    return {
        "HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "HOLDFAST_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HOLDFAST_KAFKA_SASL_USERNAME": USER,
        "HOLDFAST_KAFKA_SASL_PASSWORD": PASSWORD,
        "HOLDFAST_KAFKA_TLS_CA": certificates["ca.pem"],
    }


def certified(certificates: Certificates) -> dict[str, str]:
    files = {"CA": "ca.pem", "CERT": "client.crt", "KEY": "client.key"}
    return {"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SSL", **{f"HOLDFAST_KAFKA_TLS_{name}": certificates[file] for name, file in files.items()}}


def holdfast(environment: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", *command], env={**os.environ, **environment}, capture_output=True, text=True, timeout=180, check=False
    )


def test_a_wrong_password_is_refused_by_name_and_not_repeated(broker: SecureKafka, certificates: Certificates) -> None:
    environment = {**login(certificates), "HOLDFAST_KAFKA": broker.door("login"), "HOLDFAST_KAFKA_SASL_PASSWORD": "guessed-wrong"}
    done = holdfast(environment, "topics", "list")
    assert done.returncode == 1
    assert "guessed-wrong" not in done.stdout + done.stderr
    assert "Kafka at" in done.stderr


@pytest.mark.parametrize("database", ["mariadb", "mysql"])
def test_a_server_of_another_authority_is_not_believed(
    database: str, broker: SecureKafka, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "others").mkdir()
    others = Certificates.made(tmp_path / "others")["ca.pem"]
    with secure_database(database, certificates, tmp_path) as url:
        monkeypatch.setenv("HOLDFAST_MYSQL_TLS_CA", others)
        with pytest.raises(NotHealthyError, match="certificate verify failed"):
            check_mysql(url)
        at = MysqlAddress.parse(url)
        # The login that is good over TLS, as it was when the server started.
        with pytest.raises(pymysql.OperationalError):
            pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, ssl_disabled=True)
    done = holdfast({**login(certificates), "HOLDFAST_KAFKA": broker.door("login"), "HOLDFAST_KAFKA_TLS_CA": others}, "topics", "list")
    assert done.returncode == 1


@contextmanager
def secure_database(name: str, certificates: Certificates, folder: Path) -> Iterator[str]:
    """A MariaDB or MySQL that takes connections over TLS alone; only while it starts does this process know its authority."""
    files = [f"--ssl-{option}={certificates[file]}" for option, file in (("cert", "server.crt"), ("key", "server.key"), ("ca", "ca.pem"))]
    try:
        with {"mariadb": own_mariadb, "mysql": own_mysql}[name](folder) as server, pytest.MonkeyPatch.context() as patch:
            server.kill()
            patch.setenv("HOLDFAST_MYSQL_TLS_CA", certificates["ca.pem"])
            server.start(*files, "--require-secure-transport=ON")
            patch.undo()
            yield server.url
    except MissingProgramError as error:
        pytest.skip(f"no {name} here: {error}")


@pytest.mark.parametrize(("door", "database"), [("login", "mariadb"), ("certified", "mariadb"), ("login", "mysql")])
def test_an_order_passes_through_secured_servers(door: str, database: str, broker: SecureKafka, certificates: Certificates, tmp_path: Path) -> None:
    redis_ports = {"redis": free_port(), "tls": free_port()}
    redis = OwnServer(SecureRedis(home_in(tmp_path), redis_ports, certificates), check_redis, tmp_path / "redis.log")
    prefix = unique_name("secure")
    try:
        redis.start()
        with secure_database(database, certificates, tmp_path / database) as mysql:
            security = {**(login if door == "login" else certified)(certificates), "HOLDFAST_MYSQL_TLS_CA": certificates["ca.pem"]}
            # The tests' own clients come through the door that is open to this machine alone.
            with running(Pipeline(broker.endpoint(), prefix, tmp_path, mysql, redis.url, {**security, "HOLDFAST_KAFKA": broker.door(door)})) as pipeline:
                _orders_pass(pipeline)
    finally:
        redis.kill()


def _orders_pass(pipeline: Pipeline) -> None:
    pipeline.sinks()
    pipeline.await_open(pipeline.worker())
    load = Load(pipeline.kafka, pipeline.prefix, seed=5, units=100_000)
    load.restock()
    for _ in range(20):
        load.order()
    load.producer.flush()
    pipeline.drain()
    audited = holdfast(pipeline.environment(), "audit", "--live")
    assert audited.returncode == 0, audited.stdout + audited.stderr + pipeline.last_words()
    found = holdfast(pipeline.environment(), "order", str(load.base + 1), "--json")
    assert found.returncode == 0, found.stdout + found.stderr
