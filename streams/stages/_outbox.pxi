# What a batch says, in columns per destination, for the compiled modules beside it, which include this: as Columns of streams/stages/outbox.py.
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memset

from schemas._wire cimport Out, put_bytes, put_long, release

from schemas import codec
from streams.runtime.records import Write

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    MOST_COLUMNS = 8
cdef enum:
    CODE, NUMBER, WORD  # what a column holds
cdef object _write_of = tuple.__new__


cdef class ColumnsTo:
    """The items for one destination."""

    cdef Out columns[MOST_COLUMNS]
    cdef uint8_t kinds[MOST_COLUMNS]
    cdef int width, count
    cdef list done

    def __cinit__(self, tuple kinds):
        cdef int c
        memset(self.columns, 0, sizeof(self.columns))
        self.width, self.count, self.done = len(kinds), 0, []
        for c in range(self.width):
            self.kinds[c] = kinds[c]

    def __dealloc__(self):
        cdef int c
        for c in range(self.width):
            release(&self.columns[c])

    def append(self, fields):
        """Add an item of the plain path: its fields in the columns' order."""
        cdef Py_ssize_t size = 0
        cdef const char *text
        cdef uint8_t code
        cdef int c
        for c in range(self.width):
            if self.kinds[c] == CODE:
                code = fields[c]
                put_bytes(&self.columns[c], &code, 1)
            elif self.kinds[c] == NUMBER:
                put_long(&self.columns[c], fields[c])
            else:
                text = PyUnicode_AsUTF8AndSize(fields[c], &size)
                put_long(&self.columns[c], size)
                put_bytes(&self.columns[c], text, size)
        self.added()

    cdef int added(self) except -1:
        """An item is complete."""
        self.count += 1
        if self.count == _MAX_ITEMS:
            self.finish()
        return 0

    cdef int finish(self) except -1:
        """Make the columns of a record of the items so far."""
        cdef Out out
        cdef int c
        out.data = NULL
        out.size = out.room = 0
        try:
            for c in range(self.width):
                put_long(&out, self.count)
                put_bytes(&out, self.columns[c].data, self.columns[c].size)
                if self.kinds[c] != CODE:
                    put_long(&out, 0)
                self.columns[c].size = 0
            self.done.append(PyBytes_FromStringAndSize(<char *>out.data, out.size))
        finally:
            release(&out)
        self.count = 0
        return 0


cdef class ColumnsOut:
    """Items of one columnar record type whose columns come before its other fields."""

    cdef dict to
    cdef object topic, name, names
    cdef tuple kinds

    def __init__(self, topic, name, names, kinds):
        self.topic, self.name, self.names, self.kinds = topic, name, names, kinds
        self.to = {}

    @property
    def items(self):
        """By destination."""
        return self

    def __getitem__(self, partition):
        return self.of(partition)

    cdef ColumnsTo of(self, partition):
        found = self.to.get(partition)
        if found is None:
            found = self.to[partition] = ColumnsTo(self.kinds)
        return <ColumnsTo>found

    def writes(self, common):
        """Return one columnar record per destination (more for very many items); `common` are the whole record's fields."""
        cdef ColumnsTo columns
        cdef list writes = []
        if not self.to:
            return writes
        empty = {name: b"" if kind == CODE else () for name, kind in zip(self.names, self.kinds)}
        whole = codec.encode(self.name, {**empty, **common})
        head, rest = whole[: codec.HEADER_BYTES], whole[codec.HEADER_BYTES + len(self.kinds) :]
        for partition, found in self.to.items():
            columns = found
            if columns.count:
                columns.finish()
            writes += [_write_of(Write, (self.topic, partition, None, b"".join((head, area, rest)))) for area in columns.done]
        return writes
