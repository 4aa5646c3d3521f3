"""Worker numbers leased from the real database: races, thieves, and a database that is not there."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from ingest.errors import ClockError, LeaseError, StoreError
from ingest.id_leases import WORKERS, LeaseTable
from ingest.order_ids import MAX_STEP_BACK_MS, OrderIds, clock_ms, parts_of
from schemas.views import WORKER_LEASES
from sinks.migrate import migrate
from tests.support.stack import connect, new_database

pytestmark = pytest.mark.live

SPAWN = multiprocessing.get_context("spawn")
LEASE_MS = 10_000


@pytest.fixture(scope="module")
def database(mysql_url: str) -> Iterator[str]:
    with new_database(mysql_url) as url:
        migrate(url)
        yield url


@pytest.fixture(autouse=True)
def _no_leases(database: str) -> None:
    execute(database, f"DELETE FROM {WORKER_LEASES}")


def execute(url: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        connection.commit()
        return list(cursor.fetchall())


def test_ids_increase_and_carry_the_worker_and_the_time(database: str) -> None:
    before = clock_ms()
    with OrderIds(database) as ids:
        taken = ids.take(20_000) + ids.take(1)
        assert {parts_of(i)[1] for i in taken} == {ids.worker}
    assert taken == sorted(set(taken))
    assert before <= parts_of(taken[0])[0] <= parts_of(taken[-1])[0] <= clock_ms()


def test_threads_share_one_generator(database: str) -> None:
    taken: list[int] = []
    with OrderIds(database) as ids:
        threads = [threading.Thread(target=lambda: taken.extend(ids.take(5_000))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(taken)) == 20_000


def race(url: str, rounds: int, pipe: Connection) -> None:
    pipe.recv()
    for _ in range(rounds):
        with OrderIds(url) as ids:
            pipe.send(ids.take(3_000))
    pipe.send(None)


def test_processes_that_race_for_numbers_never_give_the_same_id(database: str) -> None:
    """Each round gives the number back, so the processes keep taking over each other's."""
    pipes, processes = [], []
    for _ in range(2):
        ours, theirs = SPAWN.Pipe()
        processes.append(SPAWN.Process(target=race, args=(database, 8, theirs)))
        pipes.append(ours)
    for process in processes:
        process.start()
    for pipe in pipes:
        pipe.send("go")
    taken = [i for pipe in pipes for some in iter(pipe.recv, None) for i in some]
    for process in processes:
        process.join()
    assert len(taken) == 2 * 8 * 3_000
    assert len(set(taken)) == len(taken)
    used = execute(database, f"SELECT COUNT(*) FROM {WORKER_LEASES}")
    assert used == [(2,)] or used == [(1,)]


def test_two_holders_at_once_have_two_numbers(database: str) -> None:
    with OrderIds(database) as one, OrderIds(database) as two:
        assert one.worker != two.worker


def test_a_number_given_back_is_taken_again_and_nothing_repeats(database: str) -> None:
    with OrderIds(database) as one:
        first = one.take(10_000)
    time.sleep(0.01)
    with OrderIds(database) as two:
        assert two.worker == parts_of(first[0])[1]
        assert two.take(1)[0] > first[-1]


def test_the_number_of_a_crashed_holder_is_free_once_its_lease_has_ended(database: str) -> None:
    leases = LeaseTable(database, 300)
    crashed = leases.acquire(clock_ms())
    assert leases.acquire(clock_ms()).worker != crashed.worker
    time.sleep(0.4)
    heir = leases.acquire(clock_ms())
    assert heir.last_ms == crashed.until_ms or heir.worker != crashed.worker
    assert {leases.acquire(clock_ms()).worker, heir.worker} == {0, 1}


def test_a_stolen_lease_stops_the_former_holder_and_repeats_nothing(database: str) -> None:
    """The thief comes by way of a database clock that runs ahead: the former holder's time is not up by its own."""
    with OrderIds(database, lease_s=600) as robbed:
        before = robbed.take(100)
        execute(database, f"UPDATE {WORKER_LEASES} SET leased_until = 0, last_ms = %s", clock_ms() - 1)
        thief = LeaseTable(database, LEASE_MS).acquire(clock_ms())
        assert thief.worker == parts_of(before[0])[1]
        robbed.renew()
        assert robbed.worker != thief.worker
        assert {parts_of(i)[1] for i in robbed.take(100)} == {robbed.worker}


