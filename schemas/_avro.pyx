# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Avro in C for our own records: see schemas/compiled.py for what becomes of it where there is no compiler.

`plan` makes a Plan of a schema; `Plan.decode` and `Plan.encode` do what fastavro does, byte for byte, wherever everything is as it should be. For
anything else they raise `UnplainError`, and the caller asks fastavro: what is refused, and with which words, is said in one place.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t

from schemas._wire cimport In, Out, digits, get_long, hashed, put_bytes, put_long, release, reserve

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

VERSION = 1

cdef enum:
    LONG, INT, STRING, BYTES, BOOLEAN, ENUM, ARRAY, RECORD, OPTIONAL

cdef dict _KINDS = {"long": LONG, "int": INT, "string": STRING, "bytes": BYTES, "boolean": BOOLEAN}


class UnplainError(Exception):
    """Not what it should be, or nothing that is made here."""


cdef class Plan:
    """How one schema is read and written."""

    cdef int kind
    cdef Plan item  # of an array, or of an optional value
    cdef int null  # of an optional value: the branch that is null
    cdef list fields  # of a record: Plans
    cdef list names
    cdef list symbols
    cdef dict codes

    def decode(self, bytes data, Py_ssize_t start):
        """Return (value, where it ends) of the record that begins at `start`."""
        cdef In source
        source.at = <const uint8_t *>PyBytes_AS_STRING(data) + start
        source.end = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        value = _read(self, &source)
        return value, source.at - <const uint8_t *>PyBytes_AS_STRING(data)

    def encode(self, bytes header, value):
        """Return the header and the value's bytes."""
        cdef Out out
        out.data = NULL
        out.size = out.room = 0
        try:
            put_bytes(&out, PyBytes_AS_STRING(header), PyBytes_GET_SIZE(header))
            _write(self, value, &out)
            return PyBytes_FromStringAndSize(<char *>out.data, out.size)
        finally:
            release(&out)


def plan(schema):
    """Return the Plan of a schema (as parsed JSON); None for one with something that is not made here."""
    try:
        return _plan(schema)
    except UnplainError:
        return None


cdef Plan _plan(schema):
    cdef Plan made = Plan()
    if isinstance(schema, str) and schema in _KINDS:
        made.kind = _KINDS[schema]
    elif isinstance(schema, list) and len(schema) == 2 and "null" in schema:
        made.kind, made.null = OPTIONAL, schema.index("null")
        made.item = _plan(schema[1 - made.null])
    elif isinstance(schema, dict) and schema["type"] == "array":
        made.kind, made.item = ARRAY, _plan(schema["items"])
    elif isinstance(schema, dict) and schema["type"] == "enum":
        made.kind, made.symbols = ENUM, list(schema["symbols"])
        made.codes = {symbol: code for code, symbol in enumerate(made.symbols)}
    elif isinstance(schema, dict) and schema["type"] == "record":
        made.kind, made.names = RECORD, [field["name"] for field in schema["fields"]]
        made.fields = [_plan(field["type"]) for field in schema["fields"]]
    elif isinstance(schema, dict) and isinstance(schema["type"], str) and schema["type"] in _KINDS:
        made.kind = _KINDS[schema["type"]]
    else:
        raise UnplainError(schema)
    return made


# -- reading ---------------------------------------------------------------------------------------------------------------


cdef int64_t _long(In *source) except? -1:
    cdef int64_t value
    if get_long(source, &value):
        raise UnplainError("long")
    return value


cdef Py_ssize_t _length(In *source) except -1:
    cdef int64_t size = _long(source)
    if size < 0 or size > source.end - source.at:
        raise UnplainError("length")
    return size


cdef object _text(In *source):
    cdef Py_ssize_t size = _length(source)
    text = PyUnicode_DecodeUTF8(<const char *>source.at, size, NULL)
    source.at += size
    return text


cdef object _raw(In *source):
    cdef Py_ssize_t size = _length(source)
    raw = PyBytes_FromStringAndSize(<const char *>source.at, size)
    source.at += size
    return raw


cdef object _int(In *source):
    cdef int64_t value = _long(source)
    if not -2147483648 <= value <= 2147483647:
        raise UnplainError("int")
    return value


cdef object _boolean(In *source):
    if source.at >= source.end or source.at[0] > 1:
        raise UnplainError("boolean")
    value = source.at[0] == 1
    source.at += 1
    return value


cdef object _symbol(Plan plan, In *source):
    cdef int64_t code = _long(source)
    if not 0 <= code < len(plan.symbols):
        raise UnplainError("enum")
    return plan.symbols[code]


cdef list _array(Plan plan, In *source):
    cdef list items = []
    cdef Plan item = plan.item
    cdef int64_t count
    while True:
        count = _long(source)
        if count == 0:
            return items
        if count < 0 or count > source.end - source.at:
            raise UnplainError("array")
        while count:
            items.append(_read(item, source))
            count -= 1


