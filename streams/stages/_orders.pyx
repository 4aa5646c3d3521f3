# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The plain way of an order through the orders stage in C, from wire bytes to wire bytes: its lines are held, its money is asked for and paid, it is confirmed, and shipped
whole; or a line is refused for stock, and the others' units go back.

A row that only this way has touched is kept as the bytes that the changelog has of it: read, changed and written again once per batch, with no Python object per
line. A record is taken only if all of it is as a stage writes it; any other is left whole to the plain path, `streams/stages/orders.py`. Of a record that is taken,
every item that is not of the plain way (an invalid line, a duplicate, a contradiction, an order that is a Python object already) is given to the plain path by itself, in its
turn. What is done here is what first_held, held, ask_charge, paid, ship, first_refused, refused, late_held and late_refused of streams/domain do; tests hold the two against each other.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_GetItem
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import json
from heapq import heappush

from schemas import codec
from schemas.order_times import BELOW_TIME_BITS, EPOCH_MS
from schemas.outcomes import (
    MAX_ACTOR_LENGTH, MAX_COMMAND_ID_LENGTH, LineStatus, OrderCommandKind, OrderStatus, PaymentKind, PaymentResult, Refusal, StockCommandKind,
)
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDER_STATE, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS
from streams.domain.order_events import LineAnswer, OrderCommand, PaymentAnswer, is_payment_answer
from streams.runtime.records import Write

from schemas._wire cimport Out, digits, hashed, put_bytes, put_long, release, reserve

include "_lines.pxi"
include "_money.pxi"
include "_outbox.pxi"

VERSION = 3

cdef enum:
    CODES = 4  # kinds of payments and their results are below
cdef enum:
    MOST_LINES = 1_000
cdef enum:
    LINE_STATUSES = 5
cdef enum:
    STATUSES = 64
cdef int _SHIPPED = OrderStatus.SHIPPED, _SHIP = OrderCommandKind.SHIP, _MAX_COMMAND_ID = MAX_COMMAND_ID_LENGTH
cdef uint8_t _HELD_LINE = LineStatus.HELD, _REFUSED_LINE = LineStatus.REFUSED, _RELEASED_LINE = LineStatus.RELEASED, _SHIPPED_LINE = LineStatus.SHIPPED
cdef uint8_t _SHIP_UNITS = StockCommandKind.SHIP, _RELEASE_UNITS = StockCommandKind.RELEASE, _ASKED = PaymentKind.CHARGE
cdef int _REJECTED = OrderStatus.REJECTED, _FROZEN = Refusal.PRODUCT_FROZEN, _TOO_FEW = Refusal.INSUFFICIENT_STOCK
cdef int _RESERVING = OrderStatus.RESERVING, _PAYING = OrderStatus.PAYING, _CONFIRMED = OrderStatus.CONFIRMED
cdef int _CHARGE = PaymentKind.CHARGE, _PAID = PaymentResult.PAID
cdef int64_t _EPOCH_MS = EPOCH_MS
cdef int _BELOW_TIME_BITS = BELOW_TIME_BITS
cdef uint8_t _of_valid_line[256]
cdef bint _payment_answers[CODES][CODES]
cdef object _new = tuple.__new__
cdef tuple _DECISION = (OrderStatus.CONFIRMED.name, "")
cdef object _REJECTED_NAME = OrderStatus.REJECTED.name
cdef bytes _ROW_HEAD = codec.head("OrderRow"), _OUTCOME_HEAD = codec.head("OrderOutcome")
cdef bytes _ANSWERS_HEAD = codec.head("StockDecisions"), _RESULTS_HEAD = codec.head("PaymentResults"), _COMMANDS_HEAD = codec.head("OrderCommands")
cdef tuple _MOVES = (
    STOCK_COMMANDS, "StockCommands", ("kind", "command_id", "order_id", "line", "product_id", "quantity", "as_of"),
    (CODE, WORD, NUMBER, NUMBER, WORD, NUMBER, NUMBER),
)
cdef tuple _REQUESTS = (
    PAYMENT_REQUESTS, "PaymentRequests", ("kind", "order_id", "attempt", "sequence", "amount", "currency", "payment_token", "user_id"),
    (CODE, NUMBER, NUMBER, NUMBER, NUMBER, WORD, WORD, WORD),
)
cdef int _DECIDED_CODE, _AMENDED_CODE, _SHIPPED_CODE
cdef int _order_codes[STATUSES]
cdef int _line_codes[LINE_STATUSES]
cdef dict _refusal_names = {int(refusal): refusal.name.encode() if refusal else b"" for refusal in Refusal}


