"""What a session stands on: its runtime, store and blobs, and its state as it was read from the journal.

How it is kept the same as its journal is in `journalled`, how both move in `actor`. Nothing here folds an input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, cast

import msgspec

from ..core.content import ToolCall
from ..core.entries import Entry, SessionCreated
from ..core.errors import ErrorInfo
from ..core.events import Event
from ..core.evolve import evolve
from ..core.inputs import Effect
from ..core.messages import Message
from ..core.protocols import Blobs
from ..core.state import SessionState
from ..core.turn import Machine, Policy
from ..store.memory import MemoryBlobs, MemoryJournals
from ..tools import ToolContext
from ..tools.context import Ctx
from . import parts, process, refusals
from .attachments import holds_bytes, not_plain, without_bytes
from .expiry import Expiry
from .extensions import extended_of
from .pieces import Pieces, pieces_of
from .plan import Overrides, Target, TurnPlan, Wishes
from .prefix import Prefix
from .runtime import Runtime, default_runtime, default_runtime_if_any
from .sizes import Sizes
from .turn import Turn

if TYPE_CHECKING:
    from ..core.result import TurnResult
    from ..core.store import Journals, Records, ScopeKind
    from .actor import Actor
    from .agent import Agent
    from .cache_breaks import Sent
    from .claims import Claims
    from .extensions import Extensions
    from .follow_ups import FollowUp
    from .keeper import Keeper
    from .parts import AppendNow
    from .wanted import Arrival
    from .watch import Hub

NOBODY: dict[int, FollowUp] = {}
"""The follow-ups of sessions that are not bound to a runtime; it stays empty."""


class Ground(Generic[Ctx]):
    """The fields of a session, and how they are come by."""

    __slots__ = (
        "__weakref__",
        "_advancing",
        "_append_now",
        "_appending",
        "_blobs",
        "_bound",
        "_closed",
        "_counts",
        "_created",
        "_effects",
        "_entries",
        "_events",
        "_expiry",
        "_has_bytes",
        "_lost",
        "_owner",
        "_prefix",
        "_prefix_base",
        "_process",
        "_puts",
        "_reading",
        "_records",
        "_store",
        "_turn",
        "agent",
        "arrival",
        "claims",
        "context",
        "extension",
        "follow_up_handles",
        "hub",
        "keeper",
        "last_sent",
        "machine",
        "name",
        "overrides",
        "parked",
        "plain",
        "reads",
        "recovered",
        "runtime",
        "sizes",
        "state",
        "told",
    )
    runtime: Runtime
    machine: Machine
    _entries: list[Entry]
    _events: list[Event]
    _effects: list[Effect]
    _counts: list[int]

    def __init__(
        self,
        agent: Agent[Ctx],
        created: SessionCreated,
        *,
        context: Ctx | None = None,
        store: Journals | None = None,
        overrides: Overrides | None = None,
        runtime: Runtime | None = None,
        state: SessionState | None = None,
    ) -> None:
        """`state` is what the journal of a stored session tells; `created` is then its first entry no more. `plain` is how many messages it
        begins with that are text and nothing else."""
        self.agent = agent
        self.name: str | None = None
        self.keeper: Keeper | None = None
        self.arrival: Arrival | None = None
        self.recovered: TurnResult | None = None
        self._owner = runtime
        self.extension: Extensions | None = None
        self.claims: Claims | None = None
        self.context = context
        self.overrides = overrides
        self.sizes: Sizes | None = None
        self.follow_up_handles: dict[int, FollowUp] = NOBODY
        rich = not_plain(created.history)
        self.plain = 0 if rich else len(created.history)
        self._has_bytes = any(map(holds_bytes, rich))
        self._store = store
        self._created: SessionCreated | None = created
        self.told: int = 0
        self.state = state or SessionState()
        if state is None:
            evolve(self.state, created)
        else:
            self._created, self._entries, self._counts, self.told = None, [], [], state.seq
        self.hub: Hub | None = None
        self._append_now: AppendNow | None = None
        self._blobs: Blobs | None = None
        self._puts: set[asyncio.Task[Any]] | None = None
        self._records: Records | None = None
        self._bound = False
        self._expiry: Expiry | None = None
        self.parked: Wishes | None = None
        self._prefix: Prefix | None = None
        self._prefix_base = 0
        self.last_sent: Sent | None = None
        self._turn: Turn | None = None
        self._appending: asyncio.Task[None] | None = None
        self._advancing = False
        self._lost: ErrorInfo | None = None
        self._reading: asyncio.Task[None] | None = None
        self.reads: int = 0
        self._closed = False
        self._process = process.current()

    @property
    def running(self) -> bool:
        """Whether a turn is running. A parked one is not: it waits for someone."""
        return self._turn is not None

    @property
    def closed(self) -> bool:
        """Whether the session takes no input any more."""
        return self._closed

    @property
    def turn(self) -> Turn | None:
        """The turn that runs, or is about to begin."""
        return self._turn

    @property
    def forked(self) -> bool:
        """Whether this is the copy that a forked process got of its parent's session."""
        return self._process is not process.current()

    @property
    def store(self) -> Journals | None:
        """Where its journal is; None if that is not settled yet: with no store of its agent's, that is its runtime's, or memory."""
        return self._store

    @property
    def bound(self) -> bool:
        """Whether it has a runtime."""
        return self._bound

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def transcript(self) -> Sequence[Message]:
        """What the next request will send; the state's own list."""
        return self.state.transcript

    @property
    def prefix(self) -> Prefix:
        """Begun anew when the view has changed: then messages in the middle of the transcript may be others than before."""
        if self._prefix is None or self._prefix_base != self.state.base:
            self._prefix, self._prefix_base = Prefix(), self.state.base
        return self._prefix

    @property
    def blobs(self) -> Blobs:
        """Where bytes are kept: by the store if it keeps bytes, else by the runtime, else with the session."""
        if self._blobs is None:
            kept = self._kept_bytes()
            self._blobs = MemoryBlobs() if kept is None else kept
        return self._blobs

    def _kept_bytes(self) -> Blobs | None:
        """Who keeps bytes beyond the session."""
        store = self._store
        if parts.has_blobs(store):
            return store.blobs(self.state.principal.tenant)
        return self.runtime.blobs if hasattr(self, "runtime") else None

    @property
    def has_blobs(self) -> bool:
        """Whether any bytes can be referred to: most sessions never have any."""
        return self._blobs is not None

    def share_blobs(self, other: Ground[Any]) -> None:
        """Keep bytes where that session keeps them."""
        self._blobs = other._blobs

    def open_file(self, path: Path) -> Pieces:
        """A file's bytes, read piece by piece in threads."""
        return pieces_of(path, self.runtime.blocking)

    def plan_of(self, turn: Turn) -> TurnPlan:
        """What the turn runs with by now: the session's settings may change from step to step."""
        wishes = turn.wishes
        if wishes.overrides is not self.overrides:
            wishes = turn.wishes = msgspec.structs.replace(wishes, overrides=self.overrides)
        return self.agent.plan(wishes, self.runtime)

    def target_now(self) -> Target:
        """The model that would be asked now."""
        turn = self.state.turn
        number = turn.model if turn is not None and self.state.running else 0
        wishes = Wishes(watched=False, overrides=self.overrides)
        return self.agent.plan(wishes, self.runtime).target(number)

    def _refuse_if_gone(self) -> None:
        if self.forked:
            raise refusals.forked(self.id)
        if self._closed:
            raise refusals.closed(self.id)

    async def _bind(self) -> Runtime:
        """Take the runtime of the running loop."""
        if self._bound:
            runtime = self.runtime
            if not runtime.closed and runtime.loop is asyncio.get_running_loop():
                if self.agent.plugins:
                    self._equip(runtime)
                return runtime
        runtime = self._owner or self.agent.runtime or default_runtime_if_any() or await default_runtime()
        runtime.bind()
        if self.agent.plugins:
            self._equip(runtime)
        if not self._bound:
            self._set_out()
        self.runtime = runtime
        given = runtime.store if self._store is None else self._store
        self._settle_in(MemoryJournals() if given is None else given)
        if self.arrival is not None and not self._bound:
            await self.arrival.look_up(self)
            if self._bound:
                return runtime
        if self._blobs is None and (runtime.blobs is not None or self._append_now is None or self.state.history):
            self._blobs = self._kept_bytes()
        if not self._bound:
            if self._has_bytes and self._created is not None:
                await self._put_bytes_away(self._created)
            self.machine = Machine(self.state, Policy(), resting=self._created is None)
        fresh, self._bound = not self._bound, True
        if fresh and extended_of(self) is not None:
            from .hooks.at_turn import session_began

            await session_began(self)
        return runtime

    def _equip(self, runtime: Runtime) -> None:
        """Have the agent with what the runtime's plugins offer by now."""
        from .plugins.equipped import equipped

        self.agent = equipped(self.agent, runtime)

    def _set_out(self) -> None:
        """What waits to become durable. Made here and not before: most sessions of a program that has many are asked nothing for now."""
        created = self._created
        self._entries, self._counts = ([], []) if created is None else ([created], [0])
        self._events, self._effects, self.follow_up_handles = [], [], {}

    def _settle_in(self, store: Journals) -> None:
        """Have the journal in that store, under a claim if it has leases and takes its time."""
        before = self.claims if store is self._store else None
        self._store, self.claims = store, None
        self._append_now = parts.append_now_of(store)
        if self._append_now is None and parts.has_leases(store):
            from .claims import claims_of

            self.claims = claims_of(cast("Actor[Any]", self), self.runtime, store, before)

    async def bind(self) -> None:
        """Take the runtime of the running loop, before anything is asked of the session."""
        await self._bind()

    async def _put_bytes_away(self, created: SessionCreated) -> None:
        """A history that was handed in with bytes in its messages is kept with references to them instead."""
        history = tuple([await without_bytes(message, self) for message in created.history])
        created = msgspec.structs.replace(created, history=history)
        state = SessionState()
        evolve(state, created)
        self.state, self._created = state, created
        self._entries = [created]

    async def records(self, kind: ScopeKind) -> Records:
        """Where records of such scopes are kept: in the store if it keeps records; else in the runtime's memory, those of the session in
        its own. Ties the session to the running loop."""
        runtime, store = await self._bind(), self._store
        if parts.has_records(store):
            return store
        if kind != "session":
            return runtime.records
        if self._records is None:
            from ..store.memory import MemoryStore

            self._records = MemoryStore(runtime.clock.wall)
        return self._records

    def tool_context(self, call: ToolCall, turn: Turn, limit_s: float | None) -> ToolContext[Any]:
        """What a running call may know."""
        state, runtime = self.state, self.runtime
        current = state.turn
        return ToolContext(
            turn.plan.context,
            state.id,
            current.number if current else 0,
            current.step if current else 0,
            call.id,
            call.name,
            state.principal,
            None if limit_s is None else runtime.clock.monotonic() + limit_s,
            turn.host,
        )

    def claim(self, turn: Turn) -> None:
        """Nobody else begins a turn before this one."""
        self._turn = turn

    def unclaim(self, turn: Turn) -> None:
        """It was never begun."""
        if self._turn is turn and not turn.opened:
            self._turn = None

    def forget_expiry(self) -> None:
        """Nothing that waits is given up by this session any more."""
        if self._expiry is not None:
            self._expiry.close()

    def is_driving(self, turn: Turn) -> bool:
        """Whether this is the turn that runs."""
        return turn is self._turn
