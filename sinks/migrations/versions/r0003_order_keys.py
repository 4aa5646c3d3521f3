"""Idempotency-Keys of orders."""

from __future__ import annotations

from alembic import op

from sinks.migrations.collation import no_pad_binary

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS order_keys (
        user_id VARCHAR(64) NOT NULL,
        idempotency_key VARCHAR(160) NOT NULL,
        order_id BIGINT NOT NULL,
        body_hash BINARY(16) NOT NULL,
        created_at DATETIME(3) NOT NULL,
        leased_until BIGINT NOT NULL,
        acknowledged BOOLEAN NOT NULL,
        PRIMARY KEY (user_id, idempotency_key),
        UNIQUE KEY key_of_order (order_id)) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {no_pad_binary()}""")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS order_keys")