def _note_codes():
    global _DECIDED_CODE, _AMENDED_CODE, _SHIPPED_CODE
    assert MAX_LINES == MOST_LINES and _HELD_LINE == 0 and len(LineStatus) == LINE_STATUSES
    for refusal in Refusal:
        _of_valid_line[<int>refusal] = not refusal.is_invalid_line
    for kind in range(CODES):
        for result in range(CODES):
            _payment_answers[<int>kind][<int>result] = is_payment_answer(kind, result)
    outcome = _types(json.loads(codec.schema_text("OrderOutcome")))
    changes, statuses, lines = outcome["change"]["symbols"], outcome["status"]["symbols"], _types(outcome["lines"]["items"])["status"]["symbols"]
    _DECIDED_CODE, _AMENDED_CODE, _SHIPPED_CODE = map(changes.index, ("DECIDED", "AMENDED", "SHIPPED"))
    for status in (OrderStatus.CONFIRMED, OrderStatus.SHIPPED, OrderStatus.REJECTED):
        _order_codes[<int>status] = statuses.index(status.name)
    for status in LineStatus:
        _line_codes[<int>status] = lines.index(status.name)


def _types(record):
    return {field["name"]: field["type"] for field in record["fields"]}


_note_codes()


cdef struct Item:
    Text product
    int number
    uint8_t status
    uint8_t refusal
    int64_t quantity
    int64_t unit_price

cdef struct Command:
    Text command_id
    int64_t order_id
    int64_t line
    int64_t quantity


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Open:
    """An order under way. What its texts point to is kept by PlainWay until the batch is written."""

    cdef object number
    cdef bytes key
    cdef int64_t order_id, placed_at, decided_at, deadline, amount, charged, attempt
    cdef int status, refusal, line_count, count, room
    cdef int64_t version
    cdef bint is_new
    cdef Text user, currency, token
    cdef Text command  # that it was shipped by; of size 0 until then
    cdef Item *items
    cdef Item first

    def __dealloc__(self):
        if self.items != &self.first:
            free(self.items)


