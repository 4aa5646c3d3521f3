# PaymentRequests and PaymentResults on the wire, for the compiled modules beside it, which include this: the columns that both have, and texts.
from streams.domain.payment import MAX_ATTEMPT

cdef enum:
    MONEY_CURRENCY, TOKEN, USER, TEXTS
cdef enum:
    REASON = TOKEN
cdef int _MAX_ATTEMPT = MAX_ATTEMPT


cdef struct Money:
    int64_t order_id
    int64_t attempt
    int64_t sequence
    int64_t amount
    Text texts[TEXTS]


cdef inline int _read_money(In *source, Money *items, const uint8_t **kinds) except -2:
    """Read the columns from `kind` to `currency`, each in one block; return how many items there are, or -1 for anything else."""
    cdef int64_t count, size
    cdef int i, column
    if get_long(source, &count) or not 0 < count <= _MAX_ITEMS or source.end - source.at < count:
        return -1
    kinds[0] = source.at
    source.at += count
    for column in range(4):
        if get_long(source, &size) or size != count:
            return -1
        for i in range(count):
            if not _read_number(source, &items[i], column):
                return -1
        if get_long(source, &size) or size:
            return -1
    return <int>count if _read_texts(source, items, <int>count, MONEY_CURRENCY) else -1


cdef inline bint _read_number(In *source, Money *item, int column) noexcept nogil:
    if column == 0:
        return get_long(source, &item.order_id) == 0
    if column == 1:
        return get_long(source, &item.attempt) == 0 and _LEAST_INT <= item.attempt <= _LARGEST_INT
    if column == 2:
        return get_long(source, &item.sequence) == 0 and _LEAST_INT <= item.sequence <= _LARGEST_INT
    return get_long(source, &item.amount) == 0


cdef inline bint _read_texts(In *source, Money *items, int count, int column) except -1:
    """Read a column of texts in one block; False for anything else."""
    cdef int64_t size
    cdef int i
    if get_long(source, &size) or size != count:
        return False
    for i in range(count):
        if not _read_text(source, &items[i].texts[column]):
            return False
    return get_long(source, &size) == 0 and size == 0


cdef inline bint _is_counted(Money *item) noexcept nogil:
    """Whether an order has this ID, and may have this attempt."""
    return item.order_id > 0 and 0 < item.attempt <= _MAX_ATTEMPT
