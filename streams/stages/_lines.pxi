# Order lines on the wire, for the compiled modules beside it, which include this: what is read of them, and whether they are valid.
from libc.string cimport memchr, memset

from schemas.currencies import CURRENCIES
from schemas.outcomes import MAX_AMOUNT, MAX_ID_LENGTH, MAX_LINES, MAX_PRICE, MAX_QUANTITY, MAX_TIME, MAX_TOKEN_LENGTH

include "_columns.pxi"

cdef enum:
    ORDER_ID, LINE, LINE_COUNT, PRODUCT_ID, QUANTITY, UNIT_PRICE, CURRENCY, USER_ID, PAYMENT_TOKEN, PLACED_AT, FIELDS
cdef enum:
    LETTERS = 26
cdef enum:
    MOST_KEY = 256  # bytes of 64 characters

cdef int64_t _MAX_AMOUNT = MAX_AMOUNT, _MAX_PRICE = MAX_PRICE, _MAX_QUANTITY = MAX_QUANTITY, _MAX_TIME = MAX_TIME
cdef int _MAX_LINES = MAX_LINES, _MAX_ID = MAX_ID_LENGTH, _MAX_TOKEN = MAX_TOKEN_LENGTH
cdef uint8_t _currencies[LETTERS * LETTERS * LETTERS]


cdef int _currency_number(const uint8_t *code) noexcept nogil:
    """Return the place of three capital letters in `_currencies`; -1 for anything else."""
    cdef int number = 0, i
    for i in range(3):
        if not 65 <= code[i] <= 90:
            return -1
        number = number * LETTERS + code[i] - 65
    return number


def _note_currencies():
    memset(_currencies, 0, LETTERS * LETTERS * LETTERS)
    for currency in CURRENCIES:
        code = currency.encode()
        _currencies[_currency_number(code)] = 1


_note_currencies()


cdef struct Line:
    const uint8_t *raw[FIELDS]  # the item as it stands on the wire
    uint32_t size[FIELDS]
    int64_t number[FIELDS]  # of a text: its length in bytes
    uint32_t row


cdef inline bint _is_text(int field) noexcept nogil:
    return field == PRODUCT_ID or CURRENCY <= field <= PAYMENT_TOKEN


cdef inline int _read_item(In *source, Line *line, int field) noexcept nogil:
    cdef int64_t number
    line.raw[field] = source.at
    if get_long(source, &number):
        return -1
    if _is_text(field):
        if number < 0 or number > source.end - source.at:
            return -1
        source.at += number
    line.number[field] = number
    line.size[field] = <uint32_t>(source.at - line.raw[field])
    return 0


cdef inline const uint8_t *_text_of(Line *line, int field) noexcept nogil:
    return line.raw[field] + line.size[field] - line.number[field]


cdef int _read_columns(In *source, Line *lines) noexcept nogil:
    """Read OrderLines, each array in one block; return how many lines, or -1 if it is none."""
    cdef int field
    cdef int64_t size, count = 0, i
    for field in range(FIELDS):
        if get_long(source, &size) or not 0 < size <= _MAX_ITEMS or field and size != count:
            return -1
        count = size
        for i in range(count):
            if _read_item(source, &lines[i], field):
                return -1
        if get_long(source, &size) or size:
            return -1
    return <int>count


cdef bint _is_valid(Line *line) except -1:
    """As `check_line` of streams/domain/order_line.py."""
    cdef int64_t *number = line.number
    cdef int code
    if not (
        0 < number[ORDER_ID] and 0 < number[LINE] <= number[LINE_COUNT] <= _MAX_LINES and 0 < number[QUANTITY] <= _MAX_QUANTITY
        and 0 <= number[UNIT_PRICE] <= _MAX_PRICE and number[QUANTITY] * number[UNIT_PRICE] <= _MAX_AMOUNT and 0 <= number[PLACED_AT] <= _MAX_TIME
        and number[CURRENCY] == 3 and number[PRODUCT_ID] <= MOST_KEY
    ):
        return False
    code = _currency_number(_text_of(line, CURRENCY))
    if code < 0 or not _currencies[code] or memchr(_text_of(line, PRODUCT_ID), 0, number[PRODUCT_ID]) != NULL:
        return False
    if not (0 < _length_of(line, PRODUCT_ID) <= _MAX_ID and 0 < _length_of(line, USER_ID) <= _MAX_ID):
        return False
    return 0 <= _length_of(line, PAYMENT_TOKEN) <= _MAX_TOKEN


cdef int _length_of(Line *line, int field) except -2:
    return _characters(_text_of(line, field), line.number[field])
