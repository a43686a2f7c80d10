"""A session from synchronous code: each method does what the session's own of the same name does, and waits for it.

It is done on the loop that the session lives on, if that runs in another thread, else on Turnwise's own background loop. On that
loop's own thread waiting for it would never end: there the methods raise `SessionError` (`sync_in_loop`). Ctrl-C interrupts the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET, UnsetType

from ..core.entries import Keep
from ..core.limits import Limits
from ..core.result import TurnResult
from ..core.settings import SessionSettings
from ..models.connection import Model
from .attachments import Prompt
from .facade import run_on, run_sync
from .home import home_of
from .status import SessionStatus

if TYPE_CHECKING:
    from ..core.audit import AuditKind, AuditRecord
    from ..core.budgets import BudgetStatus
    from ..core.compaction import Compaction, CompactReport
    from ..core.content import BlobRef
    from ..core.principal import Principal
    from ..core.store import Store
    from ..tools.output import OutputType
    from .actor import Actor
    from .capabilities.capability import Capability
    from .changed import Tools
    from .follow_ups import FollowUp
    from .history_ops import Move
    from .kept import Kept
    from .session import Session
    from .spending import StopCondition

T = TypeVar("T")


def run_at_home(session: Actor[Any], make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `make` comes to, on the loop that the session lives on."""
    home = home_of(session)
    return run_sync(make) if home is None else run_on(home, make)


