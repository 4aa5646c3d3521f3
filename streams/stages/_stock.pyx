# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The stock stage's rows and its hot path in C: order lines from wire bytes to wire bytes, with no Python object per line.

Nearly all that StockDecisions says of a line is what the line said: the bytes of its items are copied as they stand. A record is taken only if all of it is as it
should be (its bytes in the one form that an encoder writes, every line valid, no product of another partition); any other is left to the plain path,
`streams/stages/stock.py`, untouched. What becomes of a line is decided as streams/domain/stock.py decides it; tests hold the two against each other.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from schemas._wire cimport In, Out, digits, get_long, hashed, put_bytes, put_long, release, reserve

from schemas import codec
from schemas.outcomes import MAX_ACTOR_LENGTH, Refusal, StockCommandKind
from schemas.topics import ORDERS, STOCK_COMMANDS
from streams.domain.product import Product, from_row
from streams.domain.stock import REMEMBERED_MOVES
from streams.runtime.records import BrokenRowError

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

include "_lines.pxi"

VERSION = 2

cdef enum:
    AVAILABLE = 10, MADE_VERSION, OFFSET, INDEX, ARRAYS  # the arrays of StockDecisions, its refusals apart
cdef enum:
    KIND, COMMAND_ID, MOVED_ORDER, MOVED_LINE, MOVED_PRODUCT, MOVED_QUANTITY, REFUSED, NUMBERS, MOVED_OFFSET = NUMBERS + 7, MOVED_INDEX, ACTOR, MOVEMENT  # StockMovements
cdef enum:
    MOST_MOVES = 16
cdef enum:
    SUMS = 4096  # twice as many as a record has items
cdef enum:
    NOBODY = 0xFFFFFFFF

cdef uint8_t _FROZEN = Refusal.PRODUCT_FROZEN, _TOO_FEW = Refusal.INSUFFICIENT_STOCK
cdef uint8_t _RELEASE = StockCommandKind.RELEASE, _SHIP = StockCommandKind.SHIP, _RETURN = StockCommandKind.RETURN
cdef int _MAX_ACTOR = MAX_ACTOR_LENGTH
cdef int64_t _LARGEST_MOVE = 2**60
assert REMEMBERED_MOVES == MOST_MOVES and _MAX_ITEMS * 2 <= SUMS

cdef struct Row:
    int64_t available
    int64_t reserved
    int64_t shipped
    int64_t received
    int64_t written_off
    int64_t returned
    int64_t version
    uint8_t *text  # the key, and behind it the commands and moves as they stand in a ProductRow
    uint32_t rest  # length of the latter
    uint16_t key  # length of the former
    uint8_t tracked
    uint8_t frozen

cdef struct Moves:  # when the number of units on the shelf changed, and by how many; behind the commands in a row's rest
    Py_ssize_t begin
    int count
    int64_t at[MOST_MOVES + 1]
    int64_t by[MOST_MOVES + 1]

cdef struct Sum:  # what the commands of one record ask of a row
    uint64_t record
    uint32_t row
    int64_t reserved
    int64_t returned

cdef struct Answers:
    Out columns[ARRAYS]
    Out refusals
    int count
    bint used


cdef object _ORDERS = ORDERS.name, _STOCK_COMMANDS = STOCK_COMMANDS.name
_NAMES = ("OrderLine", "OrderLines", "StockDecisions", "ProductRow", "StockLevel", "StockCommands", "StockMovements")