cdef class PlainWay:
    """Of one task: it reads and writes the stage's rows, deadlines and figures, and what the batch says."""

    cdef int partition, partitions
    cdef int64_t now, deadline, retention
    cdef object stage, batch, rows, cold, open, deadlines, note
    cdef ColumnsOut moves
    cdef ColumnsTo asked
    cdef list outcomes, kept
    cdef dict amended
    cdef bytes fresh
    cdef dict under_way
    cdef Line *lines
    cdef Money *results
    cdef Command *commands
    cdef uint16_t[MOST_LINES + 1] places
    cdef int confirmed
    cdef Out scratch

    def __cinit__(self, *_):
        self.lines = <Line *>malloc(_MAX_ITEMS * sizeof(Line))
        self.results = <Money *>malloc(_MAX_ITEMS * sizeof(Money))
        self.commands = <Command *>malloc(_MAX_ITEMS * sizeof(Command))
        if self.lines == NULL or self.results == NULL or self.commands == NULL:
            raise MemoryError
        memset(self.places, 0, sizeof(self.places))

    def __init__(self, stage):
        self.partition, self.partitions = stage.place
        self._forget()

    def __dealloc__(self):
        free(self.lines)
        free(self.results)
        free(self.commands)
        release(&self.scratch)

    # -- a batch -----------------------------------------------------------------------------------------------------------

    def begin(self, batch, int64_t now):
        """Begin a batch, decided at `now` (ms)."""
        stage = batch.stage
        self.stage, self.rows = stage, stage.rows
        self.batch, self.now, self.deadline, self.retention = batch, now, now + stage.timeout, stage.retention.ms
        self.cold, self.open, self.deadlines, self.note = self.rows.cold, stage.open, stage.deadlines, stage.retention.note
        batch.requests = requests = ColumnsOut(*_REQUESTS)
        batch.moves = self.moves = ColumnsOut(*_MOVES)
        self.asked, self.outcomes = requests[self.partition], batch.outcomes
        self.amended = batch.amended
        self.under_way, self.kept, self.confirmed = {}, [], 0

    def take(self, record):
        """Decide all that a record says; False, with nothing done, if that is not to be done here."""
        value, topic = <object>PyTuple_GET_ITEM(record, 4), <object>PyTuple_GET_ITEM(record, 0)
        if type(value) is not bytes:
            return False
        if _begins(<bytes>value, _ANSWERS_HEAD) and topic == STOCK_DECISIONS.name:
            return self._take_answers(record, <bytes>value)
        if _begins(<bytes>value, _RESULTS_HEAD) and topic == PAYMENT_RESULTS.name:
            return self._take_results(record, <bytes>value)
        if _begins(<bytes>value, _COMMANDS_HEAD) and topic == ORDER_COMMANDS.name:
            return self._take_commands(record, <bytes>value)
        return False

    def leave(self, number):
        """Leave an order to the plain path: from here on it is a row like any other."""
        cdef Open order = self.under_way.pop(number, None)
        if order is not None:
            self.cold[order.key] = self._row(order)
            self.batch.touched.add(number)

    def changed(self, touched):
        """Return the writes of all rows that the batch changed; `touched` are those that the plain path has changed."""
        cdef list writes = []
        cdef Open order
        cdef PyObject *found
        cdef bytes value
        for number in sorted(touched.union(self.under_way)):
            found = PyDict_GetItem(self.under_way, number)
            if found == NULL:
                writes.append(self.batch.changed(number))
                continue
            order = <Open>found
            value = self._row(order)
            self.cold[order.key] = value
            writes.append(_new(Write, (ORDER_STATE, self.partition, order.key, value)))
        if self.confirmed:
            self.stage.tally.decisions[_DECISION] += self.confirmed
        self._forget()
        return writes

    cdef void _forget(self):
        """Hold nothing of the stage, which holds this, or of its batch: both are gone as soon as nobody else has them."""
        self.stage = self.batch = self.rows = self.cold = self.open = self.deadlines = self.note = None
        self.moves = self.asked = self.amended = None
        self.outcomes, self.kept, self.under_way = [], [], {}

    # -- orders ------------------------------------------------------------------------------------------------------------

    cdef Open _known(self, object number, int64_t order_id):
        """Return an order that is under way on the plain way; None for any other, and only if there is none at all its key is in `fresh`."""
        cdef PyObject *found = PyDict_GetItem(self.under_way, number)
        cdef uint8_t text[20]
        self.fresh = None
        if found != NULL:
            return <Open>found
        if PyDict_Contains(self.rows, number):
            return None
        key = PyBytes_FromStringAndSize(<char *>text, digits(order_id, text))
        found = PyDict_GetItem(self.cold, key)
        if found != NULL:
            return self._of_row(number, order_id, key, <object>found)
        self.fresh = key
        return None

    cdef Open _first_heard_of(self, object number, Line *line):
        """Return a new order, as `adopt_header` makes it; None for one whose time may be over already."""
        cdef int64_t *values = line.number
        cdef Open order
        if self.deadline <= 0 or 0 < self.retention <= self.now - ((values[ORDER_ID] >> _BELOW_TIME_BITS) + _EPOCH_MS):
            return None
        order = _new_order(number, values[ORDER_ID], self.fresh)
        order.is_new = True
        order.status, order.deadline, order.placed_at, order.line_count = _RESERVING, self.deadline, values[PLACED_AT], <int>values[LINE_COUNT]
        order.user, order.currency, order.token = _raw(line, USER_ID), _raw(line, CURRENCY), _raw(line, PAYMENT_TOKEN)
        return order

    cdef int _note_line(self, Open order, const Item *item) except -1:
        cdef Item *items
        cdef int room
        if order.count == order.room:
            room = max(order.room * 2, min(order.line_count, 32))
            items = <Item *>realloc(NULL if order.items == &order.first else order.items, room * sizeof(Item))
            if items == NULL:
                raise MemoryError
            if order.items == &order.first:
                items[0] = order.first
            order.items, order.room = items, room
        order.items[order.count] = item[0]
        order.count += 1
        order.amount += item.quantity * item.unit_price
        return 0

    # -- answers of the stock agent ----------------------------------------------------------------------------------------

    cdef bint _take_answers(self, record, bytes value) except -1:
        cdef In source = _body(value)
        cdef const uint8_t *refusals
        cdef int64_t number
        cdef int count, i
        if not _skip_ints(&source, 1) or get_long(&source, &number):
            return False
        count = _read_columns(&source, self.lines)
        refusals = _codes(&source, count)
        if count < 0 or refusals == NULL:
            return False
        for i in range(3):
            if not _skip_column(&source, count, False):
                return False
        if not _skip_column(&source, count, True) or source.at != source.end or _home(self.lines[0].number[ORDER_ID], self.partitions) != self.partition:
            return False
        for i in range(count):
            if not (_of_valid_line[refusals[i]] and _is_valid(&self.lines[i])):
                return False
        self.kept.append(value)
        self.stage.tally.answered(PyBytes_FromStringAndSize(<char *>refusals, count))
        for i in range(count):
            if not (self._refuse(&self.lines[i], refusals[i]) if refusals[i] else self._hold(&self.lines[i])):
                answer = _answer(&self.lines[i], refusals[i])
                self.batch.event(record, i, answer.order_id, answer)
        return True

    cdef Open _of_line(self, Line *line):
        """Return the order that a line is of, new or under way; None where the plain path has to say what becomes of the line."""
        cdef object number = line.number[ORDER_ID]
        cdef Open order = self._known(number, line.number[ORDER_ID])
        if order is not None:
            return None if _is_unlike(order, line) else order
        return None if self.fresh is None else self._first_heard_of(number, line)

    cdef bint _hold(self, Line *line) except -1:
        """As first_held and held, of an order that costs something, and late_held; False, with nothing done, for any other line."""
        cdef Open order = self._of_line(line)
        cdef Item item
        if order is None or order.status != _RESERVING and order.status != _REJECTED:
            return False
        item = _item_of(line, _HELD_LINE if order.status == _RESERVING else _RELEASED_LINE, 0)
        if order.status == _RESERVING and order.count + 1 >= order.line_count and order.amount + item.quantity * item.unit_price == 0:
            return False
        self._note_line(order, &item)
        self._keep(order)
        if order.status == _REJECTED:
            self._move(order, &item, _RELEASE_UNITS)
            self.amended[order.number] = None
        elif order.count >= order.line_count:
            self._ask(order)
        return True

    cdef bint _refuse(self, Line *line, uint8_t refusal) except -1:
        """As first_refused and refused, of a line refused for stock, and late_refused; False, with nothing done, for any other line."""
        cdef Open order = self._of_line(line)
        cdef Item item
        if not _is_for_stock(refusal) or order is None or order.status != _RESERVING and order.status != _REJECTED:
            return False
        item = _item_of(line, _REFUSED_LINE, refusal)
        self._note_line(order, &item)
        if order.status == _RESERVING:
            self._reject(order, refusal)
        else:
            self.amended[order.number] = None
        self._keep(order)
        return True

    cdef int _reject(self, Open order, uint8_t refusal) except -1:
        """As undo and decided."""
        cdef int i
        for i in range(order.count):
            if order.items[i].status == _HELD_LINE:
                order.items[i].status = _RELEASED_LINE
                self._move(order, &order.items[i], _RELEASE_UNITS)
        order.status, order.refusal, order.deadline, order.decided_at = _REJECTED, refusal, 0, self.now
        self.stage.tally.decisions[_REJECTED_NAME, Refusal(refusal).name] += 1
        return self._say(order, _DECIDED_CODE)

    cdef int _keep(self, Open order) except -1:
        """Have the order among those that the batch changed, and its deadline watched while one counts."""
        cdef object number = order.number
        if order.is_new:
            order.is_new = False
            self.note(number)
        self.under_way[number] = order
        if not order.deadline:
            self.open.pop(number, None)
        elif not PyDict_Contains(self.open, number):
            self.open[number] = order.deadline
            heappush(self.deadlines, (order.deadline, number))
        return 0

    cdef int _say(self, Open order, int change) except -1:
        """As publish."""
        order.version += 1
        self.outcomes.append(_new(Write, (ORDER_OUTCOMES, self.partition, order.key, self._outcome(order, change))))
        return 0

    def amend(self, number):
        """Say what has changed of an order since its decision; False for one that is the plain path's."""
        cdef Open order = self.under_way.get(number)
        if order is None:
            return False
        self._say(order, _AMENDED_CODE)
        return True

    cdef int _ask(self, Open order) except -1:
        """As ask_charge."""
        order.status = _PAYING
        order.attempt += 1
        put_bytes(&self.asked.columns[0], &_ASKED, 1)
        put_long(&self.asked.columns[1], order.order_id)
        put_long(&self.asked.columns[2], order.attempt)
        put_long(&self.asked.columns[3], 0)
        put_long(&self.asked.columns[4], order.amount)
        _put(&self.asked.columns[5], &order.currency)
        _put(&self.asked.columns[6], &order.token)
        _put(&self.asked.columns[7], &order.user)
        return self.asked.added()

    # -- answers of the payments agent -------------------------------------------------------------------------------------

    cdef bint _take_results(self, record, bytes value) except -1:
        cdef In source = _body(value)
        cdef const uint8_t *kinds = NULL
        cdef const uint8_t *results = NULL
        cdef Money *result
        cdef int count = _read_money(&source, self.results, &kinds)
        cdef int64_t time
        cdef int i
        results = _codes(&source, count)
        if count < 0 or results == NULL or not _read_texts(&source, self.results, count, REASON) or get_long(&source, &time) or source.at != source.end:
            return False
        if _home(self.results[0].order_id, self.partitions) != self.partition:
            return False
        for i in range(count):
            result = &self.results[i]
            if (
                kinds[i] >= CODES or results[i] >= CODES or not _payment_answers[kinds[i]][results[i]]
                or not _is_counted(result) or result.amount < 0
            ):
                return False
        self.kept.append(value)
        for i in range(count):
            if kinds[i] != _CHARGE or results[i] != _PAID or not self._pay(&self.results[i]):
                answer = _payment_answer(&self.results[i], kinds[i], results[i])
                self.batch.event(record, i, answer.order_id, answer)
        return True

    cdef bint _pay(self, Money *result) except -1:
        """As paid; False, with nothing done, for an order that does not wait for this attempt."""
        cdef object number = result.order_id
        cdef Open order = self._known(number, result.order_id)
        if order is None or order.status != _PAYING or order.attempt != result.attempt:
            return False
        order.status, order.deadline, order.charged, order.decided_at = _CONFIRMED, 0, result.amount, self.now
        self._keep(order)
        self._say(order, _DECIDED_CODE)
        self.confirmed += 1
        return True

    # -- commands ----------------------------------------------------------------------------------------------------------

    cdef bint _take_commands(self, record, bytes value) except -1:
        cdef In source = _body(value)
        cdef const uint8_t *kinds = NULL
        cdef Command *command
        cdef Text actor
        cdef int64_t time
        cdef int count = _read_commands(&source, self.commands, &kinds)
        cdef int i
        if count < 0 or get_long(&source, &time) or not _read_text(&source, &actor) or source.at != source.end:
            return False
        self.kept.append(value)
        for i in range(count):
            command = &self.commands[i]
            if kinds[i] != _SHIP or command.line or command.quantity or not self._ship(command):
                self.batch.command(record, i, _order_command(command, kinds[i], _str_of(&actor)[:MAX_ACTOR_LENGTH]))
        return True

    cdef bint _ship(self, Command *command) except -1:
        """As ship, of a whole order; False, with nothing done, for one that is not confirmed or that anything was done about since."""
        cdef Open order
        if _home(command.order_id, self.partitions) != self.partition or not 0 < _length(&command.command_id) <= _MAX_COMMAND_ID:
            return False
        number = command.order_id
        order = self._known(number, command.order_id)
        if order is None or order.status != _CONFIRMED:
            return False
        order.status, order.command = _SHIPPED, command.command_id
        self._keep(order)
        for i in range(order.count):
            order.items[i].status = _SHIPPED_LINE
            self._move(order, &order.items[i], _SHIP_UNITS)
        self._say(order, _SHIPPED_CODE)
        return True

    cdef int _move(self, Open order, Item *item, uint8_t kind) except -1:
        """Tell the stock agent that a line's units are shipped, or go back."""
        cdef Py_ssize_t length = _length_in_bytes(&item.product)
        cdef int home = (hashed(item.product.at + item.product.size - length, length) & 0x7FFFFFFF) % <uint32_t>self.partitions
        cdef ColumnsTo to = self.moves.of(home)
        put_bytes(&to.columns[0], &kind, 1)
        put_long(&to.columns[1], 0)
        put_long(&to.columns[2], order.order_id)
        put_long(&to.columns[3], item.number)
        _put(&to.columns[4], &item.product)
        put_long(&to.columns[5], item.quantity)
        put_long(&to.columns[6], 0)
        return to.added()

    # -- what is written ---------------------------------------------------------------------------------------------------

    cdef bytes _outcome(self, Open order, int change):
        """As `publish`; `change` is the number of a symbol of OrderOutcome."""
        cdef Out *out = &self.scratch
        _begin(out, _OUTCOME_HEAD)
        put_long(out, order.order_id)
        put_long(out, order.version)
        put_long(out, change)
        put_long(out, _order_codes[order.status])
        _put_name(out, order.refusal)
        _put(out, &order.user)
        _put(out, &order.currency)
        put_long(out, order.amount)
        put_long(out, order.charged)
        put_long(out, 0)
        put_long(out, order.attempt if order.charged else 0)
        put_long(out, order.line_count)
        self._put_lines(out, order)
        put_long(out, order.placed_at)
        put_long(out, order.decided_at)
        put_long(out, self.now)
        return PyBytes_FromStringAndSize(<char *>out.data, out.size)

    cdef int _put_lines(self, Out *out, Open order) except -1:
        """Write an outcome's lines in the order of their numbers."""
        cdef int i, left = order.count
        put_long(out, left)
        for i in range(left):
            self.places[order.items[i].number] = <uint16_t>(i + 1)
        i = 0
        while left:
            i += 1
            if self.places[i]:
                _put_line(out, &order.items[self.places[i] - 1])
                self.places[i] = 0
                left -= 1
        return put_long(out, 0)

    cdef bytes _row(self, Open order):
        """As `to_row`."""
        cdef Out *out = &self.scratch
        cdef int i
        _begin(out, _ROW_HEAD)
        put_long(out, order.order_id)
        put_long(out, order.status)
        put_long(out, order.version)
        put_long(out, order.refusal)
        _put(out, &order.user)
        _put(out, &order.currency)
        _put(out, &order.token)
        put_long(out, order.placed_at)
        put_long(out, order.decided_at)
        put_long(out, order.deadline)
        put_long(out, order.line_count)
        put_long(out, order.count)
        for i in range(order.count):
            put_long(out, order.items[i].number)
        _next_array(out, order.count)
        for i in range(order.count):
            _put(out, &order.items[i].product)
        _next_array(out, order.count)
        for i in range(order.count):
            put_long(out, order.items[i].quantity)
        _next_array(out, order.count)
        for i in range(order.count):
            put_long(out, order.items[i].unit_price)
        _put_statuses(out, order)
        put_long(out, order.attempt)
        put_long(out, order.charged)
        for i in range(4):  # nothing given back
            put_long(out, 0)
        if order.command.size:
            put_long(out, 1)
            _put(out, &order.command)
        put_long(out, 0)
        return PyBytes_FromStringAndSize(<char *>out.data, out.size)

    cdef Open _of_row(self, object number, int64_t order_id, bytes key, object value):
        """Read a row that the plain way has written; None for any other, and for bytes that are not as an encoder writes them."""
        cdef Open order
        cdef In source
        if type(value) is not bytes or not _begins(<bytes>value, _ROW_HEAD):
            return None
        order = _new_order(number, order_id, key)
        source = _body(<bytes>value)
        if not (_read_header(&source, order) and self._read_lines(&source, order) and _read_rest(&source, order)):
            return None
        self.kept.append(value)
        return order

    cdef bint _read_lines(self, In *source, Open order) except -1:
        """Read the lines of a row, all of them held; False for any other."""
        cdef int64_t count, value
        cdef Item item
        cdef int i
        if get_long(source, &count) or not 0 < count <= min(_MAX_LINES, order.line_count):
            return False
        memset(&item, 0, sizeof(Item))
        for i in range(count):
            if get_long(source, &value) or not 0 < value <= _MAX_LINES:
                return False
            item.number = <int>value
            self._note_line(order, &item)
        return (
            _is_next_array(source, count) and _read_products(source, order) and _is_next_array(source, count) and _read_quantities(source, order)
            and _is_next_array(source, count) and _read_prices(source, order) and self._are_distinct(order)
        )

    cdef bint _are_distinct(self, Open order) noexcept:
        """Whether each line number occurs once."""
        cdef bint distinct = True
        cdef int i
        for i in range(order.count):
            distinct = distinct and not self.places[order.items[i].number]
            self.places[order.items[i].number] = 1
        for i in range(order.count):
            self.places[order.items[i].number] = 0
        return distinct