def test_a_thief_starts_after_everything_the_former_holder_may_still_give(database: str) -> None:
    leases = LeaseTable(database, LEASE_MS)
    former = leases.acquire(clock_ms())
    execute(database, f"UPDATE {WORKER_LEASES} SET leased_until = 0")
    assert leases.acquire(clock_ms()).worker != former.worker, "its promise reaches into the future: nobody may have it yet"
    heir = leases.acquire(former.until_ms)
    assert (heir.worker, heir.last_ms) == (former.worker, former.until_ms)
    assert leases.renew(former, clock_ms()) is None


def test_a_lease_that_could_not_be_renewed_stops_giving_ids(database: str) -> None:
    now = [clock_ms()]
    with OrderIds(database, lease_s=600, clock=lambda: now[0]) as ids:
        ids.take(1)
        execute(database, f"RENAME TABLE {WORKER_LEASES} TO gone")
        now[0] += 600_000
        assert ids.take(1), "the lease still holds"
        now[0] += 1
        with pytest.raises(LeaseError, match=r"is over and could not be renewed: .*worker_leases") as caught:
            ids.take(1)
        assert caught.value.retry_after_s
        execute(database, f"RENAME TABLE gone TO {WORKER_LEASES}")
        assert ids.take(1), "who slept through a lease renews it"


def test_a_process_that_slept_while_its_number_was_taken_over_goes_on_with_another(database: str) -> None:
    now = [clock_ms()]
    with OrderIds(database, lease_s=600, clock=lambda: now[0]) as sleeper:
        (before,) = sleeper.take(1)
        now[0] += 700_000
        execute(database, f"UPDATE {WORKER_LEASES} SET leased_until = 0")
        heir = LeaseTable(database, LEASE_MS).acquire(now[0])
        assert heir.worker == parts_of(before)[1]
        assert parts_of(sleeper.take(1)[0])[1] != heir.worker


def test_a_clock_that_steps_back_is_waited_out_or_refused(database: str) -> None:
    now = [clock_ms()]

    def creeping() -> int:
        now[0] += 1
        return now[0]

    with OrderIds(database, lease_s=600, clock=creeping) as ids:
        (first,) = ids.take(1)
        now[0] -= 20
        (second,) = ids.take(1)
        assert second > first
        now[0] -= MAX_STEP_BACK_MS + 10
        with pytest.raises(ClockError, match="behind the last ID given"):
            ids.take(1)


def test_renewal_goes_on_in_the_background(database: str) -> None:
    with OrderIds(database, lease_s=1.5):
        seen: set[object] = set()
        while len(seen) < 3:
            seen.update(execute(database, f"SELECT leased_until, last_ms FROM {WORKER_LEASES}"))
            time.sleep(0.05)


def test_when_every_number_is_leased_it_says_so(database: str) -> None:
    with connect(database) as connection, connection.cursor() as cursor:
        rows = [(n, "somebody", clock_ms() + 60_000, 0) for n in range(WORKERS)]
        cursor.executemany(f"INSERT INTO {WORKER_LEASES} (worker, owner, leased_until, last_ms) VALUES (%s, %s, %s, %s)", rows)
        connection.commit()
    with pytest.raises(LeaseError, match="all 1,024 are leased"):
        OrderIds(database)


def test_a_forked_copy_gives_nothing(database: str) -> None:
    with OrderIds(database) as ids:
        ids.take(1)
        child = os.fork()
        if not child:
            try:
                ids.take(1)
            except LeaseError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 ") as caught:
        OrderIds("mysql://user:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)


def test_a_database_without_tables_names_the_table(fresh_database: str) -> None:
    with pytest.raises(StoreError, match=WORKER_LEASES):
        OrderIds(fresh_database)
