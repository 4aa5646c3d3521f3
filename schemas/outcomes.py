"""Every code that a decision can end in, in one place.

`Refusal` is ordered by precedence: a check with a lower number is made first, so the same bad input always
gets the same answer. The numbers are stored (changelogs, columnar records): never reuse one.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

MAX_ID_LENGTH: Final = 64
"""Characters of a product or user ID (the stores' column width)."""
MAX_COMMAND_ID_LENGTH: Final = 128
MAX_TOKEN_LENGTH: Final = 255
MAX_ACTOR_LENGTH: Final = 64
"""Characters of a command's actor that are kept; the rest is cut off."""
MAX_LINES: Final = 1_000
"""Lines per order."""
MAX_ITEMS: Final = 2_000
"""Items in a columnar record: at about 150 bytes an item far below the topics' largest message, and what one batch can always decide."""
MAX_QUANTITY: Final = 1_000_000_000
"""Units per line or command."""
MAX_PRICE: Final = 1_000_000_000
"""Minor units per unit; 1,000 lines of MAX_QUANTITY at MAX_PRICE would pass a long, so see MAX_AMOUNT."""
MAX_AMOUNT: Final = 1_000_000_000_000_000
"""Minor units per line: 1,000 lines of it stay below 2**63."""
MAX_TIME: Final = 4_102_444_800_000
"""2100-01-01 UTC in ms: a time beyond it is a mistake of unit."""
MAX_ORDER_ID: Final = 2**63 - 1


class Refusal(IntEnum):
    """Why something asked for was not done. 0 = it was done."""

    NONE = 0
    # The line is not a valid order line: also a dead letter, and its order is rejected.
    INVALID_ORDER_ID = 1
    INVALID_PRODUCT = 2
    INVALID_USER = 3
    INVALID_LINE = 4
    INVALID_QUANTITY = 5
    INVALID_PRICE = 6
    UNKNOWN_CURRENCY = 7
    INVALID_TOKEN = 8
    INVALID_TIME = 9
    # Stock says no.
    PRODUCT_FROZEN = 20
    INSUFFICIENT_STOCK = 21
    # The order ended without its goods.
    PAYMENT_DECLINED = 30
    DEADLINE_PASSED = 31
    CANCELLED_ON_REQUEST = 32
    # A command about an order changes nothing.
    INVALID_COMMAND = 40
    UNKNOWN_ORDER = 41
    NOT_CONFIRMED = 42
    ALREADY_DECIDED = 43
    UNKNOWN_LINE = 44
    ALREADY_SHIPPED = 45
    NOT_SHIPPED = 46
    RETURN_EXCEEDS_SHIPPED = 47
    IMPORTED_ORDER = 48
    ORDER_TOO_OLD = 49
    # A command about a product changes nothing (COUNT_BELOW_RESERVED: only what was available was written off).
    COUNT_TOO_OLD = 60
    COUNT_BELOW_RESERVED = 61

    @property
    def is_invalid_line(self) -> bool:
        """True for a line that no order may contain: it is dead-lettered as well as refused."""
        return Refusal.INVALID_ORDER_ID <= self <= Refusal.INVALID_TIME


class DeadLetterReason(StrEnum):
    """Why a record, or one item of it, could not be taken at all. Invalid lines carry their Refusal's name instead."""

    NOT_CONFLUENT = "NOT_CONFLUENT"  # no 0x00 and schema ID in front
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"  # a schema ID nobody knows
    UNDECODABLE = "UNDECODABLE"  # the bytes are not what the schema says
    WRONG_RECORD = "WRONG_RECORD"  # a known record that does not belong on this topic
    FOREIGN_RECORD = "FOREIGN_RECORD"  # between stages: what no stage writes, or on another partition than it would
    UNEQUAL_COLUMNS = "UNEQUAL_COLUMNS"  # the arrays of a columnar record differ in length
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"  # a columnar record of more than MAX_ITEMS
    INVALID_COMMAND = "INVALID_COMMAND"  # a command with an impossible ID, kind, quantity or time
    CONFLICTING_ORDER = "CONFLICTING_ORDER"  # a line that contradicts what its order ID already stands for
    ORDER_TOO_OLD = "ORDER_TOO_OLD"  # of an order whose ID is older than rows are kept, and which has none
    REFUND_DECLINED = "REFUND_DECLINED"  # the provider keeps money that an order gives back: people must
    INVALID_ROW = "INVALID_ROW"  # a row of a loaded file that is no order, return or correction


class DeadLetterAction(IntEnum):
    """What an operator does about a dead letter."""

    REDRIVEN = 0
    DISCARDED = 1


class StockCommandKind(IntEnum):
    """Codes of StockCommands.kind and StockMovements.kind; the first eight are StockCommand's enum symbols."""

    RESTOCK = 0
    WRITE_OFF = 1
    FOUND = 2
    COUNT = 3
    FREEZE = 4
    UNFREEZE = 5
    TRACK = 6
    UNTRACK = 7
    # From the orders agent alone, in columnar records.
    RELEASE = 10
    SHIP = 11
    RETURN = 12
    # From `holdfast reconcile` alone, in columnar records, with an ID.
    REHOLD = 13


class OrderCommandKind(IntEnum):
    """The first three are OrderCommand's enum symbols."""

    CANCEL = 0
    SHIP = 1
    RETURN = 2
    # From `holdfast reconcile` alone, in columnar records; it is never refused.
    RESTATE = 10


class OrderStatus(IntEnum):
    """Where an order is. Of the codes only CONFIRMED to RETURNED are ever published."""

    __hash__ = int.__hash__  # an enum's own is Python, and takes longer than what is looked up by it

    UNKNOWN = 0  # nothing has been heard of it, or what was heard is forgotten: such an order has no row
    CANCEL_PENDING = 1  # cancelled before the first line was heard of
    RESERVING = 2  # waiting for the stock agent's answers
    PAYING = 3  # every line held, waiting for the payments agent
    CONFIRMED = 10
    REJECTED = 11
    PAYMENT_FAILED = 12
    EXPIRED = 13
    CANCELLED = 14
    SHIPPED = 20
    RETURNED = 21
    IMPORTED = 30  # decided elsewhere; never published: its outcome has the status that it had there


class LineStatus(IntEnum):
    HELD = 0
    REFUSED = 1
    RELEASED = 2
    SHIPPED = 3
    RETURNED = 4


class OutcomeChange(IntEnum):
    DECIDED = 0
    AMENDED = 1
    SHIPPED = 2
    RETURNED = 3
    IMPORTED = 4


class PaymentKind(IntEnum):
    CHARGE = 0
    REFUND = 1
    FORGET = 2  # no payment: the order is over for so long that its row is forgotten, so the payments agent forgets it too


class PaymentResult(IntEnum):
    PAID = 0
    DECLINED = 1
    REFUNDED = 2


DECISIONS: Final = frozenset({OrderStatus.CONFIRMED, OrderStatus.REJECTED, OrderStatus.PAYMENT_FAILED, OrderStatus.EXPIRED, OrderStatus.CANCELLED})
"""The five ways in which an order can be decided, each order exactly once."""