cdef dict _record(Plan plan, In *source):
    cdef dict value = {}
    cdef Py_ssize_t i
    for i in range(len(plan.fields)):
        value[plan.names[i]] = _read(<Plan>PyList_GET_ITEM(plan.fields, i), source)
    return value


cdef object _optional(Plan plan, In *source):
    cdef int64_t branch = _long(source)
    if not 0 <= branch <= 1:
        raise UnplainError("union")
    return None if branch == plan.null else _read(plan.item, source)


cdef object _read(Plan plan, In *source):
    if plan.kind == LONG:
        return _long(source)
    if plan.kind == INT:
        return _int(source)
    if plan.kind == STRING:
        return _text(source)
    if plan.kind == ARRAY:
        return _array(plan, source)
    if plan.kind == BYTES:
        return _raw(source)
    if plan.kind == RECORD:
        return _record(plan, source)
    if plan.kind == ENUM:
        return _symbol(plan, source)
    if plan.kind == OPTIONAL:
        return _optional(plan, source)
    return _boolean(source)


# -- writing ---------------------------------------------------------------------------------------------------------------


cdef int _put_int(object value, Out *out, bint narrow) except -1:
    cdef int overflow = 0
    cdef long long number
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnplainError("int")
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or narrow and not -2147483648 <= number <= 2147483647:
        raise UnplainError("int")
    return put_long(out, number)


cdef int _put_text(object value, Out *out) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *text
    if not isinstance(value, str):
        raise UnplainError("string")
    text = PyUnicode_AsUTF8AndSize(value, &size)
    put_long(out, size)
    return put_bytes(out, text, size)


cdef int _put_raw(object value, Out *out) except -1:
    if type(value) is not bytes:
        raise UnplainError("bytes")
    put_long(out, PyBytes_GET_SIZE(value))
    return put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef int _put_boolean(object value, Out *out) except -1:
    if value is not True and value is not False:
        raise UnplainError("boolean")
    reserve(out, 1)
    out.data[out.size] = value is True
    out.size += 1
    return 0


cdef int _put_symbol(Plan plan, object value, Out *out) except -1:
    if type(value) is not str or value not in plan.codes:
        raise UnplainError("enum")
    return put_long(out, plan.codes[value])


cdef int _put_array(Plan plan, object value, Out *out) except -1:
    cdef Py_ssize_t i
    cdef Plan item = plan.item
    if type(value) is tuple:
        if len(<tuple>value):
            put_long(out, len(<tuple>value))
        for i in range(len(<tuple>value)):
            _write(item, <object>PyTuple_GET_ITEM(value, i), out)
    elif type(value) is list:
        if len(<list>value):
            put_long(out, len(<list>value))
        for i in range(len(<list>value)):
            _write(item, <object>PyList_GET_ITEM(value, i), out)
    else:
        raise UnplainError("array")
    return put_long(out, 0)


cdef int _put_record(Plan plan, object value, Out *out) except -1:
    cdef PyObject *found
    cdef Py_ssize_t i
    if type(value) is not dict:
        raise UnplainError("record")
    for i in range(len(plan.fields)):
        found = PyDict_GetItem(value, <object>PyList_GET_ITEM(plan.names, i))
        if found == NULL:
            raise UnplainError("field")
        _write(<Plan>PyList_GET_ITEM(plan.fields, i), <object>found, out)
    return 0


cdef int _put_optional(Plan plan, object value, Out *out) except -1:
    if value is None:
        return put_long(out, plan.null)
    put_long(out, 1 - plan.null)
    return _write(plan.item, value, out)


cdef int _write(Plan plan, object value, Out *out) except -1:
    if plan.kind == LONG:
        return _put_int(value, out, False)
    if plan.kind == INT:
        return _put_int(value, out, True)
    if plan.kind == STRING:
        return _put_text(value, out)
    if plan.kind == ARRAY:
        return _put_array(plan, value, out)
    if plan.kind == BYTES:
        return _put_raw(value, out)
    if plan.kind == RECORD:
        return _put_record(plan, value, out)
    if plan.kind == ENUM:
        return _put_symbol(plan, value, out)
    if plan.kind == OPTIONAL:
        return _put_optional(plan, value, out)
    return _put_boolean(value, out)


# -- partitions ------------------------------------------------------------------------------------------------------------


def murmur2(bytes data):
    """Return Kafka's 32-bit murmur2 hash of `data`, unsigned."""
    return hashed(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def number_partition(number, int partitions):
    """Return the partition of a key that is a number in decimal; raises OverflowError beyond 64 bits."""
    cdef uint8_t text[20]
    cdef int64_t n = number
    if n < 0:
        return (murmur2(b"%d" % number) & 0x7FFFFFFF) % partitions
    return (hashed(text, digits(n, text)) & 0x7FFFFFFF) % partitions
