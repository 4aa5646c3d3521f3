"""Order IDs: 63 bits, unique, and increasing with time.

    41 bits: ms since 2026-01-01 UTC  |  10 bits: worker number  |  12 bits: sequence within the ms

The first part is pure: time is an argument. `OrderIds` is the thin shell: a leased worker number, a clock, a lock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple

from ingest.errors import ClockError, IngestError, LeaseError, StoreError
from ingest.id_leases import Lease, LeaseTable
from schemas.order_times import EPOCH_MS, born
from schemas.partitions import order_partitions

TIME_BITS: Final = 41
WORKER_BITS: Final = 10
SEQUENCE_BITS: Final = 12
MAX_SEQUENCE: Final = (1 << SEQUENCE_BITS) - 1
MAX_STEP_BACK_MS: Final = 2_000
"""A clock that steps back by at most this is waited out; further, no ID is given until a person has looked."""
LEASE_S: Final = 10.0

log = logging.getLogger(__name__)


class IdState(NamedTuple):
    """What a generator has given out. No ID beyond `until_ms` may be given: whoever has the number next starts there."""

    worker: int
    last_ms: int
    sequence: int
    until_ms: int


class Taken(NamedTuple):
    """IDs given at one moment, fewer than asked for where `wait_ms` is over 0: ask for the rest after it."""

    state: IdState
    ids: range
    wait_ms: int


def next_ids(state: IdState, now_ms: int, n: int) -> Taken:
    """Give up to `n` IDs at `now_ms`; raises ClockError or LeaseError where waiting a little does not help."""
    _check_clock(state, now_ms)
    if now_ms < state.last_ms:
        return Taken(state, range(0), state.last_ms - now_ms)
    if now_ms > state.until_ms:
        raise LeaseError(f"the lease of worker number {state.worker} could not be renewed: is the database up?", retry_after_s=1.0)
    first = state.sequence + 1 if now_ms == state.last_ms else 0
    count = min(n, MAX_SEQUENCE + 1 - first)
    if count <= 0:
        return Taken(state, range(0), 1 if n > 0 else 0)
    base = compose(now_ms, state.worker, first)
    after = state._replace(last_ms=now_ms, sequence=first + count - 1)
    return Taken(after, range(base, base + count), 1 if count < n else 0)


def compose(ms: int, worker: int, sequence: int) -> int:
    """Return the ID of these three parts; `ms` since 1970-01-01 UTC."""
    return (ms - EPOCH_MS) << (WORKER_BITS + SEQUENCE_BITS) | worker << SEQUENCE_BITS | sequence


def parts_of(order_id: int) -> tuple[int, int, int]:
    """Return an ID's ms since 1970-01-01 UTC, worker number and sequence."""
    worker = order_id >> SEQUENCE_BITS & (1 << WORKER_BITS) - 1
    return born(order_id), worker, order_id & MAX_SEQUENCE


class IdPools:
    """IDs by the partition of their order (pure), so that an order can have one that lies where its first product's stock does.

    Its answers from the stock agent then go to one partition (docs/decisions/0007-partitions-cost-latency.md). IDs of a partition increase.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._pools: list[deque[int]] = [deque() for _ in range(partitions)]

    def add(self, ids: Sequence[int]) -> None:
        """Take new IDs in."""
        for order_id, partition in zip(ids, order_partitions(ids, self.partitions), strict=True):
            self._pools[partition].append(order_id)

    def pop(self, partition: int) -> int | None:
        """Return an ID of this partition, None if there is none at hand."""
        pool = self._pools[partition]
        return pool.popleft() if pool else None

    def pop_all(self, wanted: Sequence[int]) -> list[int]:
        """Return IDs for the wanted partitions in turn, up to the first for which there is none."""
        pools, found = self._pools, list[int]()
        for partition in wanted:
            pool = pools[partition]
            if not pool:
                break
            found.append(pool.popleft())
        return found

    def left(self, partition: int) -> int:
        """Return how many IDs of this partition are at hand."""
        return len(self._pools[partition])


def matched(wanted: Sequence[int], partitions: int, take: Callable[[int], list[int]]) -> list[int]:
    """Return an ID for each wanted partition, in turn; `take` gives new IDs, of which those that fit nothing are dropped."""
    pools, found = IdPools(partitions), dict[int, int]()
    lacking = list(range(len(wanted)))
    while lacking:
        # As many as the most wanted partition probably needs.
        most = max(Counter(wanted[at] for at in lacking).values())
        pools.add(take(min(max(most * partitions, len(lacking)), MAX_SEQUENCE + 1)))
        for at in lacking:
            if (order_id := pools.pop(wanted[at])) is not None:
                found[at] = order_id
        lacking = [at for at in lacking if at not in found]
    return [found[at] for at in range(len(wanted))]


def _check_clock(state: IdState, now_ms: int) -> None:
    if not 0 < now_ms - EPOCH_MS < 1 << TIME_BITS:
        raise ClockError(f"the clock says {now_ms} ms, but IDs can only be given from 2026-01-01 to 2095: set the clock")
    behind = state.last_ms - now_ms
    if behind > MAX_STEP_BACK_MS:
        raise ClockError(f"the clock is {behind} ms behind the last ID given (worker number {state.worker}): set the clock, or start again for another number")


def start_of(lease: Lease) -> IdState:
    """Return the state in which a new holder begins: after every ID that an earlier holder can have given."""
    return IdState(lease.worker, lease.last_ms, MAX_SEQUENCE, lease.until_ms)


def clock_ms() -> int:
    """Return the time in ms since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