class SyncSession:
    """`session.sync`: the session for code that does not await. Any thread may use it, several at once."""

    __slots__ = ("_session",)

    def __init__(self, session: Session[Any]) -> None:
        self._session = session

    def _do(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return run_at_home(self._session, make)

    def _look(self, get: Callable[[], T]) -> T:
        async def got() -> T:
            return get()

        return self._do(got)

    # --- turns ------------------------------------------------------------------------------------------------------

    def run(
        self,
        prompt: Prompt | Move,
        *,
        context: Any = None,
        limits: Limits | None = None,
        stream: bool | None = None,
        client_ref: str | None = None,
        output: OutputType = None,
        stop_when: Iterable[StopCondition] = (),
    ) -> TurnResult:
        """See `Session.run`."""
        return self._do(
            lambda: self._session.run(
                prompt,
                context=context,
                limits=limits,
                stream=stream,
                client_ref=client_ref,
                output=output,
                stop_when=stop_when,
            )
        )

    def continue_(self, *, limits: Limits | None = None, client_ref: str | None = None) -> TurnResult:
        """See `Session.continue_`."""
        return self._do(lambda: self._session.continue_(limits=limits, client_ref=client_ref))

    def regenerate(self, *, limits: Limits | None = None, client_ref: str | None = None) -> TurnResult:
        """See `Session.regenerate`."""
        return self._do(lambda: self._session.regenerate(limits=limits, client_ref=client_ref))

    def resume(self, *, context: Any = None, stream: bool | None = None) -> TurnResult:
        """See `Session.resume`."""
        return self._do(lambda: self._session.resume(context=context, stream=stream))

    # --- while a turn runs ------------------------------------------------------------------------------------------

    def steer(self, prompt: Prompt, *, skip_calls: bool = False, client_ref: str | None = None) -> bool:
        """See `Session.steer`."""
        return self._do(lambda: self._session.steer(prompt, skip_calls=skip_calls, client_ref=client_ref))

    def follow_up(self, prompt: Prompt, *, client_ref: str | None = None) -> FollowUp:
        """See `Session.follow_up`; what it returns has `result_sync()`."""
        return self._do(lambda: self._session.follow_up(prompt, client_ref=client_ref))

    def drop_follow_ups(self) -> int:
        """See `Session.drop_follow_ups`."""
        return self._do(self._session.drop_follow_ups)

    def interrupt(self, *, keep: Keep = "partial") -> bool:
        """See `Session.interrupt`, which may be called from any thread, too."""
        return self._look(lambda: self._session.interrupt(keep))

    # --- what was said ----------------------------------------------------------------------------------------------

    def approve(
        self,
        call_id: str,
        *,
        edited_arguments: Mapping[str, Any] | str | None = None,
        reason: str = "",
        by: Principal | None = None,
    ) -> bool:
        """See `Session.approve`."""
        return self._do(lambda: self._session.approve(call_id, edited_arguments=edited_arguments, reason=reason, by=by))

    def deny(self, call_id: str, reason: str = "", *, by: Principal | None = None) -> bool:
        """See `Session.deny`."""
        return self._do(lambda: self._session.deny(call_id, reason, by=by))

    def answer(self, call_id: str, answer: Any) -> bool:
        """See `Session.answer`."""
        return self._do(lambda: self._session.answer(call_id, answer))

    def submit(self, call_id: str, result: Any, *, is_error: bool = False, summary: str | None = None) -> bool:
        """See `Session.submit`."""
        return self._do(lambda: self._session.submit(call_id, result, is_error=is_error, summary=summary))

    def compact(self) -> CompactReport:
        """See `Session.compact`."""
        return self._do(self._session.compact)

    def undo_compaction(self) -> bool:
        """See `Session.undo_compaction`."""
        return self._do(self._session.undo_compaction)

    def artifact(self, which: BlobRef | str) -> bytes:
        """See `Session.artifact`."""
        return self._do(lambda: self._session.artifact(which))

    def undo(self) -> str | None:
        """See `Session.undo`."""
        return self._do(self._session.undo)

    def rewind(self, to: int) -> None:
        """See `Session.rewind`."""
        return self._do(lambda: self._session.rewind(to))

    def fork(self, at: int | None = None) -> Session[Any]:
        """See `Session.fork`."""
        return self._look(lambda: self._session.fork(at))

    def clear(self) -> None:
        """See `Session.clear`."""
        return self._do(self._session.clear)

    # --- the session itself -----------------------------------------------------------------------------------------

    def set(
        self,
        *,
        instructions: str | UnsetType | None = UNSET,
        tools: Tools | UnsetType | None = UNSET,
        model: str | Model | UnsetType | None = UNSET,
        max_output_tokens: int | UnsetType | None = UNSET,
        temperature: float | UnsetType | None = UNSET,
        top_p: float | UnsetType | None = UNSET,
        stream: bool | UnsetType | None = UNSET,
        context_limit: int | UnsetType | None = UNSET,
        compaction: Compaction | bool | UnsetType | None = UNSET,
        by: Principal | None = None,
    ) -> SessionSettings:
        """See `Session.set`."""
        return self._do(
            lambda: self._session.set(
                instructions=instructions,
                tools=tools,
                model=model,
                max_output_tokens=max_output_tokens,
                temperature=temperature,
                top_p=top_p,
                stream=stream,
                context_limit=context_limit,
                compaction=compaction,
                by=by,
            )
        )

    def audit(
        self,
        *,
        since: float | None = None,
        kind: AuditKind | None = None,
        tool: str | None = None,
        who: Principal | None = None,
    ) -> list[AuditRecord]:
        """See `Session.audit`."""
        return self._do(lambda: self._session.audit(since=since, kind=kind, tool=tool, who=who))

    def budgets(self) -> tuple[BudgetStatus, ...]:
        """See `Session.budgets`."""
        return self._do(self._session.budgets)

    def add(self, capability: Capability, *, by: Principal | None = None) -> SessionSettings:
        """See `Session.add`."""
        return self._do(lambda: self._session.add(capability, by=by))

    def remove(self, which: str | type[Capability], *, by: Principal | None = None) -> SessionSettings:
        """See `Session.remove`."""
        return self._do(lambda: self._session.remove(which, by=by))

    def status(self) -> SessionStatus:
        """See `Session.status`."""
        return self._look(self._session.status)

    def persist(
        self,
        name: str | None = None,
        *,
        store: Store | None = None,
        title: str = "",
        tags: Iterable[str] = (),
        folder: str = "",
    ) -> Kept:
        """See `Session.persist`."""
        return self._do(lambda: self._session.persist(name, store=store, title=title, tags=tags, folder=folder))

    def close(self) -> Kept:
        """See `Session.close`."""
        return self._do(self._session.close)
