"""`holdfast keys`: API keys of the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from ingest.api_keys import ApiKey, KeyTable, key_id_in
from ingest.errors import IngestError
from ingest.http.seams import Scope
from schemas.outcomes import MAX_ID_LENGTH

MAX_NAME: Final = 128
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Scopes(click.ParamType):
    """Scopes with commas between."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the scopes, each once."""
        said = [each.strip() for each in value.split(",")] if isinstance(value, str) else list(value)
        unknown = sorted(set(said) - set(Scope))
        if unknown:
            self.fail(f"{', '.join(map(repr, unknown))}: the scopes are {', '.join(Scope)}", param, ctx)
        return tuple(scope for scope in Scope if scope in said)


class Expiry(click.ParamType):
    """A time, or a span from now."""

    name = "expiry"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time in UTC; one that is over is a mistake."""
        now = datetime.now(UTC)
        try:
            at = now + _span(value) if _SPAN.fullmatch(value) else datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a span such as 90d or 12h nor a time such as 2027-01-31 or 2027-01-31T12:00:00+00:00", param, ctx)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        if at <= now:
            self.fail(f"{value!r} is over", param, ctx)
        return at


class User(click.ParamType):
    """A user's ID."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        text = str(value)
        if not 1 <= len(text) <= MAX_ID_LENGTH or "\0" in text:
            self.fail(f"a user has 1 to {MAX_ID_LENGTH} characters", param, ctx)
        return text


class Name(click.ParamType):
    """A name for people."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        if len(value) > MAX_NAME:
            self.fail(f"a name has at most {MAX_NAME} characters", param, ctx)
        return str(value)


@click.group("keys")
def keys() -> None:
    """API keys of the gateway, in MySQL.

    Needs the operator's HOLDFAST_MYSQL, or a running stack; no gateway has to run.
    """


@keys.command()
@click.option("--scope", "scopes", type=Scopes(), required=True, help="What it allows, with commas: place, read (own orders), stock (operate stock), admin.")
@click.option("--user", type=User(), default=None, help="The user for whom it acts. Without: for every user, such as a shop's backend; the body's user counts.")
@click.option("--name", type=Name(), default="", help="What people call it.")
@click.option("--expires", type=Expiry(), default=None, help="When it ends: a span such as 90d or 12h, or a time (UTC). Without: never.")
@click.option("--rate", type=click.FloatRange(0.001, 1e9), default=None, help="Requests and orders of batches per second. Without: the gateway's.")
@click.option("--burst", type=click.IntRange(1, 10**9), default=None, help="Most of them at once; with --rate. Without: as many as --rate, at least 1.")
@click.option("--json", "as_json", is_flag=True, help='Print {"key", "key_id", "user", "scopes", ...}.')
def create(scopes: tuple[str, ...], user: str | None, name: str, expires: datetime | None, rate: float | None, burst: int | None, as_json: bool) -> None:
    """Make a key and print it: this once, for only its hash is kept."""
    if burst is not None and rate is None:
        raise click.UsageError("--burst needs --rate")
    wished = ApiKey("", b"", name, user, scopes, rate, burst or (None if rate is None else max(1, int(rate))), expires_at=expires)
    with _table() as table:
        text, stored = table.create(wished)
    if as_json:
        click.echo(json.dumps({"key": text.text, **_document(stored)}))
        return
    click.echo(text.text)
    whom = f"user {user}" if user else "every user"
    click.echo(f"It acts for {whom} and is not shown again. `holdfast keys revoke {text.key_id}` ends it.", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of keys, without their secrets.")
def list_keys(as_json: bool) -> None:
    """List the keys: never their secrets."""
    with _table() as table:
        found = table.all()
    if as_json:
        click.echo(json.dumps([_document(key) for key in found]))
        return
    columns = ("key_id", "name", "user", "scopes", "state", "created_at", "expires_at")
    listed = Table(box=None, pad_edge=False)
    for column in columns:
        # A key is revoked by its ID: it stays whole in any terminal.
        listed.add_column(column.replace("_", " "), overflow="fold", no_wrap=column == "key_id", min_width=16 if column == "key_id" else None)
    for key in found:
        document = _document(key)
        listed.add_row(*(escape(_text(column, document[column])) for column in columns))
    Console(highlight=False).print(listed)


@keys.command()
@click.argument("key", metavar="ID|KEY")
@click.option("--json", "as_json", is_flag=True, help="Print the key as `list` does.")
def revoke(key: str, as_json: bool) -> None:
    """End a key, named by its ID or by itself.

    Gateways refuse it within HOLDFAST_GATEWAY_KEY_CACHE (10 s). A second time changes nothing. Exit 1 for a key that there is not.
    """
    key_id = key_id_in(key)
    if key_id is None:
        raise click.UsageError("this is neither a key nor a key's ID (16 hexadecimal digits): `holdfast keys list` has the IDs")
    with _table() as table:
        found = table.revoke(key_id)
    if found is None:
        raise click.ClickException(f"there is no key {key_id}: `holdfast keys list` has the IDs")
    click.echo(json.dumps(_document(found)) if as_json else f"{key_id} is revoked since {_time(found.revoked_at)}")


@contextmanager
def _table() -> Iterator[KeyTable]:
    try:
        yield KeyTable(given().get("mysql") or endpoints().mysql)
    except IngestError as error:
        raise click.ClickException(str(error)) from error


def _document(key: ApiKey) -> dict[str, Any]:
    said = {"key_id": key.key_id, "name": key.name, "user": key.user, "scopes": list(key.scopes), "rate": key.rate, "burst": key.burst}
    times = {name: _time(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at")}
    return {**said, "state": key.state(datetime.now(UTC)), **times}


def _text(column: str, value: Any) -> str:
    if column == "user" and value is None:
        return "(every user)"
    return ",".join(value) if isinstance(value, list) else str(value or "")


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    assert found is not None
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
