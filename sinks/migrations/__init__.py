"""The tables of schemas/views.py, as alembic revisions that run on MariaDB 10.11 and on MySQL 8.4 and 9."""
