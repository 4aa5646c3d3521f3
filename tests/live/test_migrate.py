"""`holdfast migrate` on the real server."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from holdfast.cli import main
from schemas import views
from sinks import batch
from sinks.errors import SinkError
from sinks.migrate import MIGRATIONS, Migration, migrate, newest_revision
from sinks.mysql_sink import MysqlStore
from tests.support.outputs import expected, in_mysql, outcome, records
from tests.support.stack import connect

pytestmark = pytest.mark.live
EVERY = tuple(sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("r*.py")))


def test_migrating_makes_the_tables_of_views_and_a_second_run_changes_nothing(fresh_database):
    assert migrate(fresh_database) == Migration(None, newest_revision(), EVERY)
    assert migrate(fresh_database) == Migration(newest_revision(), newest_revision(), ())
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        for table, columns in (
            (views.PRODUCTS, views.PRODUCT_COLUMNS),
            (views.USERS, views.USER_COLUMNS),
            (views.ORDERS, views.ORDER_COLUMNS),
            (views.ORDER_LINES, views.ORDER_LINE_COLUMNS),
        ):
            cursor.execute(f"SELECT * FROM {table}")
            assert tuple(c[0] for c in cursor.description) == columns


def test_programs_that_migrate_at_once_do_it_once(fresh_database, tmp_path):
    program = "import sys; from sinks.migrate import migrate; print(len(migrate(sys.argv[1]).applied))"
    running = [subprocess.Popen([sys.executable, "-c", program, fresh_database], stdout=subprocess.PIPE) for _ in range(3)]
    assert sorted(int(each.communicate()[0]) for each in running) == [0, 0, len(EVERY)]


def test_a_migration_killed_half_way_runs_again(fresh_database):
    migrate(fresh_database)
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE alembic_version, {views.ORDER_LINES}")
    assert migrate(fresh_database).before is None
    store = MysqlStore(fresh_database)
    store.write(batch.fold(records([outcome(1)])), {})
    assert in_mysql(fresh_database) == expected([outcome(1)])
    store.close()


def test_a_database_of_a_newer_program_is_left_alone(fresh_database):
    migrate(fresh_database)
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(SinkError, match="newer than this program"):
        migrate(fresh_database)


def test_the_command_says_what_it_did(fresh_database, monkeypatch):
    monkeypatch.setenv("HOLDFAST_MYSQL", fresh_database)
    first, second, words = (CliRunner().invoke(main, ["migrate", *options]) for options in (["--json"], ["--json"], []))
    assert json.loads(first.stdout) == {"before": None, "after": newest_revision(), "applied": list(EVERY)}
    assert json.loads(second.stdout) == {"before": newest_revision(), "after": newest_revision(), "applied": []}
    assert words.stdout == f"the tables are at revision {newest_revision()}, as before\n"


@pytest.mark.parametrize("url", ["mysql://u:secret@127.0.0.1:1/d", "mysql://u:secret@127.0.0.1"])
def test_the_command_exits_1_without_the_password(url, monkeypatch):
    monkeypatch.setenv("HOLDFAST_MYSQL", url)
    done = CliRunner().invoke(main, ["migrate"])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "secret" not in done.output + done.stderr