# -- orders ----------------------------------------------------------------------------------------------------------------


cdef Open _new_order(object number, int64_t order_id, bytes key):
    cdef Open order = Open.__new__(Open)
    order.number, order.order_id, order.key = number, order_id, key
    order.items, order.room, order.count = &order.first, 1, 0
    order.amount = order.charged = order.attempt = order.decided_at = order.version = 0
    order.command.size = order.refusal = order.is_new = 0
    return order


cdef bint _is_unlike(Open order, Line *line) noexcept:
    """Whether a line is of another order under the same ID (as `contradicts`), or its number is known."""
    cdef int i
    if line.number[LINE_COUNT] != order.line_count or not (
        _is_same(&order.user, line, USER_ID) and _is_same(&order.currency, line, CURRENCY) and _is_same(&order.token, line, PAYMENT_TOKEN)
    ):
        return True
    for i in range(order.count):
        if order.items[i].number == line.number[LINE]:
            return True
    return False


cdef inline bint _is_same(Text *text, Line *line, int field) noexcept nogil:
    return text.size == line.size[field] and memcmp(text.at, line.raw[field], text.size) == 0


cdef inline Text _raw(Line *line, int field) noexcept nogil:
    cdef Text text
    text.at, text.size = line.raw[field], line.size[field]
    return text


