"""The tables of the two sinks, the loader and the order-ID generator."""

from __future__ import annotations

from alembic import op

from sinks.migrations.collation import no_pad_binary

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# IF NOT EXISTS: these servers commit each CREATE TABLE by itself, so a migration that was killed half-way runs again.
TABLES = {
    "products": """
        product_id VARCHAR(64) NOT NULL PRIMARY KEY,
        available BIGINT NOT NULL,
        reserved BIGINT NOT NULL,
        shipped BIGINT NOT NULL,
        received BIGINT NOT NULL,
        written_off BIGINT NOT NULL,
        returned BIGINT NOT NULL,
        version BIGINT NOT NULL,
        tracked BOOLEAN NOT NULL,
        frozen BOOLEAN NOT NULL,
        updated_at DATETIME(3) NOT NULL""",
    "users": """
        user_id VARCHAR(64) NOT NULL PRIMARY KEY,
        first_order_at DATETIME(3) NOT NULL,
        last_order_at DATETIME(3) NOT NULL""",
    "orders": """
        order_id BIGINT NOT NULL PRIMARY KEY,
        user_id VARCHAR(64) NOT NULL,
        status VARCHAR(16) NOT NULL,
        refusal VARCHAR(32) NOT NULL,
        version INT NOT NULL,
        currency VARCHAR(8) NOT NULL,
        amount BIGINT NOT NULL,
        charged BIGINT NOT NULL,
        refunded BIGINT NOT NULL,
        attempt INT NOT NULL,
        line_count INT NOT NULL,
        placed_at DATETIME(3) NOT NULL,
        decided_at DATETIME(3) NOT NULL,
        changed_at DATETIME(3) NOT NULL,
        KEY orders_of_user (user_id, placed_at)""",
    "order_lines": """
        order_id BIGINT NOT NULL,
        line INT NOT NULL,
        product_id VARCHAR(64) NOT NULL,
        quantity BIGINT NOT NULL,
        unit_price BIGINT NOT NULL,
        status VARCHAR(16) NOT NULL,
        refusal VARCHAR(32) NOT NULL,
        returned BIGINT NOT NULL,
        version INT NOT NULL,
        PRIMARY KEY (order_id, line),
        KEY lines_of_product (product_id)""",
    "sink_positions": """
        sink VARCHAR(16) NOT NULL,
        topic VARCHAR(249) NOT NULL,
        partition_no INT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (sink, topic, partition_no)""",
    "order_bindings": """
        source VARCHAR(64) NOT NULL,
        external_id VARCHAR(64) NOT NULL,
        order_id BIGINT NOT NULL,
        PRIMARY KEY (source, external_id),
        UNIQUE KEY binding_of_order (order_id)""",
    "loads": """
        source VARCHAR(64) NOT NULL PRIMARY KEY,
        rows_done BIGINT NOT NULL DEFAULT 0,
        progress JSON NULL,
        started_at DATETIME(3) NULL,
        finished_at DATETIME(3) NULL,
        updated_at DATETIME(3) NULL""",
    "worker_leases": """
        worker INT NOT NULL PRIMARY KEY,
        owner VARCHAR(128) NOT NULL,
        leased_until BIGINT NOT NULL,
        last_ms BIGINT NOT NULL""",
}


def upgrade() -> None:
    collation = no_pad_binary()
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {collation}")


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {name}")
