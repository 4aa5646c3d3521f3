"""`holdfast dead-letters`: look at what was given up, correct it, send it again once."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.commands.topics import kafka
from holdfast.letters import words
from holdfast.letters.book import OPEN, STATES, Book, Choice, Letter, LetterId
from holdfast.letters.desk import Desk, Mark, Sent, read_book
from holdfast.letters.errors import LetterError
from holdfast.letters.mending import Correction, assignments, read_corrections
from holdfast.letters.plan import Plan, Wish, plan
from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from holdfast.times import Time
from holdfast.topics import in_use

SHOWN_REFUSED = 20


class _Id(click.ParamType):
    name = "ID"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> LetterId:
        try:
            return LetterId.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_FILTERS = (
    click.option("--reason", "reasons", multiple=True, help="Only these reasons (docs/outcomes.md); may be given again, as the next ones."),
    click.option("--stage", "stages", multiple=True, help="Only letters of these: stock, orders, payments, mysql, redis, load."),
    click.option("--topic", "topics", multiple=True, help="Only what came from these topics, or from file:NAME."),
    click.option("--partition", "partitions", multiple=True, type=int, help="Only what came from these partitions of its topic."),
    click.option("--order", "orders", multiple=True, type=int, help="Only letters that name these orders."),
    click.option("--since", type=Time(), help="Only what died at this time or later (2026-11-24T09:30, UTC)."),
    click.option("--until", type=Time(), help="Only what died before this time."),
)


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _choice(ids: Sequence[LetterId], state: str | None, filters: dict[str, Any]) -> Choice:
    sets = {name: frozenset(filters[name]) for name in ("reasons", "stages", "topics", "partitions", "orders")}
    return Choice(frozenset(ids), **sets, since=filters["since"], until=filters["until"], state=state)


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be taken: look at it, correct it, send it again once, or put it aside.

    A letter's ID (3-17) is where it stands on the topic dead-letters. Needs HOLDFAST_KAFKA, or a running stack.
    """


@dead_letters.command("list")
@_filtered
@click.option("--state", type=click.Choice([*(state.lower() for state in STATES), "all"]), default="open", show_default=True, help="What was done about it.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the youngest.")
@click.option("--whole", is_flag=True, help="With --json: also what each letter's bytes say, as `show` does.")
@click.option(
    "--json", "as_json", is_flag=True, help='Print {"letters": [...], "count", "reasons": {reason: count}}; a file that `redrive --corrections` takes.'
)
def list_letters(state: str, limit: int | None, whole: bool, as_json: bool, **filters: Any) -> None:
    """List dead letters, the oldest first."""
    choice = _choice((), None if state == "all" else state.upper(), filters)
    prefixes = in_use(kafka()).prefixes
    found = sorted((letter for letter in _book() if choice.holds(letter, prefixes)), key=_age)
    chosen = found[-limit:] if limit else found
    reasons = dict(Counter(letter.fields["reason"] for letter in found).most_common())
    if as_json:
        click.echo(json.dumps({"letters": [words.document(letter, whole=whole) for letter in chosen], "count": len(found), "reasons": reasons}))
        return
    Console().print(words.table(chosen))
    click.echo(f"{len(found):,} dead letters" + "".join(f", {count:,} {reason}" for reason, count in reasons.items()))


@dead_letters.command()
@click.argument("ids", nargs=-1, required=True, type=_Id())
@click.option("--json", "as_json", is_flag=True, help='Print {"letters": [...]}: correct its `items` and give it to `redrive --corrections`.')
def show(ids: Sequence[LetterId], as_json: bool) -> None:
    """Show letters whole: why each was given up, and its bytes decoded as far as they go."""
    letters = _named(_book(), ids)
    if as_json:
        click.echo(json.dumps({"letters": [words.document(letter, whole=True) for letter in letters]}))
        return
    for letter in letters:
        Console().print(words.sheet(letter), soft_wrap=True)


