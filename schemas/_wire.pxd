# What the compiled modules share: reading and writing Avro's bytes, and Kafka's murmur2. Inlined where it is used.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef struct In:
    const uint8_t *at
    const uint8_t *end


cdef struct Out:
    uint8_t *data
    Py_ssize_t size
    Py_ssize_t room


cdef inline int get_long(In *source, int64_t *value) noexcept nogil:
    """Read a varint in its shortest form; -1 for any other bytes: what is decoded must be what would be written."""
    cdef uint64_t n = 0
    cdef int shift = 0
    cdef uint8_t byte
    while source.at < source.end and shift < 64:
        byte = source.at[0]
        source.at += 1
        if shift == 63 and byte > 1:
            return -1
        n |= <uint64_t>(byte & 0x7F) << shift
        if not byte & 0x80:
            if byte == 0 and shift:
                return -1
            value[0] = <int64_t>(n >> 1) ^ -<int64_t>(n & 1)
            return 0
        shift += 7
    return -1


cdef inline int reserve(Out *out, Py_ssize_t more) except -1 nogil:
    """Make room for so many bytes more."""
    cdef uint8_t *data
    cdef Py_ssize_t room
    if out.size + more > out.room:
        room = out.room * 2 + more + 64
        data = <uint8_t *>realloc(out.data, room)
        if data == NULL:
            with gil:
                raise MemoryError
        out.data = data
        out.room = room
    return 0


cdef inline int put_bytes(Out *out, const void *data, Py_ssize_t size) except -1 nogil:
    reserve(out, size)
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0


cdef inline int put_long(Out *out, int64_t value) except -1 nogil:
    cdef uint64_t n = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    reserve(out, 10)
    while n > 0x7F:
        out.data[out.size] = <uint8_t>(n & 0x7F | 0x80)
        out.size += 1
        n >>= 7
    out.data[out.size] = <uint8_t>n
    out.size += 1
    return 0


cdef inline void release(Out *out) noexcept nogil:
    free(out.data)
    out.data = NULL
    out.size = out.room = 0


cdef inline uint32_t hashed(const uint8_t *data, Py_ssize_t length) noexcept nogil:
    """Kafka's murmur2 of these bytes."""
    cdef uint32_t m = 0x5BD1E995
    cdef uint32_t h = <uint32_t>0x9747B28C
    cdef uint32_t k
    cdef Py_ssize_t i = 0
    h ^= <uint32_t>length
    while length - i >= 4:
        k = data[i] | <uint32_t>data[i + 1] << 8 | <uint32_t>data[i + 2] << 16 | <uint32_t>data[i + 3] << 24
        k *= m
        k ^= k >> 24
        k *= m
        h *= m
        h ^= k
        i += 4
    if length - i == 3:
        h ^= <uint32_t>data[i + 2] << 16
    if length - i >= 2:
        h ^= <uint32_t>data[i + 1] << 8
    if length - i >= 1:
        h ^= <uint32_t>data[i]
        h *= m
    h ^= h >> 13
    h *= m
    h ^= h >> 15
    return h


cdef inline int digits(int64_t number, uint8_t *text) noexcept nogil:
    """Write a number of 0 or more in decimal; return its length. `text` has room for 20."""
    cdef uint8_t turned[20]
    cdef int length = 0, i
    while True:
        turned[length] = <uint8_t>(48 + number % 10)
        length += 1
        number //= 10
        if number == 0:
            break
    for i in range(length):
        text[i] = turned[length - 1 - i]
    return length
