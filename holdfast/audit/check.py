"""The whole audit over what was read: pure, so every check can be tested without a server."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.audit.acknowledged import Journals
from holdfast.audit.answers import Answers, check_conflicts, check_rejections
from holdfast.audit.commands import StockCommands
from holdfast.audit.dead_letters import DeadLetters
from holdfast.audit.holds import Holds
from holdfast.audit.journals import Journal
from holdfast.audit.log import Log
from holdfast.audit.old_orders import OldOrders, beginning
from holdfast.audit.order_commands import OrderCommands
from holdfast.audit.order_rows import check_order_rows
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.payment_rows import PaymentRows
from holdfast.audit.payments import Payments
from holdfast.audit.positions import check_positions, check_store_positions
from holdfast.audit.products import Products
from holdfast.audit.progress import Progress
from holdfast.audit.report import Report
from holdfast.audit.rows import StoreRows
from holdfast.audit.stores import Stores


def check(
    log: Log,
    stores: Stores | None = None,
    journals: Sequence[Journal] = (),
    *,
    live: bool = False,
    complete: bool = False,
    progress: Progress = lambda _what, _done, _total: None,
) -> Report:
    """Check every promise; without `stores` all but I6. `live` allows what is still under way.

    `journals` are what clients wrote down; `complete`: nobody else sent anything.
    """
    report = Report(shown=log.generations.shown)
    log.leave_out_foreign()
    progress("checking products", 0, 0)
    products = Products(log, report, live=live)
    products.check()
    progress("checking orders", 0, 0)
    outcomes = Outcomes(log, report, live=live)
    outcomes.check()
    check_order_rows(log, report, outcomes, live=live)
    old = OldOrders(log, report, outcomes, live=live)
    old.check()
    progress("checking holds", 0, 0)
    holds = Holds(log, report, outcomes, live=live)
    holds.check(products.reserved, old.entitled())
    progress("checking answers", 0, 0)
    _check_answers(log, report, outcomes, holds, live=live)
    if journals:
        Journals(log, report, outcomes, live=live, complete=complete).check(journals, progress)
    progress("checking stores", 0, 0)
    if stores is not None:
        StoreRows(log, stores, report, outcomes, live=live).check()
        old.check_stores(stores)
        check_store_positions(log, stores, report, live=live)
    if log.begins_at:
        report.notes += beginning(log, products.opened, old)
    return report


def _check_answers(log: Log, report: Report, outcomes: Outcomes, holds: Holds, *, live: bool) -> None:
    letters = DeadLetters(log, report, live=live)
    letters.check()
    answers = Answers(log, report, letters, live=live)
    answers.check()
    check_rejections(log, report, answers, outcomes)
    StockCommands(log, report, letters, live=live).check()
    OrderCommands(log, report, letters, outcomes, live=live).check()
    Payments(log, report, outcomes, holds, letters).check()
    PaymentRows(log, report, live=live).check()
    if not live:
        check_conflicts(log, report, outcomes, letters)
        check_positions(log, report)
