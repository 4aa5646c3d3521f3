"""The collation of every table."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

# Product IDs and keys differ by case alone, and `X` and `X ` are two: a binary collation that does not pad.
# Each of the two servers has one, under a name of its own.
NO_PAD_BINARY = """
    SELECT collation_name FROM information_schema.collations
    WHERE collation_name IN ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin') ORDER BY collation_name DESC LIMIT 1"""


def no_pad_binary() -> str:
    """Return its name on the server that is migrated."""
    return str(op.get_bind().execute(text(NO_PAD_BINARY)).scalar_one())