cdef inline Item _item_of(Line *line, uint8_t status, uint8_t refusal) noexcept nogil:
    cdef Item item
    item.product, item.number, item.status, item.refusal = _raw(line, PRODUCT_ID), <int>line.number[LINE], status, refusal
    item.quantity, item.unit_price = line.number[QUANTITY], line.number[UNIT_PRICE]
    return item


cdef inline bint _is_for_stock(int refusal) noexcept nogil:
    return refusal == _FROZEN or refusal == _TOO_FEW


cdef object _answer(Line *line, uint8_t refusal):
    cdef int64_t *number = line.number
    return LineAnswer(
        number[ORDER_ID], number[LINE], number[LINE_COUNT], _text_at(line, PRODUCT_ID), number[QUANTITY], number[UNIT_PRICE], _text_at(line, CURRENCY),
        _text_at(line, USER_ID), _text_at(line, PAYMENT_TOKEN), number[PLACED_AT], refusal,
    )


cdef object _text_at(Line *line, int field):
    return PyUnicode_DecodeUTF8(<const char *>_text_of(line, field), line.number[field], NULL)


cdef object _payment_answer(Money *result, uint8_t kind, uint8_t code):
    return PaymentAnswer(
        kind, result.order_id, result.attempt, result.sequence, result.amount, _str_of(&result.texts[MONEY_CURRENCY]), code, _str_of(&result.texts[REASON])
    )


