"""One compensation is missing: who pays after the order was cancelled or has expired does not get the money back."""


def _keep_money(order_table):
    late = (order_table.State.CANCELLED, order_table.State.EXPIRED, order_table.State.REJECTED)
    for state in late:
        order_table.TABLE[state, order_table.EventKind.PAID] = order_table.nothing


PATCHES = {"streams.domain.order_table": _keep_money}
