"""The bus itself: who has subscribed to what, and `publish`, which hands an event to everyone whom it concerns and returns.

An event gets its number, goes to the end of each queue, and that is all: no subscriber's code runs in `publish` but the key of one that
coalesces, nothing waits, nothing raises (rule H4). Which subscribers a topic has is worked out once and kept until they change. The bus
listens to turns only while somebody wants to hear of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

from ...core.errors import ErrorInfo, config_error
from ..health import PartStatus
from .following import Followed, opened
from .handling import Handled, Handler
from .hearing import NOT_TOLD, TOLD, Heard
from .inlet import Inlet, Key
from .subscription import Subscription
from .topics import is_topic, matches, patterns_of
from .values import BusEvent, BusPolicy, BusStatus, HandlerFailed

if TYPE_CHECKING:
    from ...core.store import Journals
    from ..actor import Actor
    from ..runtime import Runtime

ERROR = "bus.error"
DEFAULT_SIZE = 256
MOST_TOPICS = 4096
"""Topics whose subscribers are remembered: some may be made up as they come."""
MOST_HANDED_OVER = 10_000
"""Events from other threads that may wait until the loop takes them in."""
CLOSE_S = 1.0
"""For how long a runtime that closes lets handlers deal with what waits."""
NAMED = 5
"""Subscribers that are named when several are behind."""


class Bus:
    """The event bus of a runtime: `runtime.bus`. It belongs to the runtime's loop; `publish` may be called from any thread."""

    __slots__ = (
        "__weakref__",
        "_closed",
        "_cursor",
        "_followed",
        "_handed_over",
        "_heard",
        "_lock",
        "_looking",
        "_refused",
        "_stop_hearing",
        "_subscribers",
        "_sweeping",
        "_table",
        "_taking_in",
        "_thread",
        "loop",
        "runtime",
    )

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.loop = runtime.bind()
        self._thread = get_ident()
        self._closed = False
        self._cursor = 0
        self._subscribers: tuple[Inlet, ...] = ()
        self._table: dict[str, tuple[Inlet, ...]] = {}
        self._sweeping = False
        self._looking = False
        self._heard = Heard(self)
        self._stop_hearing = None
        self._followed: WeakKeyDictionary[Followed, None] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._handed_over: deque[tuple[str, Any, str | None, int | None]] = deque()
        self._taking_in = False
        self._refused = 0
        runtime.health.changed.append(self._health_changed)
        runtime.queues.append(("bus", self._depth))

    def _depth(self) -> int:
        """How many events wait for subscribers."""
        return sum([inlet.waiting for inlet in self._subscribers])

    # --- publishing ---------------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        session: str | None = None,
        turn: int | None = None,
        entry: int | None = None,
    ) -> None:
        """Hand an event to all who have subscribed to its topic; returns at once and never raises.

        `data` is handed on as it is, to all of them: it should not be changed any more. From another thread than that of the loop it
        is handed over to the loop, in the order of the calls of that thread; if more than `MOST_HANDED_OVER` wait there, it is refused and
        counted. After the runtime was closed nothing happens.
        """
        if not self._subscribers:
            return
        if get_ident() != self._thread:
            self._hand_over(topic, data, session, turn)
            return
        try:
            if self._sweeping:
                self._sweep()
            subscribers = self._table.get(topic)
            if subscribers is None:
                subscribers = self._look_up(topic)
            if not subscribers:
                return
            self._cursor = cursor = self._cursor + 1
            event = BusEvent(cursor, topic, data, session, turn, entry)
            for one in subscribers:
                items = one.items
                if len(items) < one.room:
                    items.append(event)
                    if one.idle:
                        one.wake()
                else:
                    one.put(event)
        except Exception as error:
            self._not_published(topic, error)

    @property
    def cursor(self) -> int:
        """The number of the last event."""
        return self._cursor

    def _look_up(self, topic: str) -> tuple[Inlet, ...]:
        if self._closed:
            return ()
        if not is_topic(topic):
            raise config_error("invalid_topic", f"{topic!r} is no topic.", "Write words with dots between them.")
        if len(self._table) >= MOST_TOPICS:
            self._table.clear()
        found = self._table[topic] = tuple([one for one in self._subscribers if matches(one.patterns, topic)])
        return found

    def _hand_over(self, topic: str, data: Any, session: str | None = None, turn: int | None = None) -> None:
        """Have the loop publish it."""
        with self._lock:
            if self._closed or len(self._handed_over) >= MOST_HANDED_OVER:
                self._refused += not self._closed
                return
            self._handed_over.append((topic, data, session, turn))
            if self._taking_in:
                return
            self._taking_in = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self.loop.call_soon_threadsafe(self._take_in)

    def _take_in(self) -> None:
        with self._lock:
            taken, self._handed_over = self._handed_over, deque()
            self._taking_in = False
        for topic, data, session, turn in taken:
            self.publish(topic, data, session=session, turn=turn)

    # --- subscribing --------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        pattern: str | Iterable[str],
        handler: Handler | None = None,
        *,
        policy: BusPolicy = "drop_oldest",
        size: int = DEFAULT_SIZE,
        key: Key | None = None,
        weak: bool = False,
        session: str | None = None,
        name: str = "",
    ) -> Subscription:
        """Get what is published from now on under topics that the pattern fits (or one of several patterns; each event comes once).

        Args:
            pattern: `tool.finished`, `tool.*`, `*.error`, `status.**`: `*` is one word, `**` one or more.
            handler: Called with each event, one after the other, in a task of the runtime; a coroutine function is awaited. What it raises is
                published as `bus.error`. Without one, iterate over the subscription.
            policy: What happens when `size` events wait: "drop_oldest", "drop_newest"; "coalesce": of each key only the newest
                waits, in any case, and the oldest goes if there are more keys; "disconnect": the subscriber is cut off.
            key: For "coalesce": which events replace each other (default: the topic). It is called in `publish` and must be quick.
            weak: Hold the handler weakly, or the object that it is a method of: with that goes the subscription.
            session: Only what the session of this id tells.
            name: What it is called in `runtime.status()` (default: the handler's name, else the patterns).

        Raises `ConfigError` (`invalid_pattern`, `invalid_value`), `SessionClosed`; `RuntimeError` in another thread than the loop's.
        """
        if get_ident() != self._thread:
            raise RuntimeError(
                "Subscribe on the runtime's own loop; only publish() and close() may come from elsewhere."
            )
        if self._closed:
            self.runtime.bind()  # says so
        patterns = patterns_of(pattern)
        _check(patterns, handler, policy, size, key, weak=weak)
        name = name or getattr(handler, "__qualname__", "") or ", ".join(patterns)
        if handler is None:
            inlet = Inlet(self, name, patterns, policy, size, key, session)
        else:
            inlet = Handled(self, name, patterns, policy, size, key, session)
            inlet.call(handler, weak=weak)
        self._now((*self._subscribers, inlet))
        return Subscription(self, inlet)

    def remove(self, inlet: Inlet) -> None:
        """Deliver nothing to it any more. Callable from any thread."""
        inlet.closed = True
        if get_ident() != self._thread:
            self.forget(inlet)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._sweep)
            return
        self._let_go(inlet)

    def end(self, inlet: Inlet) -> None:
        """Deliver to it what waits, and nothing else."""
        inlet.ended = True
        inlet.room = 0
        self._now(tuple([one for one in self._subscribers if one is not inlet]))
        if inlet.idle:
            inlet.wake()

    def forget(self, inlet: Inlet) -> None:
        """Nobody is there to read it any more: it goes before anything else is published. Callable from any thread, at any moment."""
        inlet.gone = True
        self._sweeping = True

    def _sweep(self) -> None:
        self._sweeping = False
        for inlet in [one for one in self._subscribers if one.gone]:
            self._let_go(inlet)

    def _let_go(self, inlet: Inlet) -> None:
        inlet.closed = True
        inlet.room = 0
        inlet.throw_away()
        if inlet in self._subscribers:
            self._now(tuple([one for one in self._subscribers if one is not inlet]))
        if inlet.behind:
            self.looks_at_queues()
        if not isinstance(inlet, Handled):
            inlet.wake()

    def _now(self, subscribers: tuple[Inlet, ...]) -> None:
        self._subscribers, self._table = subscribers, {}
        self.hear_if_wanted()

    def hear_if_wanted(self) -> None:
        """Listen to the turns of the runtime exactly while anybody wants to hear of them."""
        wanted = self._heard.is_awaited or any(
            matches(one.patterns, topic) for one in self._subscribers for topic in TOLD
        )
        if wanted and self._stop_hearing is None:
            self._stop_hearing = self.runtime.observe(self._heard)
        elif not wanted and self._stop_hearing is not None:
            self._stop_hearing()
            self._stop_hearing = None

    # --- what sessions have told --------------------------------------------------------------------------------------

    async def follow(
        self,
        session: Actor[Any] | str,
        pattern: str | Iterable[str] = "**",
        *,
        after: int | None = None,
        store: Journals | None = None,
    ) -> Followed:
        """What a session tells from journal entry `after` + 1 on, read from its journal and then as it comes, without a gap and nothing
        twice, wherever its turns run: `async for event in await runtime.bus.follow("…", "tool.*", after=41)`.

        `session` is one that is open, or the id of one in `store` (default: the runtime's). `after` is the `cursor` of whoever followed
        before, or an event's `entry`; 0 is the beginning, None now. Raises `StateError` (`unknown_session`), `ConfigError`
        (`no_store`; `invalid_value` for an entry that there is not).
        """
        patterns = patterns_of(pattern)
        followed = Followed(*await opened(self, session, after, store), patterns)
        self._followed[followed] = None
        return followed

    async def replay(
        self,
        session: Actor[Any] | str,
        pattern: str | Iterable[str] = "**",
        *,
        after: int = 0,
        store: Journals | None = None,
    ) -> AsyncGenerator[BusEvent]:
        """What a session has told from journal entry `after` + 1 on, up to now; see `follow`."""
        async with await self.follow(session, pattern, after=after, store=store) as followed:
            while (event := await followed.next_told()) is not None:
                yield event

    @property
    def heard(self) -> Heard:
        """What tells the bus of the runtime's turns."""
        return self._heard

    # --- how it stands ------------------------------------------------------------------------------------------------

    def status(self) -> BusStatus:
        """Its subscribers and their queues."""
        subscribers = tuple([one.status() for one in self._subscribers if not one.gone])
        return BusStatus(cursor=self._cursor, refused=self._refused, subscribers=subscribers)

    def failed(self, inlet: Inlet, event: BusEvent, error: BaseException) -> None:
        """A subscriber's own code has raised. It is told, unless it was about such an error itself: that would have no end."""
        inlet.errors += 1
        inlet.last_error = info = ErrorInfo(
            "hook",
            "subscriber_failed",
            f"The subscriber {inlet.name} failed at {event.topic}: {type(error).__name__}: {error}",
            "Nothing else is held up by it. Correct the handler, or the key.",
            detail=type(error).__name__,
        )
        if event.topic != ERROR:
            self._hand_over(ERROR, HandlerFailed(inlet.name, event.topic, event.cursor, info))

    def cut_off(self, inlet: Inlet, event: BusEvent) -> None:
        """Its queue is full, and it wants nothing rather than less than all."""
        inlet.cut_off = True
        self.end(inlet)
        if event.topic != ERROR:
            what = f"The subscriber {inlet.name} was cut off: {inlet.size} events waited, and one more came."
            info = ErrorInfo("hook", "cut_off", what, "Let it subscribe again, with more room or another policy.")
            self._hand_over(ERROR, HandlerFailed(inlet.name, event.topic, event.cursor, info))

    def _not_published(self, topic: Any, error: Exception) -> None:
        if topic != ERROR and not self._closed:
            what = f"{topic!r} could not be published: {type(error).__name__}: {error}"
            info = ErrorInfo("hook", "not_published", what, "Give a topic of words with dots between them.")
            self._hand_over(ERROR, HandlerFailed("", f"{topic!r}", 0, info))

    def looks_at_queues(self) -> None:
        """Say soon how the bus stands: not now, in the midst of a delivery."""
        if not self._looking and not self._closed:
            self._looking = True
            self.loop.call_soon(self._look_at_queues)

    def _look_at_queues(self) -> None:
        self._looking = False
        behind = [one.name for one in self._subscribers if one.behind]
        if not behind:
            self.runtime.health.restore("bus")
            return
        names = ", ".join(behind[:NAMED]) + (f" and {len(behind) - NAMED} more" if len(behind) > NAMED else "")
        self.runtime.health.degrade("bus", "bus_full", f"Subscribers do not keep up and lose events: {names}.")

    def _health_changed(self, status: PartStatus) -> None:
        self.publish(f"status.{status.part}", status)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Take in nothing more; let handlers deal with what waits, for at most `CLOSE_S`. For the runtime."""
        self._take_in()
        self._closed = True
        for followed in list(self._followed):
            followed.close()
        subscribers = self._subscribers
        for one in subscribers:
            self.end(one)
        handled = [one for one in subscribers if isinstance(one, Handled)]
        tasks = [task for one in handled if (task := one.finish()) is not None and task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        for one in handled:
            self.remove(one)


def _check(
    patterns: tuple[str, ...], handler: Handler | None, policy: BusPolicy, size: int, key: Key | None, *, weak: bool
) -> None:
    """Raises `ConfigError` for what a subscriber cannot have."""
    if str(policy) == "block":
        raise config_error(
            "invalid_value",
            "A subscriber of the bus cannot hold up who publishes: there is no policy 'block' here.",
            "Watch one turn or session instead: session.stream(…) and session.watch('block') make the provider wait.",
        )
    if policy not in get_args(BusPolicy):
        there = ", ".join(map(repr, get_args(BusPolicy)))
        raise config_error("invalid_value", f"policy={policy!r} is none of {there}.", "Leave it out for 'drop_oldest'.")
    if size < 1:
        raise config_error("invalid_value", f"size={size} leaves no room for an event.", "Use 1 or more.")
    if key is not None and policy != "coalesce":
        raise config_error("invalid_value", f"A key is for policy 'coalesce', not for {policy!r}.", "Leave it out.")
    if handler is not None and not callable(handler):
        raise config_error("invalid_value", f"{handler!r} cannot be called.", "A handler takes one event.")
    if weak and handler is None:
        raise config_error(
            "invalid_value", "weak=True is for handlers.", "A subscription without one is weak by itself."
        )
    for pattern in patterns:
        if pattern in NOT_TOLD:
            raise config_error(
                "invalid_pattern",
                f"{pattern} is never on the bus: what a model says bit by bit is for those who watch its turn.",
                "Watch the turn or the session: session.watch().",
            )