cdef object _order_command(Command *command, int kind, actor):
    return OrderCommand(kind, _str_of(&command.command_id), command.order_id, command.line, command.quantity, actor)


# -- reading ---------------------------------------------------------------------------------------------------------------


cdef int _read_commands(In *source, Command *commands, const uint8_t **kinds) except -2:
    """Read the columns of OrderCommands, each in one block; return how many items there are, or -1 for anything else."""
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
            if not _read_part(source, &commands[i], column):
                return -1
        if get_long(source, &size) or size:
            return -1
    return <int>count


cdef bint _read_part(In *source, Command *command, int column) except -1:
    if column == 0:
        return _read_text(source, &command.command_id)
    if column == 1:
        return get_long(source, &command.order_id) == 0
    if column == 2:
        return get_long(source, &command.line) == 0 and _LEAST_INT <= command.line <= _LARGEST_INT
    return get_long(source, &command.quantity) == 0


cdef bint _read_header(In *source, Open order) except -1:
    """Read a row up to its lines; False unless it is of an order under way, confirmed, or rejected for stock."""
    cdef int64_t order_id, status, refusal, count
    if get_long(source, &order_id) or get_long(source, &status) or get_long(source, &order.version) or get_long(source, &refusal):
        return False
    if order_id != order.order_id or status != _RESERVING and status != _PAYING and status != _CONFIRMED and status != _REJECTED:
        return False
    if not _is_for_stock(<int>refusal) if status == _REJECTED else refusal:
        return False
    order.refusal = <int>refusal
    if not (_read_text(source, &order.user) and _read_text(source, &order.currency) and _read_text(source, &order.token)):
        return False
    if get_long(source, &order.placed_at) or get_long(source, &order.decided_at) or get_long(source, &order.deadline) or get_long(source, &count):
        return False
    order.status, order.line_count = <int>status, <int>count
    if not 0 < count <= _MAX_LINES:
        return False
    if status == _CONFIRMED or status == _REJECTED:
        return 0 < order.version < _LARGEST_INT and order.deadline == 0
    return order.version == 0 and order.decided_at == 0 and order.deadline > 0


