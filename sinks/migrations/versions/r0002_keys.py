"""API keys of the gateway."""

from __future__ import annotations

from alembic import op

from sinks.migrations.collation import no_pad_binary

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS api_keys (
        key_id VARCHAR(32) NOT NULL PRIMARY KEY,
        secret_hash BINARY(32) NOT NULL,
        name VARCHAR(128) NOT NULL,
        user_id VARCHAR(64) NULL,
        scopes VARCHAR(64) NOT NULL,
        rate DOUBLE NULL,
        burst BIGINT NULL,
        created_at DATETIME(3) NOT NULL,
        expires_at DATETIME(3) NULL,
        revoked_at DATETIME(3) NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {no_pad_binary()}""")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS api_keys")