cdef class Table:
    """The rows of one task: 72 bytes each, their text and 4 to 8 bytes of index. The batch under way is in here, too."""

    cdef Row *rows
    cdef uint8_t *touched
    cdef uint32_t count, room
    cdef uint32_t *slots
    cdef uint32_t mask
    cdef uint32_t *changed_rows
    cdef uint32_t changed_count, changed_room
    cdef Line *lines
    cdef Answers *answers_to
    cdef list order, done
    cdef int partition, partitions
    cdef int64_t now
    cdef bytes one, many, answer_head, row_head, level_head, commands_head, movements_head
    cdef Out scratch
    cdef Out moved[MOVEMENT]
    cdef int moved_count
    cdef list moved_done
    cdef Sum *sums
    cdef uint64_t record

    def __cinit__(self, int partition, int partitions):
        self.partition, self.partitions = partition, partitions
        self.lines = <Line *>calloc(_MAX_ITEMS, sizeof(Line))
        self.answers_to = <Answers *>calloc(partitions, sizeof(Answers))
        self.sums = <Sum *>calloc(SUMS, sizeof(Sum))
        self.mask = 1023
        self.slots = <uint32_t *>malloc(1024 * sizeof(uint32_t))
        if self.lines == NULL or self.answers_to == NULL or self.sums == NULL or self.slots == NULL:
            raise MemoryError
        memset(self.slots, 0xFF, 1024 * sizeof(uint32_t))

    def __init__(self, partition, partitions):
        heads = {name: codec.head(name) for name in _NAMES}
        self.one, self.many, self.answer_head = heads["OrderLine"], heads["OrderLines"], heads["StockDecisions"]
        self.row_head, self.level_head = heads["ProductRow"], heads["StockLevel"]
        self.commands_head, self.movements_head = heads["StockCommands"], heads["StockMovements"]
        self.begin(0)

    def __dealloc__(self):
        cdef uint32_t i
        cdef int p, c
        for i in range(self.count):
            free(self.rows[i].text)
        for p in range(self.partitions):
            for c in range(ARRAYS):
                release(&self.answers_to[p].columns[c])
            release(&self.answers_to[p].refusals)
        for c in range(MOVEMENT):
            release(&self.moved[c])
        release(&self.scratch)
        free(self.sums)
        free(self.rows)
        free(self.touched)
        free(self.slots)
        free(self.changed_rows)
        free(self.lines)
        free(self.answers_to)

    # -- the rows ----------------------------------------------------------------------------------------------------------

    cdef uint32_t _find(self, const uint8_t *key, Py_ssize_t size) noexcept nogil:
        cdef uint32_t slot = hashed(key, size) & self.mask
        cdef uint32_t found = self.slots[slot]
        while found != <uint32_t>NOBODY:
            if self.rows[found].key == size and memcmp(self.rows[found].text, key, size) == 0:
                return found
            slot = (slot + 1) & self.mask
            found = self.slots[slot]
        return <uint32_t>NOBODY

    cdef void _index(self, uint32_t number) noexcept nogil:
        cdef uint32_t slot = hashed(self.rows[number].text, self.rows[number].key) & self.mask
        while self.slots[slot] != <uint32_t>NOBODY:
            slot = (slot + 1) & self.mask
        self.slots[slot] = number

    cdef int _grow_index(self) except -1:
        cdef uint32_t *slots
        cdef uint32_t i, mask = self.mask * 2 + 1
        slots = <uint32_t *>malloc((<size_t>mask + 1) * sizeof(uint32_t))
        if slots == NULL:
            raise MemoryError
        free(self.slots)
        self.slots, self.mask = slots, mask
        memset(slots, 0xFF, (<size_t>mask + 1) * sizeof(uint32_t))
        for i in range(self.count):
            self._index(i)
        return 0

    cdef uint32_t _add(self, const uint8_t *key, Py_ssize_t size) except? 0xFFFFFFFF:
        """Make room for a row of this key, which has none; its numbers are not set."""
        cdef Row *rows
        cdef uint8_t *text
        cdef uint8_t *touched
        cdef uint32_t room
        if self.count == self.room:
            room = self.room + self.room // 4 + 1024
            rows = <Row *>realloc(self.rows, room * sizeof(Row))
            if rows == NULL:
                raise MemoryError
            self.rows = rows
            touched = <uint8_t *>realloc(self.touched, room)
            if touched == NULL:
                raise MemoryError
            self.touched, self.room = touched, room
        text = <uint8_t *>malloc(size + 1)
        if text == NULL:
            raise MemoryError
        memcpy(text, key, size)
        memset(&self.rows[self.count], 0, sizeof(Row))
        self.rows[self.count].text = text
        self.rows[self.count].key = <uint16_t>size
        self.touched[self.count] = 0
        self.count += 1
        self._index(self.count - 1)
        if self.count > self.mask // 3 * 2:
            self._grow_index()
        return self.count - 1

    cdef int _set_rest(self, Row *row, const uint8_t *rest, Py_ssize_t size) except -1:
        """Set a row's commands and moves."""
        cdef uint8_t *text
        if size != row.rest:
            text = <uint8_t *>realloc(row.text, row.key + size + 1)
            if text == NULL:
                raise MemoryError
            row.text, row.rest = text, <uint32_t>size
        memcpy(row.text + row.key, rest, size)
        return 0

    def restore(self, rows):
        """Take a changelog's rows (key bytes -> last value). Raises BrokenRowError."""
        for key, value in rows.items():
            self.restore_one(key, value)

    cpdef restore_one(self, bytes key, bytes value):
        """Take one row of a changelog in place of what there is under its key. Raises BrokenRowError."""
        if not self._restore_plainly(key, value):
            self._restore_carefully(key, value)

    cdef bint _restore_plainly(self, bytes key, bytes value) except -1:
        """Take a row whose bytes are as an encoder writes them; False for any other."""
        cdef Row found
        cdef In source
        cdef const uint8_t *name
        cdef const uint8_t *rest
        cdef int64_t size
        cdef Py_ssize_t head = PyBytes_GET_SIZE(self.row_head), length = PyBytes_GET_SIZE(key)
        cdef uint32_t number
        source.at, source.end = <const uint8_t *>PyBytes_AS_STRING(value), <const uint8_t *>PyBytes_AS_STRING(value) + PyBytes_GET_SIZE(value)
        if not 0 < length <= MOST_KEY or PyBytes_GET_SIZE(value) < head or memcmp(source.at, PyBytes_AS_STRING(self.row_head), head):
            return False
        source.at += head
        if get_long(&source, &size) or size != length or source.end - source.at < size or memcmp(source.at, PyBytes_AS_STRING(key), length):
            return False
        source.at += size
        if not _numbers(&source, &found):
            return False
        rest = source.at
        if not (_skip_texts(&source) and _skip_pairs(&source) and source.at == source.end):
            return False
        number = self._find(<const uint8_t *>PyBytes_AS_STRING(key), length)
        if number == <uint32_t>NOBODY:
            number = self._add(<const uint8_t *>PyBytes_AS_STRING(key), length)
        self._set_rest(&self.rows[number], rest, source.end - rest)
        _set_numbers(&self.rows[number], &found)
        return True

    def _restore_carefully(self, bytes key, bytes value):
        try:
            product = from_row(codec.decode(value).value)
            if product.product_id.encode() != key:
                raise ValueError(f"the row is that of {product.product_id!r}")
            self._store(product)
        except Exception as error:
            raise BrokenRowError(key, f"{error!r:.300}") from error

    def find(self, str product_id):
        """Return a copy of a product's row; None where there is none. `put` takes it back."""
        cdef Py_ssize_t size = 0
        cdef const char *key
        cdef uint32_t number
        try:
            key = PyUnicode_AsUTF8AndSize(product_id, &size)
        except UnicodeEncodeError:
            return None
        number = self._find(<const uint8_t *>key, size) if size <= MOST_KEY else <uint32_t>NOBODY
        return None if number == <uint32_t>NOBODY else self._product(product_id, &self.rows[number])

    cdef object _product(self, str product_id, Row *row):
        cdef In source
        source.at, source.end = row.text + row.key, row.text + row.key + row.rest
        commands = [_text(&source) for _ in range(_count(&source))]
        if commands:
            _count(&source)
        at = [_long(&source) for _ in range(_count(&source))]
        if at:
            _count(&source)
        by = [_long(&source) for _ in range(_count(&source))]
        return Product(
            product_id, row.available, row.reserved, row.shipped, row.received, row.written_off, row.returned, row.version,
            bool(row.tracked), bool(row.frozen), commands, list(zip(at, by)),
        )

    def put(self, product):
        """Take a product's changed row: it will be among the `changed`."""
        self._touch(self._store(product))

    cdef uint32_t _store(self, product) except? 0xFFFFFFFF:
        cdef bytes key = product.product_id.encode()
        cdef uint32_t number = self._find(<const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        cdef Row row
        row.available, row.reserved, row.shipped, row.received = product.available, product.reserved, product.shipped, product.received
        row.written_off, row.returned, row.version = product.written_off, product.returned, product.version
        row.tracked, row.frozen = bool(product.tracked), bool(product.frozen)
        self._write_rest(product)
        if number == <uint32_t>NOBODY:
            if not 0 < len(key) <= MOST_KEY:
                raise ValueError(f"a key of {len(key)} bytes")
            number = self._add(<const uint8_t *>PyBytes_AS_STRING(key), len(key))
        self._set_rest(&self.rows[number], self.scratch.data, self.scratch.size)
        _set_numbers(&self.rows[number], &row)
        return number

    cdef int _write_rest(self, product) except -1:
        """Write a product's commands and moves into `scratch`."""
        self.scratch.size = 0
        commands, moves = product.recent_commands, product.moves
        _begin_array(&self.scratch, len(commands))
        for command in commands:
            text = command.encode()
            put_long(&self.scratch, len(text))
            put_bytes(&self.scratch, PyBytes_AS_STRING(text), len(text))
        _end_array(&self.scratch, len(commands))
        for place in range(2):
            _begin_array(&self.scratch, len(moves))
            for move in moves:
                put_long(&self.scratch, move[place])
            _end_array(&self.scratch, len(moves))
        return 0

    cdef int _touch(self, uint32_t number) except -1:
        cdef uint32_t *changed
        cdef uint32_t room
        if self.touched[number]:
            return 0
        if self.changed_count == self.changed_room:
            room = self.changed_room * 2 + 1024
            changed = <uint32_t *>realloc(self.changed_rows, room * sizeof(uint32_t))
            if changed == NULL:
                raise MemoryError
            self.changed_rows, self.changed_room = changed, room
        self.touched[number] = 1
        self.changed_rows[self.changed_count] = number
        self.changed_count += 1
        return 0

    def keys_all(self):
        """Yield every product ID."""
        cdef uint32_t i
        for i in range(self.count):
            yield PyUnicode_DecodeUTF8(<const char *>self.rows[i].text, self.rows[i].key, NULL)

    def __iter__(self):
        return self.keys_all()

    def __len__(self):
        return self.count

    def count_all(self):
        """Return how many rows there are."""
        return self.count

    def check_some(self):
        """Every row was looked at when it was recovered."""

    # -- a batch -----------------------------------------------------------------------------------------------------------

    def begin(self, int64_t now):
        """Begin a batch, decided at `now` (ms)."""
        cdef uint32_t i
        for i in range(self.changed_count):
            self.touched[self.changed_rows[i]] = 0
        self.changed_count = 0
        self.now = now
        for p in range(self.partitions):
            self._clear(&self.answers_to[p])
            self.answers_to[p].used = False
        self.order, self.done = [], [[] for _ in range(self.partitions)]
        self._clear_moved()
        self.moved_done = []

    cdef void _clear(self, Answers *answers) noexcept nogil:
        cdef int c
        for c in range(ARRAYS):
            answers.columns[c].size = 0
        answers.refusals.size = 0
        answers.count = 0

    def take(self, list records, Py_ssize_t at):
        """Answer the order lines of the records from `at` on, and do what the orders agent asks; return which record is the first left to the plain path."""
        cdef Py_ssize_t size = len(records)
        while at < size and self._take_one(records[at]):
            at += 1
        return at

    cdef bint _take_one(self, record) except -1:
        value, topic = <object>PyTuple_GET_ITEM(record, 4), <object>PyTuple_GET_ITEM(record, 0)
        if type(value) is not bytes:
            return False
        if topic is _ORDERS or topic == _ORDERS:
            return self._take(<bytes>value, <object>PyTuple_GET_ITEM(record, 2))
        return topic == _STOCK_COMMANDS and _begins(<bytes>value, self.commands_head) and self._take_moves(<bytes>value, <object>PyTuple_GET_ITEM(record, 2))

    cdef bint _take(self, bytes value, int64_t offset) except -1:
        """Answer the lines of one record; False, with nothing done, if that is not to be done here."""
        cdef In source
        cdef const uint8_t *head = <const uint8_t *>PyBytes_AS_STRING(value)
        cdef int count, i
        source.at, source.end = head + 5, head + PyBytes_GET_SIZE(value)
        if source.end < source.at:
            return False
        if memcmp(head, PyBytes_AS_STRING(self.many), 5) == 0:
            count = _read_columns(&source, self.lines)
        elif memcmp(head, PyBytes_AS_STRING(self.one), 5) == 0:
            count = _read_line(&source, self.lines)
        else:
            return False
        if count < 0 or source.at != source.end:
            return False
        for i in range(count):
            if not (_is_valid(&self.lines[i]) and self._is_ours(&self.lines[i])):
                return False
        for i in range(count):
            self._decide(&self.lines[i], offset, i)
        return True

    cdef bint _is_ours(self, Line *line) noexcept nogil:
        """Find the line's product; False for one that is unknown here and belongs elsewhere."""
        cdef const uint8_t *key = _text_of(line, PRODUCT_ID)
        cdef Py_ssize_t size = line.number[PRODUCT_ID]
        line.row = self._find(key, size)
        return line.row != <uint32_t>NOBODY or <int>((hashed(key, size) & 0x7FFFFFFF) % <uint32_t>self.partitions) == self.partition

    cdef int _decide(self, Line *line, int64_t offset, int index) except -1:
        """As `decide_hold` and `evolve_hold` of streams/domain/stock.py."""
        cdef Row *row
        cdef int64_t quantity = line.number[QUANTITY]
        if line.row == <uint32_t>NOBODY:
            return self._answer(line, _TOO_FEW, 0, 0, offset, index)
        row = &self.rows[line.row]
        if row.frozen:
            return self._answer(line, _FROZEN, row.available, row.version, offset, index)
        if row.tracked and row.available < quantity:
            return self._answer(line, _TOO_FEW, row.available, row.version, offset, index)
        if row.tracked:
            row.available -= quantity
        else:
            row.received += quantity
        row.reserved += quantity
        row.version += 1
        self._touch(line.row)
        return self._answer(line, 0, row.available, row.version, offset, index)

    cdef int _answer(self, Line *line, uint8_t refusal, int64_t available, int64_t version, int64_t offset, int index) except -1:
        cdef uint8_t text[20]
        cdef int partition = (hashed(text, digits(line.number[ORDER_ID], text)) & 0x7FFFFFFF) % <uint32_t>self.partitions
        cdef Answers *answers = self._answers(partition)
        cdef int c
        for c in range(FIELDS):
            put_bytes(&answers.columns[c], line.raw[c], line.size[c])
        return self._seal(answers, partition, refusal, available, version, offset, index)

    cdef Answers *_answers(self, int partition) except NULL:
        if not self.answers_to[partition].used:
            self.answers_to[partition].used = True
            self.order.append(partition)
        return &self.answers_to[partition]

    cdef int _seal(self, Answers *answers, int partition, uint8_t refusal, int64_t available, int64_t version, int64_t offset, int index) except -1:
        put_long(&answers.columns[AVAILABLE], available)
        put_long(&answers.columns[MADE_VERSION], version)
        put_long(&answers.columns[OFFSET], offset)
        put_long(&answers.columns[INDEX], index)
        put_bytes(&answers.refusals, &refusal, 1)
        answers.count += 1
        if answers.count == _MAX_ITEMS:
            self._finish(partition)
        return 0

    def answer(self, int partition, fields):
        """Add an answer of the plain path: the fields of StockDecisions in their order."""
        cdef Answers *answers = self._answers(partition)
        cdef int c
        for c in range(FIELDS):
            if c in (PRODUCT_ID, CURRENCY, USER_ID, PAYMENT_TOKEN):
                text = fields[c].encode()
                put_long(&answers.columns[c], len(text))
                put_bytes(&answers.columns[c], PyBytes_AS_STRING(text), len(text))
            else:
                put_long(&answers.columns[c], fields[c])
        self._seal(answers, partition, fields[10], fields[11], fields[12], fields[13], fields[14])

    cdef int _finish(self, int partition) except -1:
        """Make a record of a partition's answers so far."""
        cdef Answers *answers = &self.answers_to[partition]
        cdef Out *out = &self.scratch
        cdef int c
        out.size = 0
        put_bytes(out, PyBytes_AS_STRING(self.answer_head), PyBytes_GET_SIZE(self.answer_head))
        put_long(out, self.partition)
        put_long(out, self.now)
        for c in range(ARRAYS):
            if c == AVAILABLE:
                put_long(out, answers.count)
                put_bytes(out, answers.refusals.data, answers.refusals.size)
            put_long(out, answers.count)
            put_bytes(out, answers.columns[c].data, answers.columns[c].size)
            put_long(out, 0)
        (<list>self.done[partition]).append(PyBytes_FromStringAndSize(<char *>out.data, out.size))
        self._clear(answers)
        return 0

    def answers(self):
        """Return the batch's StockDecisions: (partition, record), in the order in which the partitions were first answered to."""
        for partition in self.order:
            if self.answers_to[<int>partition].count:
                self._finish(partition)
        return [(partition, record) for partition in self.order for record in self.done[partition]]

    # -- commands of the orders agent --------------------------------------------------------------------------------------

    cdef bint _take_moves(self, bytes value, int64_t offset) except -1:
        """Carry out the commands of one record; False, with nothing done, if that is not to be done here."""
        cdef In source = _body(value)
        cdef const uint8_t *kinds
        cdef Text actor
        cdef int count = _read_moves(&source, self.lines, &kinds)
        cdef int64_t time, characters
        cdef int i
        if count < 0 or get_long(&source, &time) or not _read_text(&source, &actor) or source.at != source.end:
            return False
        characters = _length(&actor)
        if characters > _MAX_ACTOR:
            return False
        self.record += 1
        for i in range(count):
            if not self._is_possible(&self.lines[i], kinds[i]):
                return False
        for i in range(count):
            self._move(&self.lines[i], kinds[i], &actor, offset, i)
        return True

    cdef bint _is_possible(self, Line *line, uint8_t kind) except -1:
        """Whether a command is sound, and its product has the units that it and those before it in its record ask for."""
        cdef Sum *asked
        cdef Row *row
        cdef Moves moves
        if kind != _RELEASE and kind != _SHIP and kind != _RETURN:
            return False
        if line.number[ORDER_ID] <= 0 or not 0 < line.number[QUANTITY] <= _MAX_QUANTITY or not 0 < line.number[PRODUCT_ID] <= MOST_KEY:
            return False
        if memchr(_text_of(line, PRODUCT_ID), 0, line.number[PRODUCT_ID]) != NULL or not 0 < _length_of(line, PRODUCT_ID) <= _MAX_ID:
            return False
        line.row = self._find(_text_of(line, PRODUCT_ID), line.number[PRODUCT_ID])
        if line.row == <uint32_t>NOBODY:
            return False
        row = &self.rows[line.row]
        asked = self._sum(line.row)
        if kind == _RETURN:
            asked.returned += line.number[QUANTITY]
        else:
            asked.reserved += line.number[QUANTITY]
        return (
            asked.reserved <= row.reserved and row.returned + asked.returned <= row.shipped and row.available >= 0 and _read_shelf(row, &moves)
        )

    cdef Sum *_sum(self, uint32_t row) noexcept:
        """Return what the record under way has asked of a row so far."""
        cdef uint32_t slot = (row * <uint32_t>2654435761) >> 20
        while self.sums[slot].record == self.record and self.sums[slot].row != row:
            slot = (slot + 1) & (SUMS - 1)
        if self.sums[slot].record != self.record:
            self.sums[slot].record, self.sums[slot].row = self.record, row
            self.sums[slot].reserved = self.sums[slot].returned = 0
        return &self.sums[slot]

    cdef int _move(self, Line *line, uint8_t kind, Text *actor, int64_t offset, int index) except -1:
        """As _release, _ship, _return and `evolve` of streams/domain/stock.py."""
        cdef Row *row = &self.rows[line.row]
        cdef int64_t units = line.number[QUANTITY], by = 0
        if kind == _RELEASE:
            row.reserved -= units
        elif kind == _SHIP:
            row.reserved -= units
            row.shipped += units
            by = -units
        else:
            row.returned += units
            by = units
        if kind != _SHIP and row.tracked:
            row.available += units
        elif kind != _SHIP:
            row.written_off += units
        row.version += 1
        if by and row.tracked:
            self._remember_move(row, by)
        self._touch(line.row)
        return self._say_moved(line, kind, row, actor, offset, index)

    cdef int _remember_move(self, Row *row, int64_t by) except -1:
        """As _remember_move of streams/domain/stock.py, of a change that is no count."""
        cdef Moves moves
        cdef int64_t at = self.now
        cdef bint full
        cdef int i, first
        _read_shelf(row, &moves)
        full = moves.count == MOST_MOVES
        if moves.count:
            i = moves.count - 1
            at = max(at, moves.at[i])
            if moves.at[i] == at and moves.by[i]:
                by += moves.by[i]
                moves.count -= 1
        if by or full:
            moves.at[moves.count], moves.by[moves.count] = at, by
            moves.count += 1
        first = 1 if moves.count > MOST_MOVES else 0
        self.scratch.size = 0
        put_bytes(&self.scratch, row.text + row.key, moves.begin)
        _put_longs(&self.scratch, &moves.at[first], moves.count - first)
        _put_longs(&self.scratch, &moves.by[first], moves.count - first)
        return self._set_rest(row, self.scratch.data, self.scratch.size)

    cdef int _say_moved(self, Line *line, uint8_t kind, Row *row, Text *actor, int64_t offset, int index) except -1:
        cdef Out *moved = self.moved
        cdef uint8_t zero = 0
        put_bytes(&moved[KIND], &kind, 1)
        put_bytes(&moved[COMMAND_ID], &zero, 1)
        put_bytes(&moved[MOVED_ORDER], line.raw[ORDER_ID], line.size[ORDER_ID])
        put_bytes(&moved[MOVED_LINE], line.raw[LINE], line.size[LINE])
        put_bytes(&moved[MOVED_PRODUCT], line.raw[PRODUCT_ID], line.size[PRODUCT_ID])
        put_bytes(&moved[MOVED_QUANTITY], line.raw[QUANTITY], line.size[QUANTITY])
        put_bytes(&moved[REFUSED], &zero, 1)
        put_long(&moved[NUMBERS], row.available)
        put_long(&moved[NUMBERS + 1], row.reserved)
        put_long(&moved[NUMBERS + 2], row.shipped)
        put_long(&moved[NUMBERS + 3], row.received)
        put_long(&moved[NUMBERS + 4], row.written_off)
        put_long(&moved[NUMBERS + 5], row.returned)
        put_long(&moved[NUMBERS + 6], row.version)
        put_long(&moved[MOVED_OFFSET], offset)
        put_long(&moved[MOVED_INDEX], index)
        put_bytes(&moved[ACTOR], actor.at, actor.size)
        return self._count_moved()

    cdef int _count_moved(self) except -1:
        self.moved_count += 1
        if self.moved_count == _MAX_ITEMS:
            self._finish_moved()
        return 0

    def move(self, fields):
        """Add a movement of the plain path: the fields of StockMovements in their order."""
        cdef uint8_t code
        cdef int c
        for c in range(MOVEMENT):
            if c in (KIND, REFUSED):
                code = fields[c]
                put_bytes(&self.moved[c], &code, 1)
            elif c in (COMMAND_ID, MOVED_PRODUCT, ACTOR):
                text = fields[c].encode()
                put_long(&self.moved[c], len(text))
                put_bytes(&self.moved[c], PyBytes_AS_STRING(text), len(text))
            else:
                put_long(&self.moved[c], fields[c])
        self._count_moved()

    cdef void _clear_moved(self) noexcept:
        cdef int c
        for c in range(MOVEMENT):
            self.moved[c].size = 0
        self.moved_count = 0

    cdef int _finish_moved(self) except -1:
        """Make a record of the movements so far."""
        cdef Out *out = &self.scratch
        cdef int c
        _begin(out, self.movements_head)
        put_long(out, self.partition)
        put_long(out, self.now)
        for c in range(MOVEMENT):
            put_long(out, self.moved_count)
            put_bytes(out, self.moved[c].data, self.moved[c].size)
            if c != KIND and c != REFUSED:
                put_long(out, 0)
        self.moved_done.append(PyBytes_FromStringAndSize(<char *>out.data, out.size))
        self._clear_moved()
        return 0

    def movements(self):
        """Return the batch's StockMovements, which all go to this partition."""
        if self.moved_count:
            self._finish_moved()
        return self.moved_done

    def changed(self):
        """Return the rows that the batch changed, in the order in which it first did: (key, ProductRow, StockLevel)."""
        cdef uint32_t i
        return [self._encoded(&self.rows[self.changed_rows[i]]) for i in range(self.changed_count)]

    cdef tuple _encoded(self, Row *row):
        cdef Out *out = &self.scratch
        cdef Py_ssize_t head = PyBytes_GET_SIZE(self.row_head), middle
        out.size = 0
        put_bytes(out, PyBytes_AS_STRING(self.row_head), head)
        put_long(out, row.key)
        put_bytes(out, row.text, row.key)
        put_long(out, row.available)
        put_long(out, row.reserved)
        put_long(out, row.shipped)
        put_long(out, row.received)
        put_long(out, row.written_off)
        put_long(out, row.returned)
        put_long(out, row.version)
        put_bytes(out, &row.tracked, 1)
        put_bytes(out, &row.frozen, 1)
        middle = out.size
        put_bytes(out, row.text + row.key, row.rest)
        encoded = PyBytes_FromStringAndSize(<char *>out.data, out.size)
        out.size = middle
        put_long(out, self.now)
        memcpy(out.data, PyBytes_AS_STRING(self.level_head), head)
        return PyBytes_FromStringAndSize(<char *>row.text, row.key), encoded, PyBytes_FromStringAndSize(<char *>out.data, out.size)


# -- rows on the wire ------------------------------------------------------------------------------------------------------


cdef bint _numbers(In *source, Row *row) noexcept nogil:
    if (
        get_long(source, &row.available) or get_long(source, &row.reserved) or get_long(source, &row.shipped) or get_long(source, &row.received)
        or get_long(source, &row.written_off) or get_long(source, &row.returned) or get_long(source, &row.version)
        or source.end - source.at < 2 or source.at[0] > 1 or source.at[1] > 1
    ):
        return False
    row.tracked, row.frozen = source.at[0], source.at[1]
    source.at += 2
    return True


cdef void _set_numbers(Row *row, Row *found) noexcept nogil:
    row.available, row.reserved, row.shipped, row.received = found.available, found.reserved, found.shipped, found.received
    row.written_off, row.returned, row.version = found.written_off, found.returned, found.version
    row.tracked, row.frozen = found.tracked, found.frozen


cdef bint _skip_texts(In *source) except -1:
    """Step over an array of texts in one block; False for anything else."""
    cdef int64_t count, size
    if get_long(source, &count) or count < 0 or count > source.end - source.at:
        return False
    if count == 0:
        return True
    while count:
        if get_long(source, &size) or size < 0 or size > source.end - source.at or _characters(source.at, size) < 0:
            return False
        source.at += size
        count -= 1
    return get_long(source, &count) == 0 and count == 0


cdef bint _skip_pairs(In *source) noexcept nogil:
    """Step over two arrays of equally many longs, each in one block; False for anything else."""
    cdef int64_t count = 0, length = 0, i, value
    cdef int place
    for place in range(2):
        if get_long(source, &count) or count < 0 or count > source.end - source.at or place and count != length:
            return False
        length = count
        for i in range(count):
            if get_long(source, &value):
                return False
        if count and (get_long(source, &value) or value):
            return False
    return True


cdef void _begin_array(Out *out, Py_ssize_t count) except *:
    if count:
        put_long(out, count)


cdef void _end_array(Out *out, Py_ssize_t count) except *:
    put_long(out, 0)


cdef int64_t _long(In *source) except? -1:
    cdef int64_t value
    if get_long(source, &value):
        raise ValueError("a row in memory is broken")
    return value


cdef Py_ssize_t _count(In *source) except -1:
    return _long(source)


cdef object _text(In *source):
    cdef Py_ssize_t size = _long(source)
    text = PyUnicode_DecodeUTF8(<const char *>source.at, size, NULL)
    source.at += size
    return text


cdef bint _read_shelf(Row *row, Moves *moves) except -1:
    """Read a row's moves; False where there are more, or larger ones, than this path has a place for."""
    cdef In source
    cdef int64_t count, end
    cdef int i
    source.at, source.end = row.text + row.key, row.text + row.key + row.rest
    _skip_texts(&source)
    moves.begin = source.at - row.text - row.key
    moves.count = 0
    count = _long(&source)
    if count > MOST_MOVES:
        return False
    for i in range(count):
        moves.at[i] = _long(&source)
    if count and (_long(&source) or _long(&source) != count):
        return False
    for i in range(count):
        moves.by[i] = _long(&source)
        if not -_LARGEST_MOVE <= moves.by[i] <= _LARGEST_MOVE:
            return False
    moves.count = <int>count
    return True


cdef int _put_longs(Out *out, const int64_t *numbers, int count) except -1:
    """Write an array."""
    cdef int i
    if count:
        put_long(out, count)
    for i in range(count):
        put_long(out, numbers[i])
    return put_long(out, 0)


# -- commands of the orders agent on the wire ------------------------------------------------------------------------------


cdef int _read_moves(In *source, Line *lines, const uint8_t **kinds) except -2:
    """Read the columns of StockCommands without IDs, each in one block; return how many items there are, or -1 for anything else."""
    cdef int64_t count
    if get_long(source, &count) or not 0 < count <= _MAX_ITEMS or source.end - source.at < count:
        return -1
    kinds[0] = source.at
    source.at += count
    if not (
        _skip_zeros(source, count) and _read_column(source, lines, ORDER_ID, count) and _read_column(source, lines, LINE, count)
        and _read_column(source, lines, PRODUCT_ID, count) and _read_column(source, lines, QUANTITY, count) and _skip_column(source, <int>count, False)
    ):
        return -1
    return <int>count


cdef bint _skip_zeros(In *source, int64_t count) noexcept nogil:
    """Step over an array of so many empty texts in one block; False for anything else."""
    cdef int64_t size, i
    if get_long(source, &size) or size != count:
        return False
    for i in range(count + 1):
        if get_long(source, &size) or size:
            return False
    return True


cdef bint _read_column(In *source, Line *lines, int field, int64_t count) noexcept nogil:
    cdef int64_t size, i
    if get_long(source, &size) or size != count:
        return False
    for i in range(count):
        if _read_item(source, &lines[i], field) or field == LINE and not _LEAST_INT <= lines[i].number[LINE] <= _LARGEST_INT:
            return False
    return get_long(source, &size) == 0 and size == 0


# -- an order line on the wire ---------------------------------------------------------------------------------------------


cdef int _read_line(In *source, Line *lines) noexcept nogil:
    """Read an OrderLine; return 1, or -1 if it is none."""
    cdef int field
    for field in range(FIELDS):
        if _read_item(source, lines, field):
            return -1
    return 1
