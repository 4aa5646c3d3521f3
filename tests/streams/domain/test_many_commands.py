"""Very many commands about one order: each has its answer, also those that the bounded memory cannot hold."""

from streams.domain import order as saga
from streams.domain.order_state import REMEMBERED_COMMANDS
from tests.streams.domain.events import NOW, ORDER, TIME_UP, TIMEOUT, cancel, line


def _hear(events: list[saga.Event]) -> tuple[saga.Order | None, list[saga.Effect]]:
    order: saga.Order | None = None
    effects: list[saga.Effect] = []
    for event in events:
        late = NOW + TIMEOUT if isinstance(event, saga.Deadline) else NOW
        order, follows = saga.decide(order, event, late, TIMEOUT)
        effects += follows
    return order, effects


def _refused(effects: list[saga.Effect]) -> list[str]:
    return sorted(effect.command.command_id for effect in effects if isinstance(effect, saga.RefuseCommand))


def test_every_cancel_of_an_order_that_never_comes_is_refused_once() -> None:
    cancels = [cancel(f"c{n:04}") for n in range(10 * REMEMBERED_COMMANDS)]
    order, effects = _hear([*cancels, TIME_UP])
    assert order is None
    assert _refused(effects) == [c.command_id for c in cancels]


def test_an_order_that_comes_after_very_many_cancels_is_cancelled() -> None:
    order, effects = _hear([*(cancel(f"c{n:04}") for n in range(2 * REMEMBERED_COMMANDS)), line(1, of=1)])
    assert order is not None
    assert (order.order_id, order.status.name) == (ORDER, "CANCELLED")
    assert len(_refused(effects)) == REMEMBERED_COMMANDS
