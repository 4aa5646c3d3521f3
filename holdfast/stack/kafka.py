"""Apache Kafka as KRaft nodes, one or a cluster of them, from the jars of Maven Central."""

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack import class_archive, packages
from holdfast.stack.errors import StackError
from holdfast.stack.files import last_lines, locked, write_atomically
from holdfast.stack.health import check_kafka
from holdfast.stack.home import Home
from holdfast.stack.ports import free_port

POM = Path(__file__).with_name("kafka.pom.xml")
LOGGING = Path(__file__).with_name("kafka.log4j2.properties")
# While the young generation is collected nobody is answered: with 80 MB of it, that was once a second under load.
HEAP = ("-Xms384m", "-Xmx768m", "-Xmn256m")
# Nobody is answered meanwhile, so all cores collect: half as long as one alone (decision 23).
COLLECTOR = "-XX:+UseParallelGC"
# The optimising compiler takes what was called four times as often as by default: under load it was half of a new broker's CPU (decision 22).
# Unlocked in case that a JVM counts these options among the diagnostic ones.
COMPILER = (
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:Tier4InvocationThreshold=20000",
    "-XX:Tier4MinInvocationThreshold=2400",
    "-XX:Tier4CompileThreshold=60000",
    "-XX:Tier4BackEdgeThreshold=160000",
)

SETTINGS = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    # A topic that nobody created is a mistake in a name; it must not come into being with one partition.
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    # What a producer leaves open when it dies holds up everybody who reads what is committed, for as long as it may choose.
    "transaction.max.timeout.ms": "15000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.num.partitions": "1",
    # One node is its own controller, which takes a broker that was killed for alive until this time is over (9 s by default).
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # The log is the truth: it is kept until somebody says otherwise, and so are the positions in it.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "offsets.retention.minutes": str(365 * 24 * 60),
    "log.cleaner.enable": "true",
    "log.cleaner.dedupe.buffer.size": str(64 * 1024 * 1024),
    "message.max.bytes": str(4 * 1024 * 1024),
    "replica.fetch.max.bytes": str(4 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "2",
    "background.threads": "4",
}


def replication(brokers: int) -> dict[str, str]:
    """How often each record is kept, and on how many brokers it must be before it is acknowledged, on so many brokers."""
    copies = min(3, brokers)
    least = max(1, copies - 1)
    both = ("transaction.state.log", "share.coordinator.state.topic")
    return {
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(least),
        "offsets.topic.replication.factor": str(copies),
        **{f"{each}.replication.factor": str(copies) for each in both},
        **{f"{each}.min.isr": str(least) for each in both},
    }


def broker_names(brokers: int) -> tuple[str, ...]:
    """The names of so many brokers: kafka, kafka-2, kafka-3."""
    return ("kafka", *(f"kafka-{number}" for number in range(2, brokers + 1)))


def controller_of(broker: str) -> str:
    """The name of the port on which a broker talks to the other controllers."""
    return f"{broker}-controller"


def brokers_in(ports: Collection[str]) -> tuple[str, ...]:
    """The brokers of a home, by the names of the ports it has: a cluster keeps the size it began with."""
    return tuple(name for name in broker_names(len(ports)) if name in ports)


def new_cluster_id() -> str:
    """A cluster ID as Kafka writes them: a UUID's 16 bytes in URL-safe base64, none that looks like an option of its tools."""
    while True:
        new = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not new.startswith("-"):
            return new


def jars(home: Home) -> Path:
    """The folder of the pinned jars, fetched by Maven when not there yet; another pom is another folder."""
    folder = home.cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    with locked(home.cache / "kafka.lock"):
        if not folder.exists():
            _fetch(folder, home.log("kafka-jars"))
    return folder


def _fetch(folder: Path, log: Path) -> None:
    maven = packages.require("mvn")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [maven, "-B", "-ntp", "-C", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    with log.open("w") as output:
        done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise StackError(f"Maven could not fetch Kafka's jars ({log}):\n{last_lines(log)}")
    partial.rename(folder)


@dataclass(frozen=True)
class Kafka:
    """One broker of a home. `ports` needs each broker's name (clients) and `<name>-controller`; with one broker those of `kafka`."""

    home: Home
    ports: dict[str, int]
    name: str = "kafka"

    def endpoint(self) -> str:
        """This broker's address, host:port."""
        return f"127.0.0.1:{self.ports[self.name]}"

    def prepare(self) -> None:
        """Fetch the jars, write the configuration, format the storage once; and once per machine keep what the JVM makes of the jars."""
        packages.require("java")
        jars(self.home)
        self._prepare_storage()
        if not self._archive.exists():
            self._rehearse()

    def command(self) -> list[str]:
        """The broker's command line."""
        return self._command(*class_archive.options(self._archive))

    def _command(self, *options: str) -> list[str]:
        return [*self._java(*HEAP, COLLECTOR, *COMPILER, *options, f"-Dlog4j2.configurationFile={LOGGING}"), "kafka.Kafka", self._config]

    @property
    def _archive(self) -> Path:
        return class_archive.place(self.home.cache, packages.require("java"), jars(self.home))

    def _rehearse(self) -> None:
        """Start and end a broker without data, so that the JVM can keep the classes it took."""
        with tempfile.TemporaryDirectory(prefix="kafka-trial-") as folder:
            port = free_port()
            trial = Kafka(Home(Path(folder), self.home.cache), {"kafka": port, "kafka-controller": free_port([port])})
            trial.home.create()
            trial._prepare_storage()
            class_archive.ensure(self._archive, trial._command, lambda: check_kafka(trial.endpoint()), self.home.log("kafka-classes"))

    def _prepare_storage(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._configuration, self._properties().encode())
        if not (self._logs / "meta.properties").exists():
            self._format()

    @property
    def _folder(self) -> Path:
        return self.home.data(self.name)

    @property
    def _logs(self) -> Path:
        return self._folder / "logs"

    @property
    def _configuration(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _config(self) -> str:
        return str(self._configuration)

    def _java(self, *options: str) -> list[str]:
        return [packages.require("java"), *options, "-cp", f"{jars(self.home)}{os.sep}*"]

    def _properties(self) -> str:
        brokers = brokers_in(self.ports)
        controllers = {name: f"127.0.0.1:{self.ports[controller_of(name)]}" for name in brokers}
        own = {
            "node.id": str(brokers.index(self.name) + 1),
            "listeners": f"BROKER://{self.endpoint()},CONTROLLER://{controllers[self.name]}",
            "advertised.listeners": f"BROKER://{self.endpoint()}",
            "controller.quorum.voters": ",".join(f"{number}@{address}" for number, address in enumerate(controllers.values(), 1)),
            "log.dirs": str(self._logs),
        }
        return "".join(f"{name}={value}\n" for name, value in (SETTINGS | replication(len(brokers)) | own).items())

    def _cluster_id(self) -> str:
        """The same for every broker of the home."""
        file = self.home.root / "data" / "kafka.cluster"
        with locked(file.with_suffix(".lock")):
            if not file.exists():
                write_atomically(file, new_cluster_id().encode())
            return file.read_text()

    def _format(self) -> None:
        log = self.home.log(f"{self.name}-format")
        command = [*self._java("-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format"]
        with log.open("w") as output:
            done = subprocess.run([*command, "-t", self._cluster_id(), "-c", self._config], check=False, stdout=output, stderr=output)
        if done.returncode:
            raise StackError(f"Kafka's storage could not be formatted ({log}):\n{last_lines(log)}")
