# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Plain records from wire bytes to rows in C: see schemas/compiled.py for what becomes of it where there is no compiler.

A record is plain if it was written with the current schema, every store can take it, it breaks no promise, and its texts are printable ASCII without
quotes and backslashes, which SQL and JSON write as they are. For any other record a reader returns None, and rows.py, alarms.py, sql.py and
redis_sink.py do what is to be done: what is refused, and with which words, is said there. Of a plain one the rows are theirs, byte for byte.
"""

from collections.abc import Mapping

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, strlen

from schemas._wire cimport In, Out, digits, get_long, hashed, put_bytes, release, reserve

from schemas import codec
from schemas.outcomes import MAX_ID_LENGTH, MAX_LINES, MAX_TIME

VERSION = 2

cdef enum:
    MOST_SYMBOLS = 16
    CURRENCY = 8
    REFUSAL = 32
    DAY_MS = 86_400_000

cdef int64_t LATEST = MAX_TIME, MOST_LINES = MAX_LINES
cdef Py_ssize_t ID = MAX_ID_LENGTH
cdef int64_t MOST_UNITS = <int64_t>1 << 60

cdef struct Text:
    const uint8_t *at
    Py_ssize_t size

cdef struct Line:
    int64_t line
    Text product_id
    int64_t quantity
    int64_t unit_price
    int64_t status
    Text refusal
    int64_t returned

_ORDER = [
    *(("order_id", "long"), ("version", "int"), ("change", "enum"), ("status", "enum"), ("refusal", "string"), ("user_id", "string"), ("currency", "string")),
    *(("amount", "long"), ("charged", "long"), ("refunded", "long"), ("attempt", "int"), ("line_count", "int"), ("lines", "array")),
    *(("placed_at", "long"), ("decided_at", "long"), ("changed_at", "long")),
]
_LINE = [
    *(("line", "int"), ("product_id", "string"), ("quantity", "long"), ("unit_price", "long"), ("status", "enum"), ("refusal", "string"), ("returned", "long")),
]
_PRODUCT = [
    *(("product_id", "string"), ("available", "long"), ("reserved", "long"), ("shipped", "long"), ("received", "long"), ("written_off", "long")),
    *(("returned", "long"), ("version", "long"), ("tracked", "boolean"), ("frozen", "boolean"), ("updated_at", "long")),
]


cdef _shape(schema):
    """Return the names and kinds of a record's fields."""
    return [(field["name"], _kind(field["type"])) for field in schema["fields"]]


cdef _kind(kind):
    return kind["type"] if isinstance(kind, dict) else kind


cdef dict _types(schema):
    return {field["name"]: field["type"] for field in schema["fields"]}


# -- reading ---------------------------------------------------------------------------------------------------------------


cdef inline int _int(In *source, int64_t *value) noexcept nogil:
    return -1 if get_long(source, value) or not -2147483648 <= value[0] <= 2147483647 else 0


cdef inline int _code(In *source, int64_t *value, int symbols) noexcept nogil:
    return -1 if get_long(source, value) or not 0 <= value[0] < symbols else 0


cdef inline int _time(In *source, int64_t *value) noexcept nogil:
    return -1 if get_long(source, value) or not 0 <= value[0] <= LATEST else 0


cdef inline int _flag(In *source, uint8_t *value) noexcept nogil:
    if source.at >= source.end or source.at[0] > 1:
        return -1
    value[0] = source.at[0]
    source.at += 1
    return 0


cdef inline int _text(In *source, Text *text, Py_ssize_t least, Py_ssize_t most) noexcept nogil:
    cdef int64_t size
    cdef Py_ssize_t i
    cdef uint8_t c
    if get_long(source, &size) or not least <= size <= most or size > source.end - source.at:
        return -1
    for i in range(size):
        c = source.at[i]
        if c < 0x20 or c > 0x7E or c == 0x22 or c == 0x27 or c == 0x5C:
            return -1
    text.at = source.at
    text.size = size
    source.at += size
    return 0


cdef inline int _line(In *source, Line *line, int symbols) noexcept nogil:
    if _int(source, &line.line) or _text(source, &line.product_id, 1, ID) or get_long(source, &line.quantity) or get_long(source, &line.unit_price):
        return -1
    return -1 if _code(source, &line.status, symbols) or _text(source, &line.refusal, 0, REFUSAL) or get_long(source, &line.returned) else 0


