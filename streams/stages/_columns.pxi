# Columns on the wire, for the compiled modules beside it, which include this.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from schemas._wire cimport In, Out, digits, get_long, hashed, put_bytes

from schemas.outcomes import MAX_ITEMS

cdef int _MAX_ITEMS = MAX_ITEMS
cdef int64_t _LEAST_INT = -(2**31), _LARGEST_INT = 2**31 - 1

cdef struct Text:  # as it stands on the wire, its length before it
    const uint8_t *at
    uint32_t size


cdef inline bint _begins(bytes value, bytes head) noexcept:
    return PyBytes_GET_SIZE(value) > 5 and memcmp(PyBytes_AS_STRING(value), PyBytes_AS_STRING(head), 5) == 0


cdef inline In _body(bytes value) noexcept:
    cdef In source
    source.at = <const uint8_t *>PyBytes_AS_STRING(value) + 5
    source.end = <const uint8_t *>PyBytes_AS_STRING(value) + PyBytes_GET_SIZE(value)
    return source


cdef inline bint _skip_ints(In *source, int64_t count) noexcept nogil:
    cdef int64_t number, i
    for i in range(count):
        if get_long(source, &number) or not _LEAST_INT <= number <= _LARGEST_INT:
            return False
    return True


cdef inline bint _skip_longs(In *source, int64_t count) noexcept nogil:
    cdef int64_t number, i
    for i in range(count):
        if get_long(source, &number):
            return False
    return True


cdef inline bint _skip_column(In *source, int count, bint ints) noexcept nogil:
    """Step over an array of so many numbers in one block; False for anything else."""
    cdef int64_t size
    if get_long(source, &size) or size != count or not (_skip_ints(source, count) if ints else _skip_longs(source, count)):
        return False
    return get_long(source, &size) == 0 and size == 0


cdef inline const uint8_t *_codes(In *source, int count) noexcept nogil:
    """Read so many bytes; NULL for anything else."""
    cdef const uint8_t *found
    cdef int64_t size
    if get_long(source, &size) or size != count or source.end - source.at < size:
        return NULL
    found = source.at
    source.at += size
    return found


cdef inline int _characters(const uint8_t *text, Py_ssize_t size) except -2:
    """Return how many characters a text has; -1 if it is no UTF-8."""
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] & 0x80:
            break
    else:
        return <int>size
    try:
        return len(PyUnicode_DecodeUTF8(<const char *>text, size, NULL))
    except UnicodeDecodeError:
        return -1


cdef inline bint _read_text(In *source, Text *text) except -1:
    """Read a text; False for anything else."""
    cdef int64_t size
    text.at = source.at
    if get_long(source, &size) or size < 0 or size > source.end - source.at or _characters(source.at, size) < 0:
        return False
    source.at += size
    text.size = <uint32_t>(source.at - text.at)
    return True


cdef inline int64_t _length_in_bytes(Text *text) noexcept nogil:
    cdef In source
    cdef int64_t size = 0
    source.at, source.end = text.at, text.at + text.size
    get_long(&source, &size)
    return size


cdef inline int _length(Text *text) except -2:
    """Return a text's characters."""
    cdef int64_t size = _length_in_bytes(text)
    return _characters(text.at + text.size - size, size)


cdef inline object _str_of(Text *text):
    cdef int64_t size = _length_in_bytes(text)
    return PyUnicode_DecodeUTF8(<const char *>text.at + text.size - size, size, NULL)


cdef inline int _begin(Out *out, bytes head) except -1:
    out.size = 0
    return put_bytes(out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))


cdef inline int _put(Out *out, Text *text) except -1:
    return put_bytes(out, text.at, text.size)


cdef inline int _home(int64_t order_id, int partitions) noexcept nogil:
    """As `order_partition`; -1 for a number below 0."""
    cdef uint8_t text[20]
    return -1 if order_id < 0 else <int>((hashed(text, digits(order_id, text)) & 0x7FFFFFFF) % <uint32_t>partitions)
