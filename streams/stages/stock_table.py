"""The stock stage's rows and the batch under way, as the pure source has them; `_stock.pyx` has the same in C, with a path of its own for plain lines.

Whoever decides asks `find` for a product, changes what it is given and gives it back with `put`. Answers are added one by one, or, where the table can do that
itself, by `take`; both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from schemas import codec, compiled
from schemas.topics import STOCK_DECISIONS
from streams.domain.product import Product, from_row, level, to_row
from streams.runtime.records import BrokenRowError, Place, Record
from streams.stages.outbox import Columns
from streams.stages.rows import Rows

LINE: Final = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")
DECISION_COLUMNS: Final = (*LINE, "refusal", "available", "version", "offset", "index")
MOVEMENT_COLUMNS: Final = (
    *("kind", "command_id", "order_id", "line", "product_id", "quantity", "refusal", "available", "reserved", "shipped"),
    *("received", "written_off", "returned", "version", "offset", "index", "actor"),
)


class StockTable(Protocol):
    """Products by ID, and one batch: what has been answered, which products changed."""

    def __iter__(self) -> Iterator[str]: ...

    def restore(self, rows: dict[bytes, bytes]) -> None:
        """Take a changelog's rows: key -> last value. Raises BrokenRowError, now or when the row is first touched."""

    def find(self, product_id: str, /) -> Product | None:
        """Return a product's row, to be changed and `put`; None where there is none. Raises BrokenRowError."""

    def put(self, product: Product) -> None:
        """Take a product's changed row."""

    def keys_all(self) -> Iterator[str]: ...

    def count_all(self) -> int: ...

    def check_some(self) -> None: ...

    def begin(self, now: int) -> None:
        """Begin a batch, decided at `now` (ms); forgets the one before."""

    def take(self, records: Sequence[Record], at: int) -> int:
        """Answer the order lines of the records from `at` on, and do what the orders agent asks; return which record is the first left to the caller."""
        ...

    def answer(self, partition: int, fields: tuple[Any, ...]) -> None:
        """Add an answer: the values of DECISION_COLUMNS."""

    def answers(self) -> list[tuple[int, bytes]]:
        """Return the batch's StockDecisions: (partition, record), in the order in which the partitions were first answered to."""
        ...

    def move(self, fields: tuple[Any, ...]) -> None:
        """Add what became of a command: the values of MOVEMENT_COLUMNS."""

    def movements(self) -> list[bytes]:
        """Return the batch's StockMovements, which all go to this partition."""
        ...

    def changed(self) -> list[tuple[bytes, bytes, bytes]]:
        """Return the rows that the batch changed, in the order in which it first did: (key, ProductRow, StockLevel)."""
        ...


class PlainTable(Rows[str, Product]):
    """Leaves every record to the caller."""

    def __init__(self, place: Place) -> None:
        super().__init__(str.encode, bytes.decode, lambda value: from_row(codec.decode(value).value))
        self._place = place
        self.begin(0)

    def restore(self, rows: dict[bytes, bytes]) -> None:
        self.recover(rows)

    def begin(self, now: int) -> None:
        self._now = now
        self._touched: dict[str, None] = {}
        self._answers = Columns(STOCK_DECISIONS, "StockDecisions", DECISION_COLUMNS, ("refusal",))
        self._movements = Columns(STOCK_DECISIONS, "StockMovements", MOVEMENT_COLUMNS, ("kind", "refusal"))

    def put(self, product: Product) -> None:
        self[product.product_id] = product
        self._touched[product.product_id] = None

    def take(self, records: Sequence[Record], at: int) -> int:  # noqa: ARG002 - none is taken here
        return at

    def answer(self, partition: int, fields: tuple[Any, ...]) -> None:
        self._answers.items[partition].append(fields)

    def answers(self) -> list[tuple[int, bytes]]:
        return [(write.partition, write.value or b"") for write in self._answers.writes(self._common())]

    def move(self, fields: tuple[Any, ...]) -> None:
        self._movements.items[self._place.partition].append(fields)

    def movements(self) -> list[bytes]:
        return [write.value or b"" for write in self._movements.writes(self._common())]

    def _common(self) -> dict[str, int]:
        return {"partition": self._place.partition, "decided_at": self._now}

    def changed(self) -> list[tuple[bytes, bytes, bytes]]:
        row, stock_level = codec.encoder("ProductRow"), codec.encoder("StockLevel")
        products = [self[product_id] for product_id in self._touched]
        return [(p.product_id.encode(), row(to_row(p)), stock_level(level(p, self._now))) for p in products]

    def _made_of(self, key: bytes, value: bytes) -> Product:
        product = super()._made_of(key, value)
        if product.product_id.encode() != key:
            raise BrokenRowError(key, f"the row is that of {product.product_id!r}")
        return product


def new_table(place: Place) -> StockTable:
    """Return an empty table: the compiled one where there is one."""
    found = compiled.load("streams.stages._stock", compiled.STOCK_VERSION)
    if found is None:
        return PlainTable(place)
    table: StockTable = found.Table(place.partition, place.partitions)
    return table