# -- writing ---------------------------------------------------------------------------------------------------------------


cdef inline int _put(Out *out, const char *text) except -1:
    return put_bytes(out, text, strlen(text))


cdef inline int _put_text(Out *out, Text text) except -1:
    return put_bytes(out, text.at, text.size)


cdef inline int _put_number(Out *out, int64_t value) except -1:
    cdef uint8_t *text
    if value < 0:
        if value == -9223372036854775807 - 1:
            return _put(out, b"-9223372036854775808")
        _put(out, b"-")
        value = -value
    reserve(out, 20)
    text = out.data + out.size
    out.size += digits(value, text)
    return 0


cdef inline void _two(uint8_t *text, int64_t value) noexcept nogil:
    text[0] = <uint8_t>(48 + value // 10)
    text[1] = <uint8_t>(48 + value % 10)


cdef int _put_time(Out *out, int64_t ms) except -1:
    """A time, ms since 1970 UTC, as a quoted DATETIME(3)."""
    cdef int64_t days = ms // DAY_MS, rest = ms % DAY_MS
    # Days of the Gregorian calendar from 0000-03-01 on: a leap day is the last of its year.
    cdef int64_t z = days + 719_468
    cdef int64_t era = z // 146_097
    cdef int64_t doe = z - era * 146_097
    cdef int64_t yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365
    cdef int64_t doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    cdef int64_t mp = (5 * doy + 2) // 153
    cdef int64_t day = doy - (153 * mp + 2) // 5 + 1
    cdef int64_t month = mp + 3 if mp < 10 else mp - 9
    cdef int64_t year = yoe + era * 400 + (1 if month <= 2 else 0)
    cdef uint8_t *text
    put_bytes(out, <const char *>b"'0000-00-00 00:00:00.000'", 25)
    text = out.data + out.size - 25
    _two(text + 1, year // 100)
    _two(text + 3, year % 100)
    _two(text + 6, month)
    _two(text + 9, day)
    _two(text + 12, rest // 3_600_000)
    _two(text + 15, rest // 60_000 % 60)
    _two(text + 18, rest // 1_000 % 60)
    text[21] = <uint8_t>(48 + rest // 100 % 10)
    _two(text + 22, rest % 100)
    return 0


cdef int _put_head(Out *out, Py_ssize_t size) except -1:
    """What msgpack puts before a text of so many bytes."""
    reserve(out, 5)
    cdef uint8_t *at = out.data + out.size
    if size < 32:
        at[0] = <uint8_t>(0xA0 | size)
        out.size += 1
    elif size < 0x100:
        at[0], at[1] = 0xD9, <uint8_t>size
        out.size += 2
    elif size < 0x10000:
        at[0], at[1], at[2] = 0xDA, <uint8_t>(size >> 8), <uint8_t>(size & 0xFF)
        out.size += 3
    else:
        at[0], at[1], at[2], at[3], at[4] = 0xDB, <uint8_t>(size >> 24), <uint8_t>(size >> 16 & 0xFF), <uint8_t>(size >> 8 & 0xFF), <uint8_t>(size & 0xFF)
        out.size += 5
    return 0


cdef inline int _pack_text(Out *out, Text text) except -1:
    _put_head(out, text.size)
    return _put_text(out, text)


cdef int _pack_number(Out *out, int64_t value) except -1:
    """A number as msgpack's text of its decimal digits: what a hash of Redis holds."""
    cdef Py_ssize_t before
    reserve(out, 1)
    before = out.size
    out.size += 1
    _put_number(out, value)
    out.data[before] = <uint8_t>(0xA0 | (out.size - before - 1))
    return 0


cdef str _made(Out *out):
    return PyUnicode_DecodeASCII(<char *>out.data, out.size, NULL)


# -- records ---------------------------------------------------------------------------------------------------------------


cdef class Row:
    """A plain record: to everybody but the two sinks a mapping of its fields, decoded when somebody asks for one."""

    cdef readonly bytes data
    cdef readonly int64_t version
    cdef dict _fields

    cdef dict fields(self):
        if self._fields is None:
            self._fields = codec.decode(self.data).value
        return self._fields

    def __getitem__(self, name):
        return self.version if name == "version" else self.fields()[name]

    def __iter__(self):
        return iter(self.fields())

    def __len__(self):
        return len(self.fields())

    def keys(self):
        """Return the fields' names."""
        return self.fields().keys()


Mapping.register(Row)


cdef class Symbols:
    """The symbols of an Avro enum."""

    cdef Text texts[MOST_SYMBOLS]
    cdef int count
    cdef list kept

    def __init__(self, symbols):
        if len(symbols) > MOST_SYMBOLS:
            raise ValueError(f"{len(symbols)} symbols")
        self.kept = [symbol.encode("ascii") for symbol in symbols]
        self.count = len(symbols)
        for i, symbol in enumerate(self.kept):
            self.texts[i].at, self.texts[i].size = <const uint8_t *>PyBytes_AS_STRING(symbol), PyBytes_GET_SIZE(symbol)


cdef class Order(Row):
    """An OrderOutcome."""

    cdef readonly int64_t order_id
    cdef readonly int64_t lines
    cdef OrderReader reader
    cdef Text _refusal
    cdef Text _user
    cdef Text _currency
    cdef int64_t _change
    cdef int64_t _status
    cdef int64_t _numbers[5]  # amount, charged, refunded, attempt, line_count
    cdef int64_t _times[3]  # placed, decided, changed
    cdef In _items

    @property
    def user_id(self):
        """Whose order it is."""
        return PyUnicode_DecodeASCII(<const char *>self._user.at, self._user.size, NULL)

    @property
    def placed_at(self):
        """When, in ms since 1970 UTC."""
        return self._times[0]

    @property
    def is_shipped(self):
        """Whether it says no more than that all its lines are shipped now, none of which has come back."""
        cdef In items = self._items
        cdef Line line
        cdef int64_t i
        if self.version < 2 or not self.lines or self._change != self.reader.shipped or self._status != self.reader.shipped_order:
            return False
        for i in range(self.lines):
            _line(&items, &line, MOST_SYMBOLS)
            if line.status != self.reader.shipped_line or line.refusal.size or line.returned:
                return False
        return True

    def sql(self):
        """Return the row of `orders` as SQL."""
        cdef Out out
        cdef int i
        out.data, out.size, out.room = NULL, 0, 0
        try:
            reserve(&out, 256)
            _put(&out, b"(")
            _put_number(&out, self.order_id)
            _put(&out, b",'")
            _put_text(&out, self._user)
            _put(&out, b"','")
            _put_text(&out, self.reader.statuses.texts[self._status])
            _put(&out, b"','")
            _put_text(&out, self._refusal)
            _put(&out, b"',")
            _put_number(&out, self.version)
            _put(&out, b",'")
            _put_text(&out, self._currency)
            _put(&out, b"'")
            for i in range(5):
                _put(&out, b",")
                _put_number(&out, self._numbers[i])
            for i in range(3):
                _put(&out, b",")
                _put_time(&out, self._times[i])
            _put(&out, b")")
            return _made(&out)
        finally:
            release(&out)

    def lines_sql(self, int shard=0, int shards=1):
        """Return the rows of `order_lines` as SQL, of those that one of several shards holds."""
        cdef Out out
        cdef In items = self._items
        cdef Line line
        cdef list made = []
        cdef int64_t i
        out.data, out.size, out.room = NULL, 0, 0
        try:
            reserve(&out, 160)
            for i in range(self.lines):
                _line(&items, &line, MOST_SYMBOLS)
                if shards > 1 and <int>((hashed(line.product_id.at, line.product_id.size) & 0x7FFFFFFF) % <unsigned int>shards) != shard:
                    continue
                out.size = 0
                self._put_line(&out, &line)
                made.append(_made(&out))
            return made
        finally:
            release(&out)

    cdef int _put_line(self, Out *out, Line *line) except -1:
        _put(out, b"(")
        _put_number(out, self.order_id)
        _put(out, b",")
        _put_number(out, line.line)
        _put(out, b",'")
        _put_text(out, line.product_id)
        _put(out, b"',")
        _put_number(out, line.quantity)
        _put(out, b",")
        _put_number(out, line.unit_price)
        _put(out, b",'")
        _put_text(out, self.reader.line_statuses.texts[line.status])
        _put(out, b"','")
        _put_text(out, line.refusal)
        _put(out, b"',")
        _put_number(out, line.returned)
        _put(out, b",")
        _put_number(out, self.version)
        return _put(out, b")")

    def packed(self):
        """Return the values of the Redis hash, an array of texts in msgpack."""
        cdef Out out, lines
        cdef int i
        out.data, out.size, out.room = NULL, 0, 0
        lines.data, lines.size, lines.room = NULL, 0, 0
        try:
            reserve(&out, 512)
            _put(&out, b"\x9f")
            _pack_number(&out, self.order_id)
            _pack_text(&out, self._user)
            _pack_text(&out, self.reader.statuses.texts[self._status])
            _pack_text(&out, self._refusal)
            _pack_number(&out, self.version)
            _pack_text(&out, self._currency)
            for i in range(5):
                _pack_number(&out, self._numbers[i])
            for i in range(3):
                _pack_number(&out, self._times[i])
            self._put_json(&lines)
            _put_head(&out, lines.size)
            put_bytes(&out, lines.data, lines.size)
            return PyBytes_FromStringAndSize(<char *>out.data, out.size)
        finally:
            release(&out)
            release(&lines)

    cdef int _put_json(self, Out *out) except -1:
        cdef In items = self._items
        cdef Line line
        cdef int64_t i
        reserve(out, 160 * self.lines + 2)
        _put(out, b"[")
        for i in range(self.lines):
            _line(&items, &line, MOST_SYMBOLS)
            _put(out, b',{"line":' if i else b'{"line":')
            _put_number(out, line.line)
            _put(out, b',"product_id":"')
            _put_text(out, line.product_id)
            _put(out, b'","quantity":')
            _put_number(out, line.quantity)
            _put(out, b',"unit_price":')
            _put_number(out, line.unit_price)
            _put(out, b',"status":"')
            _put_text(out, self.reader.line_statuses.texts[line.status])
            _put(out, b'","refusal":"')
            _put_text(out, line.refusal)
            _put(out, b'","returned":')
            _put_number(out, line.returned)
            _put(out, b"}")
        return _put(out, b"]")


cdef class OrderReader:
    """Makes Orders of plain OrderOutcomes. `kept`, `gone`: statuses of orders that hold all their lines, of lines that are not held; `first`: an order's first changes."""

    cdef bytes header
    cdef Symbols statuses
    cdef Symbols line_statuses
    cdef int changes
    cdef int imported
    cdef int shipped
    cdef int shipped_order
    cdef int shipped_line
    cdef unsigned int first
    cdef unsigned int kept
    cdef unsigned int gone

    def __init__(self, header, schema, first, kept, gone, imported="IMPORTED", shipped="SHIPPED"):
        types = _types(schema)
        line = types["lines"]["items"]
        if _shape(schema) != _ORDER or _shape(line) != _LINE or len(header) != codec.HEADER_BYTES:
            raise ValueError("another schema than this was made for")
        changes, statuses, line_statuses = types["change"]["symbols"], types["status"]["symbols"], _types(line)["status"]["symbols"]
        self.header = header
        self.statuses, self.line_statuses = Symbols(statuses), Symbols(line_statuses)
        self.changes, self.imported = len(changes), changes.index(imported)
        self.shipped, self.shipped_order, self.shipped_line = changes.index(shipped), statuses.index(shipped), line_statuses.index(shipped)
        self.first, self.kept, self.gone = _mask(changes, first), _mask(statuses, kept), _mask(line_statuses, gone)

    def read(self, bytes data not None):
        """Return the Order of a plain record, None of any other."""
        cdef Order order
        cdef In source
        if not _begins(data, self.header):
            return None
        order = Order.__new__(Order)
        source.at = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(self.header)
        source.end = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        if self._read(&source, order) or source.at != source.end:
            return None
        order.data, order.reader = data, self
        return order

    cdef int _read(self, In *source, Order order) noexcept:
        cdef int64_t held = 0
        if get_long(source, &order.order_id) or _int(source, &order.version):
            return -1
        if _code(source, &order._change, self.changes) or _code(source, &order._status, self.statuses.count) or _text(source, &order._refusal, 0, REFUSAL):
            return -1
        if _text(source, &order._user, 1, ID) or _text(source, &order._currency, 0, CURRENCY):
            return -1
        if get_long(source, &order._numbers[0]) or get_long(source, &order._numbers[1]) or get_long(source, &order._numbers[2]):
            return -1
        if _int(source, &order._numbers[3]) or _int(source, &order._numbers[4]) or self._read_lines(source, order, &held):
            return -1
        if _time(source, &order._times[0]) or _time(source, &order._times[1]) or _time(source, &order._times[2]):
            return -1
        return 0 if order._change == self.imported or self._keeps(order, held) else -1

    cdef int _read_lines(self, In *source, Order order, int64_t *held) noexcept:
        cdef Line line
        cdef int64_t i, end = 0, before = -2147483649
        if get_long(source, &order.lines) or not 0 <= order.lines <= MOST_LINES:
            return -1
        order._items = source[0]
        for i in range(order.lines):
            if _line(source, &line, self.line_statuses.count) or line.line <= before:
                return -1
            before = line.line
            held[0] += not self.gone >> line.status & 1
        return -1 if order.lines and (get_long(source, &end) or end) else 0

    cdef bint _keeps(self, Order order, int64_t held) noexcept:
        """Whether it breaks no promise: see alarms.py."""
        if (self.first >> order._change & 1) != (order.version == 1) or not 0 <= order._numbers[2] <= order._numbers[1] <= order._numbers[0]:
            return False
        return held == order.lines == order._numbers[4] if self.kept >> order._status & 1 else held == 0


cdef class Product(Row):
    """A StockLevel."""

    cdef Text _product
    cdef int64_t _units[6]
    cdef uint8_t _tracked
    cdef uint8_t _frozen
    cdef int64_t _updated_at

    @property
    def product_id(self):
        """Which product it is."""
        return PyUnicode_DecodeASCII(<const char *>self._product.at, self._product.size, NULL)

    def sql(self):
        """Return the row of `products` as SQL."""
        cdef Out out
        cdef int i
        out.data, out.size, out.room = NULL, 0, 0
        try:
            reserve(&out, 160)
            _put(&out, b"('")
            _put_text(&out, self._product)
            _put(&out, b"',")
            for i in range(6):
                _put_number(&out, self._units[i])
                _put(&out, b",")
            _put_number(&out, self.version)
            _put(&out, b",1," if self._tracked else b",0,")
            _put(&out, b"1," if self._frozen else b"0,")
            _put_time(&out, self._updated_at)
            _put(&out, b")")
            return _made(&out)
        finally:
            release(&out)

    def packed(self):
        """Return the values of the Redis hash, an array of texts in msgpack."""
        cdef Out out
        cdef int i
        out.data, out.size, out.room = NULL, 0, 0
        try:
            reserve(&out, 160)
            _put(&out, b"\x9b")
            _pack_text(&out, self._product)
            for i in range(6):
                _pack_number(&out, self._units[i])
            _pack_number(&out, self.version)
            _pack_number(&out, self._tracked)
            _pack_number(&out, self._frozen)
            _pack_number(&out, self._updated_at)
            return PyBytes_FromStringAndSize(<char *>out.data, out.size)
        finally:
            release(&out)


cdef class ProductReader:
    """Makes Products of plain StockLevels."""

    cdef bytes header

    def __init__(self, header, schema):
        if _shape(schema) != _PRODUCT or len(header) != codec.HEADER_BYTES:
            raise ValueError("another schema than this was made for")
        self.header = header

    def read(self, bytes data not None):
        """Return the Product of a plain record, None of any other."""
        cdef Product product
        cdef In source
        if not _begins(data, self.header):
            return None
        product = Product.__new__(Product)
        source.at = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(self.header)
        source.end = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        if _read_product(&source, product) or source.at != source.end:
            return None
        product.data = data
        return product


cdef int _read_product(In *source, Product product) noexcept:
    cdef int i
    if _text(source, &product._product, 1, ID):
        return -1
    for i in range(6):
        if get_long(source, &product._units[i]) or not 0 <= product._units[i] < MOST_UNITS:
            return -1
    if get_long(source, &product.version) or _flag(source, &product._tracked) or _flag(source, &product._frozen) or _time(source, &product._updated_at):
        return -1
    # available + reserved + shipped = received - written off + returned: see alarms.py
    return 0 if product._units[0] + product._units[1] + product._units[2] == product._units[3] - product._units[4] + product._units[5] else -1


cdef inline bint _begins(bytes data, bytes header) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(header)
    return PyBytes_GET_SIZE(data) >= size and not memcmp(PyBytes_AS_STRING(data), PyBytes_AS_STRING(header), size)


cdef unsigned int _mask(symbols, chosen) except *:
    return sum([1 << symbols.index(symbol) for symbol in chosen])
