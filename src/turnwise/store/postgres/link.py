"""One connection to the server: a statement goes out, its rows come back. Reconnecting and sharing are the pool's.

It drives libpq itself (`psycopg.pq`) with one reader on the socket for as long as the connection lives. A statement is one message and its
answer, so that nothing of it stays on the server. It finishes even if whoever asked has left: `when_free` tells.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Any

from psycopg import AsyncConnection, Error, pq

from ...core.errors import TurnwiseError
from .errors import GONE, Address, Lost, Refused, not_connected

DEFAULTS = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Of a connection, in seconds and probes, unless the DSN says otherwise: a server that has vanished is noticed within a minute."""

Rows = list[list[bytes | None]]


class Link:
    """`free` is true while no statement is under way; `broken` when there will be no more answers. `on_notify` is given what LISTEN
    brings."""

    def __init__(self, connection: AsyncConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._loop = loop
        self._fd = self._pg.socket
        self._answer: asyncio.Future[Rows] | None = None
        self._result: pq.abc.PGresult | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._writing = False
        self.made_at = self.used_at = loop.time()
        self.broken = False
        self._when_free: list[Callable[[], None]] = []
        self.on_notify: Callable[[str], None] | None = None
        _live.add(self)
        loop.add_reader(self._fd, self._readable)

    @property
    def free(self) -> bool:
        return self._answer is None

    @property
    def idle(self) -> bool:
        """Whether no transaction is open on it."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call that when the statement that is under way is over."""
        self._when_free.append(callback)

    async def ask(self, sql: bytes, parameters: list[bytes | None], oids: list[int], timeout_s: float) -> Rows:
        """The rows of a statement, in binary. Raises `Lost`, `Refused`. Cancelled, it leaves the statement to finish."""
        assert self._answer is None, "one statement at a time"
        if self.broken:
            raise Lost("the connection is closed", sent=False)
        self._answer = answer = self._loop.create_future()
        self._limit = self._loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            self._pg.send_query_params(sql, parameters, oids, [1] * len(oids), pq.Format.BINARY)
            self._flush()
        except Error as error:
            self._break(str(error))
        return await answer

    async def script(self, sql: str, timeout_s: float) -> None:
        """Run statements without parameters that give no rows. Several in one text are one transaction."""
        assert self._answer is None
        self._answer = answer = self._loop.create_future()
        self._limit = self._loop.call_later(timeout_s, self._expire, timeout_s)
        self._pg.send_query(sql.encode())
        self._flush()
        await answer

    def close(self) -> None:
        """Let go of the connection at once."""
        self._break("the connection was closed")

    def forget(self) -> None:
        """In a forked child: the connection is the parent's. It must not be touched, and not collected, either."""
        if self not in _inherited:
            self.broken = True
            _inherited.append(self)

    # --- what the loop calls -------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self.broken:
            return
        pg = self._pg
        try:
            pg.consume_input()
            if self._writing:
                self._flush()
            while self._answer is not None and not pg.is_busy():
                result = pg.get_result()
                if result is None:
                    self._answered()
                elif self._result is None or self._result.status != pq.ExecStatus.FATAL_ERROR:
                    self._result = result
            if self.on_notify is not None:
                while note := pg.notifies():
                    self.on_notify(note.extra.decode(errors="replace"))
        except Error as error:
            self._break(str(error))
        else:
            if pg.status == pq.ConnStatus.BAD:
                self._break(pg.get_error_message())

    def _flush(self) -> None:
        more = self._pg.flush() == 1
        if more and not self._writing:
            self._loop.add_writer(self._fd, self._writable)
        elif not more and self._writing:
            self._loop.remove_writer(self._fd)
        self._writing = more

    def _writable(self) -> None:
        if self.broken:
            return
        try:
            self._flush()
        except Error as error:
            self._break(str(error))

    def _answered(self) -> None:
        result, self._result = self._result, None
        assert result is not None, "libpq ends a statement without a result"
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            columns = range(result.nfields)
            get = result.get_value
            self._settle([[get(row, column) for column in columns] for row in range(result.ntuples)])
            return
        code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = result.get_error_message()
        if not code or code.startswith(GONE):
            self._break(message)
            return
        named = result.error_field(pq.DiagnosticField.CONSTRAINT_NAME) or b""
        self._settle(
            Refused(code, (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(), named.decode())
        )

    def _expire(self, timeout_s: float) -> None:
        self._break(f"no answer within {timeout_s:g} s")

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _settle(self, outcome: Rows | Exception) -> None:
        answer, self._answer = self._answer, None
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        self.used_at = self._loop.time()
        if answer is not None and not answer.done():
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        callbacks, self._when_free = self._when_free, []
        for callback in callbacks:
            callback()

    def _break(self, message: str) -> None:
        if self.broken:
            return
        self.broken = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
            if self._writing:
                self._loop.remove_writer(self._fd)
        self._pg.finish()
        self._settle(Lost(message))


_live: weakref.WeakSet[Link] = weakref.WeakSet()
_inherited: list[Link] = []


def _in_child() -> None:
    """A loop that goes on in a forked child for a moment, shares its selector with the parent's: what comes is the parent's to read."""
    for link in _live:
        link.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


async def connect(address: Address) -> Link:
    """Raises `Lost` if it may work later, a `StateError` if someone has to see to it first."""
    options: dict[str, Any] = {name: value for name, value in DEFAULTS.items() if name not in address.given}
    try:
        connection = await AsyncConnection.connect(
            address.conninfo, autocommit=True, prepare_threshold=None, client_encoding="UTF8", **options
        )
    except Error as error:
        failure: Lost | TurnwiseError = not_connected(address, str(error))
        raise failure from None
    return Link(connection, asyncio.get_running_loop())