@dead_letters.command()
@click.argument("ids", nargs=-1, type=_Id())
@_filtered
@click.option("--all", "every", is_flag=True, help="Every open letter, where neither IDs nor filters narrow it down.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Set a field in every item; may be given again.")
@click.option("--corrections", type=click.Path(path_type=Path), help='JSON of {"id", "set": {...}} or {"id", "items": [...]}; the letters named are meant.')
@click.option(
    "--new-order", is_flag=True, help="Send order lines as orders of their own under new IDs (needs HOLDFAST_MYSQL): the one they name has its answer."
)
@click.option("--dry-run", "dry", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--actor", default=getpass.getuser, help="Who does it; by default the user logged in.")
@click.option("--note", default="", help="Kept with each letter.")
@click.option(
    "--json", "as_json", is_flag=True, help='Print {"chosen", "redriven", "refused": [{"id", "why"}], "sent": [{"letter", "topic", ...}], "dry_run"}.'
)
def redrive(*, ids: Sequence[LetterId], every: bool, changes: Sequence[str], corrections: Path | None, new_order: bool, **rest: Any) -> None:
    """Send letters again, corrected, to the topics of their records, each exactly once.

    What is sent and the mark that says so are one transaction: killed and repeated, a letter is still sent once. A letter that
    would only die again is refused, with what would mend it, and the others go on. Exit 1 if any was refused.
    """
    by_letter = read_corrections(corrections) if corrections else {}
    wish = Wish(by_letter, Correction(fields=assignments(changes)), new_order)
    choice = _narrowed(_choice(ids or tuple(by_letter), OPEN, rest), every)
    with _desk(dry=rest["dry"]) as desk:
        letters = _meant(_book(), choice)
        made = plan(letters, wish, _new_ids(rest["dry"]))
        sent = _send(desk, made, Mark(rest["actor"], rest["note"])) if desk else []
    _report(made, len(letters), sent, dry=rest["dry"], as_json=rest["as_json"])
    raise SystemExit(1 if made.refused else 0)


@dead_letters.command()
@click.argument("ids", nargs=-1, type=_Id())
@_filtered
@click.option("--all", "every", is_flag=True, help="Every open letter, where neither IDs nor filters narrow it down.")
@click.option("--note", required=True, help="Why nothing is to come of them; kept with each letter.")
@click.option("--dry-run", "dry", is_flag=True, help="Count them, and mark none.")
@click.option("--actor", default=getpass.getuser, help="Who does it; by default the user logged in.")
@click.option("--json", "as_json", is_flag=True, help='Print {"chosen", "discarded", "dry_run"}.')
def discard(*, ids: Sequence[LetterId], every: bool, note: str, dry: bool, actor: str, as_json: bool, **filters: Any) -> None:
    """Mark letters as of no use: they are open no more. Nothing is deleted."""
    choice = _narrowed(_choice(ids, OPEN, filters), every)
    done = 0
    with _desk(dry=dry) as desk:
        letters = [letter for letter in _meant(_book(), choice) if letter.state == OPEN]
        with _bar("discarding", len(letters)) as advance:
            for count in desk.discard(letters, Mark(actor, note)) if desk else ():
                done += count
                advance(count)
    text = f"{len(letters):,} letters would be discarded" if dry else f"{done:,} letters discarded"
    click.echo(json.dumps({"chosen": len(letters), "discarded": done, "dry_run": dry}) if as_json else text)


@contextmanager
def _desk(*, dry: bool) -> Iterator[Desk | None]:
    """A dry run opens none: it would put an end to a redrive that is under way."""
    if dry:
        yield None
    else:
        with Desk(kafka(), in_use(kafka()).prefix) as desk:
            yield desk


def _narrowed(choice: Choice, every: bool) -> Choice:
    if not every and not choice.is_narrow:
        raise click.UsageError("which letters? Name IDs or filters, or --all for every open one")
    return choice


def _meant(book: Book, choice: Choice) -> list[Letter]:
    """Letters asked for by ID are there also when they are settled already: then they are refused by name."""
    if choice.ids:
        return _named(book, sorted(choice.ids))
    prefixes = in_use(kafka()).prefixes
    return sorted((letter for letter in book if choice.holds(letter, prefixes)), key=_age)


def _named(book: Book, ids: Sequence[LetterId]) -> list[Letter]:
    found = {letter_id: book.find(letter_id) for letter_id in ids}
    missing = [str(letter_id) for letter_id, letter in found.items() if letter is None]
    if missing:
        raise LetterError(f"there is no dead letter {', '.join(missing)}: `holdfast dead-letters list --state all` shows which there are")
    return list({letter.id: letter for letter in found.values() if letter is not None}.values())


def _age(letter: Letter) -> tuple[int, LetterId]:
    return letter.fields["died_at"], letter.id


def _book() -> Book:
    with _bar("reading dead letters", None) as advance:
        read = 0

        def progress(done: int, total: int) -> None:
            nonlocal read
            advance(done - read, total)
            read = done

        return read_book(kafka(), in_use(kafka()).prefixes, progress)


def _new_ids(dry: bool) -> Callable[[int], Sequence[int]]:
    def take(count: int) -> Sequence[int]:
        if dry or not count:
            return [0] * count
        from ingest.errors import IngestError
        from ingest.order_ids import OrderIds

        try:
            with OrderIds(given().get("mysql") or endpoints().mysql) as ids:
                return ids.take(count)
        except IngestError as error:
            raise LetterError(f"no order IDs: {error}") from error

    return take


def _send(desk: Desk, made: Plan, mark: Mark) -> list[Sent]:
    sent: list[Sent] = []
    with _bar("redriving", made.letters) as advance:
        for some in desk.redrive(made.groups, mark):
            sent += some
            advance(len({each.letter for each in some}))
    return sent


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count, whole=None: bar.update(task, advance=count, **({} if whole is None else {"total": whole}))


def _report(made: Plan, chosen: int, sent: Sequence[Sent], *, dry: bool, as_json: bool) -> None:
    redriven = 0 if dry else made.letters
    refused = [{"id": str(letter_id), "why": why} for letter_id, why in made.refused]
    if as_json:
        records = [{**asdict(each), "letter": str(each.letter), "order_id": str(each.order_id or "")} for each in sent]
        would = [{"letter": str(one.letter.id), "record": one.record, "items": one.items} for group in made.groups for one in group] if dry else []
        click.echo(json.dumps({"chosen": chosen, "redriven": redriven, "refused": refused, "sent": records, "would_send": would, "dry_run": dry}))
        return
    for each in refused[:SHOWN_REFUSED]:
        click.echo(f"{each['id']} is not sent: {each['why']}", err=True)
    if len(refused) > SHOWN_REFUSED:
        click.echo(f"and {len(refused) - SHOWN_REFUSED:,} more (--json names all)", err=True)
    click.echo(
        f"{made.letters:,} of {chosen:,} letters would be sent again" if dry else f"{redriven:,} of {chosen:,} letters sent again, as {len(sent):,} records"
    )
