# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The plain way of a charge through the payments stage in C: an order's first request, answered by the provider at once.

As in `_orders.pyx`: a record is taken only if all of it is as a stage writes it, and every item of it that is not of the plain way (a refund, a repeated request, an
order that is known) is given to the plain path, `streams/stages/payments.py`, by itself, in its turn.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_Contains
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdlib cimport free, malloc

from schemas import codec
from schemas.outcomes import PaymentKind
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_STATE
from streams.domain.payment import Pending, Request, is_request
from streams.runtime.records import Write

from schemas._wire cimport Out, put_long, release

include "_columns.pxi"
include "_money.pxi"

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

VERSION = 1

cdef enum:
    KINDS = 3
cdef object _new = tuple.__new__
cdef tuple _KINDS = tuple(PaymentKind)
cdef object _CHARGE = PaymentKind.CHARGE
cdef int _CHARGED = PaymentKind.CHARGE
cdef bytes _ROW_HEAD = codec.head("PaymentRow"), _REQUESTS_HEAD = codec.head("PaymentRequests")
cdef bint _is_asked[KINDS][2]  # by kind, and whether the sequence is over 0


def _note_kinds():
    assert _KINDS == tuple(range(KINDS))
    for kind in range(KINDS):
        _is_asked[<int>kind][0], _is_asked[<int>kind][1] = is_request(kind, 0), is_request(kind, 1)


_note_kinds()


cdef class PlainWay:
    """Of one task: it reads and writes the stage's rows, and what the batch says."""

    cdef int partition, partitions
    cdef object stage, batch, rows, cold, said
    cdef dict written
    cdef Money *items
    cdef Out scratch

    def __cinit__(self, *_):
        self.items = <Money *>malloc(_MAX_ITEMS * sizeof(Money))
        if self.items == NULL:
            raise MemoryError

    def __init__(self, stage):
        self.partition, self.partitions = stage.place
        self.written = {}

    def __dealloc__(self):
        free(self.items)
        release(&self.scratch)

    def begin(self, batch, now):  # noqa: ARG002
        """Begin a batch."""
        self.stage, self.rows = batch.stage, batch.rows
        self.batch, self.said, self.cold, self.written = batch, batch.said, self.rows.cold, {}

    def leave(self, number):
        """Rows are written as soon as they are made, so every one is to be found."""

    def amend(self, number):
        """Nothing is said of a payment twice."""
        return False

    def take(self, record):
        """Decide all that a record asks; False, with nothing done, if that is not to be done here."""
        value, topic = <object>PyTuple_GET_ITEM(record, 4), <object>PyTuple_GET_ITEM(record, 0)
        if type(value) is not bytes or topic != PAYMENT_REQUESTS.name or not _begins(<bytes>value, _REQUESTS_HEAD):
            return False
        return self._take(record, <bytes>value)

    cdef bint _take(self, record, bytes value) except -1:
        cdef In source = _body(value)
        cdef const uint8_t *kinds = NULL
        cdef int count = _read_money(&source, self.items, &kinds)
        cdef int64_t time
        if count < 0 or not (_read_texts(&source, self.items, count, TOKEN) and _read_texts(&source, self.items, count, USER)):
            return False
        if get_long(&source, &time) or source.at != source.end or not _are_requests(self.items, kinds, count):
            return False
        if _home(self.items[0].order_id, self.partitions) != self.partition:
            return False
        self._answer_all(record, [self._request(i, kinds[i]) for i in range(count)])
        return True

    cdef object _request(self, int i, int kind):
        cdef Money *item = &self.items[i]
        cdef Text *texts = item.texts
        fields = (_KINDS[kind], item.order_id, item.attempt, item.sequence, item.amount, _str_of(&texts[MONEY_CURRENCY]), _str_of(&texts[TOKEN]), _str_of(&texts[USER]))
        return _new(Request, fields)

    cdef int _answer_all(self, record, list requests) except -1:
        """Ask for all first charges in one go, then answer one request after the other."""
        cdef list keys = self._keys_of_first(requests)
        answers = iter(self.stage.provider.ask([request for request, key in zip(requests, keys) if key is not None]))
        for index, (request, key) in enumerate(zip(requests, keys)):
            if key is None:
                self.batch.request(record, index, request)
                continue
            answer = next(answers)
            if answer is None:
                self.batch.wait(None, _new(Pending, (request, self.batch.now, record.offset, index)))
            else:
                self._enter(request, key, answer)
        return 0

    cdef list _keys_of_first(self, list requests):
        """Return the key of each request that is the first that is ever heard of its order, and a charge; None for any other."""
        cdef set seen = set()
        cdef list keys = []
        for request in requests:
            number = <object>PyTuple_GET_ITEM(request, 1)
            key = None
            if <object>PyTuple_GET_ITEM(request, 0) is _CHARGE and number not in seen and not PyDict_Contains(self.rows, number):
                key = b"%d" % number
                key = None if PyDict_Contains(self.cold, key) else key
            seen.add(number)
            keys.append(key)
        return keys

    cdef int _enter(self, request, key, answer) except -1:
        """As `record`, and what the stage says of it."""
        number, result, reason = <object>PyTuple_GET_ITEM(request, 1), answer.result, answer.reason
        row = self._row(number, request.attempt, request.amount, result, reason)
        self.cold[key] = row
        self.batch.touched.discard(number)
        self.written[number] = _new(Write, (PAYMENT_STATE, self.partition, key, row))
        self.said.append((*request[:6], result, reason))
        return 0

    cdef bytes _row(self, int64_t number, int64_t attempt, int64_t amount, int result, reason):
        """As `to_row` of a payment with one charge."""
        cdef Out *out = &self.scratch
        cdef Py_ssize_t size = 0
        cdef const char *text = PyUnicode_AsUTF8AndSize(reason, &size)
        cdef uint8_t code = <uint8_t>result
        cdef int i
        _begin(out, _ROW_HEAD)
        put_long(out, number)
        put_long(out, 0)
        put_long(out, 1)
        put_long(out, attempt)
        put_long(out, 0)
        put_long(out, 1)
        put_long(out, amount)
        put_long(out, 0)
        put_long(out, 1)
        put_bytes(out, &code, 1)
        put_long(out, 1)
        put_long(out, size)
        put_bytes(out, text, size)
        for i in range(5):  # no other reason, nothing given back, nothing pending
            put_long(out, 0)
        return PyBytes_FromStringAndSize(<char *>out.data, out.size)

    def changed(self, touched):
        """Return the writes of all rows that the batch changed; `touched` are those that the plain path has changed, since they were made here."""
        written, batch = self.written, self.batch
        self.written = {}
        self.batch = self.stage = self.rows = self.said = self.cold = None  # the stage holds this: both are gone as soon as nobody else has them
        if not touched:
            return [written[number] for number in sorted(written)]
        return [batch.changed(number) if number in touched else written[number] for number in sorted(touched.union(written))]


cdef bint _are_requests(Money *items, const uint8_t *kinds, int count) noexcept:
    """As `foreign.fault_of`, of each item."""
    cdef int i
    for i in range(count):
        if kinds[i] >= KINDS or not _is_counted(&items[i]) or items[i].amount < 1 or items[i].sequence < 0:
            return False
        if not _is_asked[kinds[i]][items[i].sequence > 0]:
            return False
    return True
