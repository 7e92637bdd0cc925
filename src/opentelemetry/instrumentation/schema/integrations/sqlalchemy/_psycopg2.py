"""psycopg2's connection with the calls of psycopg 3's `pgconn`: psycopg2 itself waits for a server without a limit.

The functions are those of the libpq that psycopg2 was linked to, reached through its own file. Where they cannot be
reached, such as on Windows, whose wheels hold libpq within, `library` is None, and the caller asks nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple


@cache
def library(dbapi: Any) -> Any | None:
    """psycopg2's own libpq, from its module; None where that is not surely found."""
    try:
        import ctypes

        if not hasattr(dbapi.extensions.connection, "pgconn_ptr"):  # older than 2.8
            return None
        # Keeps the interpreter's lock: nothing that we call waits, and to get the lock back may take longer.
        found = ctypes.PyDLL(dbapi._psycopg.__file__)
        number, text, pointer = ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
        for name, result, arguments in (
            ("PQlibVersion", number, ()),
            ("PQtransactionStatus", number, (pointer,)),
            ("PQsocket", number, (pointer,)),
            ("PQisnonblocking", number, (pointer,)),
            ("PQsetnonblocking", number, (pointer, number)),
            ("PQsendQuery", number, (pointer, text)),
            ("PQflush", number, (pointer,)),
            ("PQisBusy", number, (pointer,)),
            ("PQconsumeInput", number, (pointer,)),
            ("PQgetResult", pointer, (pointer,)),
            ("PQresultStatus", number, (pointer,)),
            ("PQnfields", number, (pointer,)),
            ("PQntuples", number, (pointer,)),
            ("PQgetisnull", number, (pointer, number, number)),
            ("PQgetvalue", text, (pointer, number, number)),
            ("PQclear", None, (pointer,)),
        ):
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
        # Another libpq that was preloaded answers psycopg2, and not what we found.
        return found if found.PQlibVersion() == dbapi.extensions.libpq_version() else None
    except (ImportError, AttributeError, OSError):
        return None


class Broken(Exception):
    """The connection is closed, or its server is gone."""


class Result(NamedTuple):
    """A copy of what the server answered to one statement."""

    status: int
    nfields: int
    values: list[list[bytes | None]]

    @property
    def ntuples(self) -> int:
        """Rows."""
        return len(self.values)

    def get_value(self, row: int, column: int) -> bytes | None:
        """As text; None for NULL."""
        return self.values[row][column]


class Connection:
    """One psycopg2 connection's libpq connection, on which no call waits while it is entered.

    Args:
        connection: psycopg2's. It is asked for the pointer at every call: somebody may close it meanwhile.
        dbapi: psycopg2's module.
    """

    def __init__(self, connection: Any, dbapi: Any) -> None:
        self._connection = connection
        self._libpq: Any = library(dbapi)

    def __enter__(self) -> Connection:
        self._before = int(self._libpq.PQisnonblocking(self._at))
        self._libpq.PQsetnonblocking(self._at, 1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.pgconn_ptr:
            self._libpq.PQsetnonblocking(self._at, self._before)

    @property
    def _at(self) -> int:
        pointer = self._connection.pgconn_ptr
        if not pointer:
            raise Broken
        return int(pointer)

    @property
    def transaction_status(self) -> int:
        """PQTRANS_IDLE and others."""
        return int(self._libpq.PQtransactionStatus(self._at))

    @property
    def socket(self) -> int:
        """Its file descriptor."""
        return int(self._libpq.PQsocket(self._at))

    def send_query(self, sql: bytes) -> None:
        """Begin to send, by the simple protocol. Raises Broken."""
        self._done(self._libpq.PQsendQuery(self._at, sql))

    def flush(self) -> int:
        """1 if not everything could be sent. Raises Broken."""
        left = int(self._libpq.PQflush(self._at))
        self._done(left >= 0)
        return left

    def is_busy(self) -> int:
        """1 if `get_result` would wait."""
        return int(self._libpq.PQisBusy(self._at))

    def consume_input(self) -> None:
        """Take what has come. Raises Broken."""
        self._done(self._libpq.PQconsumeInput(self._at))

    def get_result(self) -> Result | None:
        """The answer to the next statement; None after the last."""
        libpq = self._libpq
        result = libpq.PQgetResult(self._at)
        if not result:
            return None
        try:
            status, columns = libpq.PQresultStatus(result), range(libpq.PQnfields(result))
            rows = range(libpq.PQntuples(result))
            read, is_null = libpq.PQgetvalue, libpq.PQgetisnull
            values = [[None if is_null(result, row, at) else read(result, row, at) for at in columns] for row in rows]
            return Result(status, len(columns), values)
        finally:
            libpq.PQclear(result)

    def _done(self, worked: int) -> None:
        if not worked:
            raise Broken
