"""`holdfast topics`: the topics, made and looked at."""

import json

import click
from rich.console import Console
from rich.table import Table

from holdfast import asyncapi, topics
from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from schemas.topics import ALL


@click.group("topics")
def topics_command() -> None:
    """The Kafka topics of the pipeline."""


@topics_command.command()
@click.option("--json", "as_json", is_flag=True, help='Print {"created": [names], "topics": [...]}.')
def create(as_json: bool) -> None:
    """Create every topic that is missing; check those already there.

    HOLDFAST_PARTITIONS (8) is the partition count (until `holdfast repartition` changes it), HOLDFAST_TOPIC_PREFIX (empty) goes before
    every name. Running it again changes nothing. Exit 1, naming each fault, when a topic is there with other settings than the pipeline needs.
    """
    history = topics.in_use(kafka())
    made = topics.create(kafka(), history.prefix, topics.counted(history))
    if as_json:
        click.echo(json.dumps({"created": made, "topics": _rows()}))
        return
    for name in made:
        click.echo(f"created {name}")
    click.echo(f"{len(ALL)} topics, {len(made)} of them new, {topics.counted(history)} partitions each")


@topics_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of topics.")
def list_topics(as_json: bool) -> None:
    """Show every topic as it is on the brokers. Exit 1 when one is missing or not as the pipeline needs it."""
    rows = _rows()
    if as_json:
        click.echo(json.dumps(rows))
    else:
        Console().print(_table(rows))
    if any(row["problems"] for row in rows):
        raise SystemExit(1)


@topics_command.command("asyncapi")
def print_asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of the topics and their records, as JSON. It asks no broker."""
    click.echo(asyncapi.text(), nl=False)


def kafka() -> str:
    """Return the bootstrap address; this command needs no database."""
    return given().get("kafka") or endpoints().kafka


def _rows() -> list[dict[str, object]]:
    history = topics.in_use(kafka())
    statuses = topics.inspect(kafka(), history.prefix, topics.counted(history))
    return [_row(status) for status in statuses]


def _row(status: topics.TopicStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "key": status.topic.key,
        "records": list(status.topic.records),
        "writers": list(status.topic.writers),
        "readers": list(status.topic.readers),
        "partitions": status.partitions,
        "cleanup_policy": status.config.get("cleanup.policy", ""),
        "problems": list(status.problems),
    }


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table("topic", "key", "records", "partitions", "cleanup", "problems", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in ("name", "key", "records", "partitions", "cleanup_policy", "problems")))
    return table


def _cell(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