class OrderIds:
    """Gives order IDs; safe to use from several threads, not across a fork. Use as a context manager, or `close()`.

    Leases a worker number when made (raises LeaseError, ConfigError, StoreError), renews it in the background, and takes
    another number should the lease be lost. While the lease is over and cannot be renewed, `take` raises LeaseError.
    """

    def __init__(self, mysql_url: str, *, lease_s: float = LEASE_S, clock: Callable[[], int] = clock_ms) -> None:
        self._leases = LeaseTable(mysql_url, int(lease_s * 1000))
        self._clock = clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._lease = self._leases.acquire(clock())
        self._state = start_of(self._lease)
        self._stop = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_closed, args=(lease_s / 3,), name="order-id-lease", daemon=True)
        self._renewer.start()

    @property
    def worker(self) -> int:
        """The worker number leased now, 0..1023."""
        return self._lease.worker

    def take(self, n: int) -> list[int]:
        """Return `n` new IDs, increasing unless the worker number changed in between; raises ClockError or LeaseError."""
        ids: list[int] = []
        while len(ids) < n:
            try:
                taken = self._take_now(n - len(ids))
            except LeaseError:
                self._renew_or_say_why()
                taken = self._take_now(n - len(ids))
            ids.extend(taken.ids)
            if taken.wait_ms:
                time.sleep(taken.wait_ms / 1000)
        return ids

    def take_for(self, wanted: Sequence[int], partitions: int) -> list[int]:
        """Return a new ID per wanted partition: its order then lies on that one of `partitions`. Raises like `take`."""
        return matched(wanted, partitions, self.take)

    def close(self) -> None:
        """Stop renewing and give the worker number back; a database that is down keeps it until the lease ends."""
        self._stop.set()
        self._renewer.join()
        with self._lock:
            state, self._state = self._state, self._state._replace(until_ms=0)
        try:
            self._leases.release(self._lease, state.last_ms)
        except IngestError as error:
            log.warning("worker number %d stays leased until its time is up: %s", self._lease.worker, error)

    def _take_now(self, n: int) -> Taken:
        if os.getpid() != self._pid:
            raise LeaseError("this generator was made before the process forked, and its IDs would be given twice: make one in each process")
        with self._lock:
            taken = next_ids(self._state, self._clock(), n)
            self._state = taken.state
        return taken

    def _renew_or_say_why(self) -> None:
        """A process that slept through its lease needs no more than a renewal."""
        if os.getpid() != self._pid or self._stop.is_set():
            return
        try:
            self.renew()
        except StoreError as error:
            raise LeaseError(f"the lease of worker number {self._lease.worker} is over and could not be renewed: {error}", retry_after_s=1.0) from error

    def _renew_until_closed(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            try:
                self.renew()
            except IngestError as error:
                log.warning("worker number %d was not renewed: %s", self._lease.worker, error)

    def renew(self) -> None:
        """Renew the lease now, or take another number if somebody else has ours; raises LeaseError or StoreError."""
        with self._renewing:
            renewed = self._leases.renew(self._lease, self._clock())
            if renewed:
                with self._lock:
                    self._lease, self._state = renewed, self._state._replace(until_ms=renewed.until_ms)
                return
            log.warning("worker number %d now belongs to somebody else: taking another", self._lease.worker)
            lease = self._leases.acquire(self._clock())
            with self._lock:
                self._lease, self._state = lease, start_of(lease)

    def __enter__(self) -> OrderIds:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
