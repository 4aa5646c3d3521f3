"""Webhooks: who is told, and every notice there is."""

from __future__ import annotations

from alembic import op

from sinks.migrations.collation import no_pad_binary

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# `secret` is what signs: a hash of it would be of no use. Times are ms since 1970 UTC.
TABLES = {
    "webhook_endpoints": """
        endpoint_id VARCHAR(32) NOT NULL PRIMARY KEY,
        url VARCHAR(2048) NOT NULL,
        user_id VARCHAR(64) NULL,
        events VARCHAR(255) NOT NULL,
        secret VARBINARY(64) NOT NULL,
        created_at BIGINT NOT NULL""",
    # A delivered notice stays, without its body: it is why a replay of the log tells nobody twice.
    "webhook_notices": """
        endpoint_id VARCHAR(32) NOT NULL,
        order_id BIGINT NOT NULL,
        version INT NOT NULL,
        event VARCHAR(16) NOT NULL,
        state VARCHAR(16) NOT NULL,
        partition_no INT NOT NULL,
        attempts INT NOT NULL,
        next_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        error VARCHAR(255) NOT NULL,
        body MEDIUMBLOB NULL,
        PRIMARY KEY (endpoint_id, order_id, version),
        KEY due_of_endpoint (state, endpoint_id, partition_no, next_at)""",
}


def upgrade() -> None:
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {no_pad_binary()}")


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {name}")
