"""Runs the revisions on the connection that sinks/migrate.py opened."""

from alembic import context
from sqlalchemy import Connection

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection), "run `holdfast migrate`: it opens the connection"
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