cdef inline bint _is_next_array(In *source, int64_t count) noexcept nogil:
    """Whether one array ends here, and another of so many items begins."""
    cdef int64_t end, size
    return get_long(source, &end) == 0 and end == 0 and get_long(source, &size) == 0 and size == count


cdef bint _read_products(In *source, Open order) except -1:
    cdef int i
    for i in range(order.count):
        if not _read_text(source, &order.items[i].product):
            return False
    return True


cdef bint _read_quantities(In *source, Open order) noexcept:
    cdef int i
    for i in range(order.count):
        if get_long(source, &order.items[i].quantity) or not 0 < order.items[i].quantity <= _MAX_QUANTITY:
            return False
    return True


cdef bint _read_prices(In *source, Open order) noexcept:
    cdef Item *item
    cdef int i
    for i in range(order.count):
        item = &order.items[i]
        if get_long(source, &item.unit_price) or not 0 <= item.unit_price <= _MAX_PRICE or item.quantity * item.unit_price > _MAX_AMOUNT:
            return False
        order.amount += item.quantity * item.unit_price
    return True


cdef bint _read_rest(In *source, Open order) noexcept:
    """Read a row from its lines' status on; False unless its lines are as its status says and nothing came back, was given back, asked for by a command, or charged
    too early."""
    cdef const uint8_t *statuses
    cdef const uint8_t *refusals
    cdef int64_t number, i
    cdef int place
    if get_long(source, &number) or number:
        return False
    statuses = _codes(source, order.count)
    refusals = _codes(source, order.count)
    if statuses == NULL or refusals == NULL or not _note_statuses(order, statuses, refusals):
        return False
    if get_long(source, &number) or number != order.count or source.end - source.at < number:
        return False
    for i in range(order.count + 1):
        if get_long(source, &number) or number:
            return False
    if get_long(source, &order.attempt) or not 0 <= order.attempt < _MAX_ATTEMPT or get_long(source, &order.charged):
        return False
    if order.charged < 0 or order.charged and order.status != _CONFIRMED:
        return False
    for place in range(5):
        if get_long(source, &number) or number:
            return False
    return source.at == source.end


