"""`holdfast schemas`: our Avro schemas and a schema registry."""

import json
from dataclasses import asdict

import click

from holdfast import registering, topics


@click.group()
def schemas() -> None:
    """The Avro schemas of the topics."""


@schemas.command()
@click.option("--registry", envvar="SCHEMA_REGISTRY_URL", required=True, help="http://host:port/apis/ccompat/v7; else SCHEMA_REGISTRY_URL.")
@click.option("--json", "as_json", is_flag=True, help='Print {"subjects": n, "versions": n, "new": n}.')
def register(registry: str, as_json: bool) -> None:
    """Bring every schema into an Apicurio registry, under the IDs that the records in the topics carry.

    Compatibility is set to BACKWARD_TRANSITIVE. Running it again changes nothing. Exit 1, saying which, when the registry holds
    something else under one of our IDs or finds a new version incompatible. Workers and stores need no registry: it is for other readers.
    """
    done = registering.register(registry, topics.prefix_of())
    click.echo(json.dumps(asdict(done)) if as_json else f"{done.subjects} subjects, {done.versions} versions, {done.new} of them new")
