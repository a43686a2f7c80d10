"""Waiting for a journal to grow, whoever appends: told by this process, by the server over a connection of its own, or by looking.

One task looks for all who wait, while anybody does. Over `direct_dsn` it listens first, then marks the session as watched: only appends to
watched sessions notify, since notifications make commits queue up. A mark lasts for `MARK_S` and is renewed. Behind a pooler nobody can
listen; without a direct address, and when it breaks, the task looks every `poll_s` seconds.
"""

from __future__ import annotations

import asyncio

from ...core.errors import TurnwiseError
from .database import Database
from .errors import Address, Lost, Refused
from .link import Link, connect
from .schema import channel
from .statement import Statement

MARK_S = 60.0
LISTENING_POLL_S = 5.0
"""How often is looked while the server tells: for what it could not."""
LINGER_S = 10.0
"""How long the task stays when nobody waits, so that who waits again and again need not connect anew."""

LASTS = Statement("SELECT id, last FROM {s}.sessions WHERE id = ANY($1)", takes="text[]", gives="text int4")
MARK = Statement(
    "UPDATE {s}.sessions SET watched_until = clock_timestamp() + make_interval(secs => $2) "
    "WHERE id = ANY($1) AND (watched_until IS NULL OR watched_until < clock_timestamp() + make_interval(secs => $2 / 1.4))",
    takes="text[] float8",
)


class _Waiter:
    __slots__ = ("after", "future")

    def __init__(self, after: int) -> None:
        self.after = after
        self.future: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Waiting:
    """Who waits for which session. `listening` is whether the server tells of appends at the moment."""

    def __init__(self, database: Database, direct: Address | None) -> None:
        self._database = database
        self._direct = direct
        self._waiters: dict[str, list[_Waiter]] = {}
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._look: asyncio.Event | None = None
        self._marked: dict[str, float] = {}

    @property
    def listening(self) -> bool:
        return self._link is not None and not self._link.broken

    async def wait(self, session: str, after: int, timeout_s: float) -> int:
        """See `Store.wait`. Cancelling it is fine."""
        last = await self._last(session)
        if last > after or timeout_s <= 0:
            return last
        waiter = _Waiter(after)
        self._waiters.setdefault(session, []).append(waiter)
        self._wake()
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter.future
        except TimeoutError:
            return await self._last(session)
        finally:
            self._forget(session, waiter)

    def appended(self, session: str, last: int) -> None:
        """This process has appended."""
        for waiter in self._waiters.get(session, ()):
            if last > waiter.after and not waiter.future.done():
                waiter.future.set_result(last)

    async def close(self, error: TurnwiseError) -> None:
        """Whoever waits is told so."""
        self._fail(error)
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()
            await asyncio.wait([task])
        self._unlisten()

    # --- looking --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._look = asyncio.Event()
            self._task = loop.create_task(self._watch(self._look), name="turnwise-postgres-waiting")
        assert self._look is not None
        self._look.set()

    async def _watch(self, look: asyncio.Event) -> None:
        """Look, as long as somebody waits."""
        try:
            while True:
                look.clear()
                pause_s = LINGER_S
                if self._waiters:
                    try:
                        pause_s = await self._look_once()
                    except Exception as error:
                        self._fail(error)
                await self._sleep(look, pause_s)
                if not self._waiters and not look.is_set():
                    return
        finally:
            self._unlisten()

    async def _look_once(self) -> float:
        """For how long that is enough, in seconds."""
        listening = await self._listen()
        with self._database as database:
            if listening:
                await self._mark(database)
            rows = await database.ask(LASTS, list(self._waiters))
        for session, last in rows:
            self.appended(session, last)
        return LISTENING_POLL_S if listening else self._database.options.poll_s

    async def _mark(self, database: Database) -> None:
        """Have the server told of appends to what is waited for, from before it is looked at."""
        now = asyncio.get_running_loop().time()
        due = [session for session in self._waiters if now - self._marked.get(session, -MARK_S) > MARK_S / 3]
        if due:
            await database.ask(MARK, due, MARK_S)
            self._marked = {session: at for session, at in self._marked.items() if now - at < MARK_S}
            self._marked.update(dict.fromkeys(due, now))

    def _fail(self, error: Exception) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(error)

    async def _sleep(self, look: asyncio.Event, pause_s: float) -> None:
        """Until it is time to look again, or somebody new waits; what the server tells of is looked at meanwhile."""
        try:
            async with asyncio.timeout(pause_s):
                await look.wait()
        except TimeoutError:
            pass

    async def _last(self, session: str) -> int:
        with self._database as database:
            rows = await database.ask(LASTS, [session])
        return rows[0][1] if rows else 0

    # --- listening ------------------------------------------------------------------------------------------------------

    async def _listen(self) -> bool:
        if self._direct is None:
            return False
        if self.listening:
            return True
        self._unlisten()
        self._marked.clear()
        link: Link | None = None
        try:
            link = await connect(self._direct)
            link.on_notify = self._told
            await link.script(f'LISTEN "{channel(self._database.schema)}"', self._database.options.timeout_s)
        except (Lost, Refused):
            if link is not None:
                link.close()
            return False
        self._link = link
        return True

    def _told(self, session: str) -> None:
        if session in self._waiters and self._look is not None:
            self._look.set()

    def _unlisten(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _forget(self, session: str, waiter: _Waiter) -> None:
        waiters = self._waiters[session]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[session]