cdef bint _note_statuses(Open order, const uint8_t *statuses, const uint8_t *refusals) noexcept:
    """Whether all lines are held, or, where the order is rejected, refused for stock and released."""
    cdef int i
    for i in range(order.count):
        order.items[i].status, order.items[i].refusal = statuses[i], refusals[i]
        if order.status != _REJECTED:
            if statuses[i] != _HELD_LINE or refusals[i]:
                return False
        elif not (_is_for_stock(refusals[i]) if statuses[i] == _REFUSED_LINE else statuses[i] == _RELEASED_LINE and not refusals[i]):
            return False
    return True


# -- writing ---------------------------------------------------------------------------------------------------------------


cdef inline int _next_array(Out *out, int count) except -1:
    """End an array and begin another one of so many items."""
    put_long(out, 0)
    return put_long(out, count)


cdef int _put_statuses(Out *out, Open order) except -1:
    """End the lines' prices, and write what became of each line, why it was refused, and that nothing came back."""
    cdef int i, count = order.count
    put_long(out, 0)
    put_long(out, count)
    reserve(out, 2 * count + 20)
    for i in range(count):
        out.data[out.size + i] = order.items[i].status
    out.size += count
    put_long(out, count)
    reserve(out, 2 * count + 20)
    for i in range(count):
        out.data[out.size + i] = order.items[i].refusal
    out.size += count
    put_long(out, count)
    reserve(out, count)
    memset(out.data + out.size, 0, count)
    out.size += count
    return put_long(out, 0)


cdef int _put_line(Out *out, Item *item) except -1:
    put_long(out, item.number)
    _put(out, &item.product)
    put_long(out, item.quantity)
    put_long(out, item.unit_price)
    put_long(out, _line_codes[item.status])
    _put_name(out, item.refusal)
    return put_long(out, 0)


cdef int _put_name(Out *out, int refusal) except -1:
    """Write a refusal's name, nothing for none."""
    cdef bytes name = _refusal_names[refusal]
    put_long(out, PyBytes_GET_SIZE(name))
    return put_bytes(out, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
