"""A turn that its caller takes step by step. No second loop: the machine's `CallModel` is held back until the caller asks.

Between two steps the turn does nothing: the caller may look at calls and results, add messages, change the session's settings, or
stop it. The pump reads, so the turn goes on within a step whether or not anyone waits, and watchers may join.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self

from ..core.inputs import CallModel, Steer
from ..core.inputs_rare import Stop
from ..core.messages import AssistantMessage, ToolMessage
from ..core.outcomes import ToolResult
from ..core.result import TurnResult
from ..core.settings import SessionSettings
from ..core.step import Step
from . import refusals
from .attachments import Prompt, accept
from .mailbox import WatchPolicy
from .turn import Turn
from .watch import hub_of

if TYPE_CHECKING:
    from .session import Session
    from .watch import Watcher


class Steps:
    """`async with session.steps(prompt) as steps: async for step in steps: …`; afterwards `result` is the account of the turn.

    Each `async for` round makes one model call and runs its tools; the iteration ends with the turn, whatever ended it. It belongs
    to no task: hand it from one to another between steps. Cancelling a pending step loses nothing: ask again. Leaving early
    interrupts the turn. The turn's deadline runs on while nobody asks.
    """

    __slots__ = ("_allowed", "_held", "_moved", "_session", "_stopping", "_told", "_turn")

    def __init__(self, session: Session[Any], turn: Turn) -> None:
        self._session = session
        self._turn = turn
        self._allowed = 0
        self._told = 0
        self._held: CallModel | None = None
        self._stopping: Stop | None = None
        self._moved: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        turn = self._turn
        hub_of(self._session)
        turn.pumped, turn.hold = True, self._hold
        await turn.__aenter__()
        return self

    async def __aexit__(self, kind: object = None, *_: object) -> None:
        await self._turn.__aexit__(kind)

    def __aiter__(self) -> AsyncIterator[Step]:
        return self

    async def __anext__(self) -> Step:
        if self._moved is not None:
            raise refusals.two_readers()
        turn = self._turn
        while not turn.over:
            if self._held is None:
                await self._wait()
            elif self._untold():
                break
            else:
                self._let_go()
        if not self._untold() or turn.account is None or (message := turn.account[3]) is None:
            raise StopAsyncIteration
        self._told = turn.account[0]
        return Step(message.step, message, self._results(message))

    def _untold(self) -> bool:
        """Whether a step is over that its caller has not got: asking for it was cancelled."""
        account = self._turn.account
        return account is not None and account[0] > self._told

    # --- between steps ------------------------------------------------------------------------------------------------

    async def inject(self, prompt: Prompt) -> bool:
        """Say something before the next model call. True once it is durable; False if the turn is over."""
        session = self._session
        body = await accept(prompt, session, session.open_file)
        if self._turn.over:
            return False
        current = session.state.turn
        return await session.apply(Steer(body, at_once=current is not None and current.step > self._allowed))

    async def set(self, **settings: Any) -> SessionSettings:
        """Change the session's settings; they hold from the next model call on. See `Session.set`."""
        return await self._session.set(**settings)

    def stop(self, reason: str = "") -> None:
        """End the turn here: its reason is `stopped`, its cause what is given. In the midst of a step it ends behind that."""
        if self._turn.over:
            return
        self._stopping = Stop(reason)
        if self._held is not None:  # else a model call or its tools are under way, and are not left behind
            self._session.post(self._stopping)

    @property
    def result(self) -> TurnResult:
        """The account of the turn. Raises `SessionError` (`turn_running`) while it runs."""
        return self._turn.result

    def watch(self, policy: WatchPolicy = "coalesce", *, buffer: int = 256, after: int | None = None) -> Watcher:
        """A watcher of the turn, for its events as they come; see `Session.watch`."""
        return self._turn.watch(policy, buffer=buffer, after=after)

    # --- holding back -------------------------------------------------------------------------------------------------

    def _hold(self, asked: CallModel) -> bool:
        """Keep a model call back if it begins a step that nobody asked for. Further tries of a step are part of it."""
        if asked.step <= self._allowed:
            return False
        if self._stopping is not None:
            self._session.post(self._stopping)
            return True
        self._held = asked
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)
        return True

    def _let_go(self) -> None:
        held, self._held = self._held, None
        assert held is not None
        self._allowed = held.step
        current = self._session.state.turn
        if not self._turn.over and current is not None and current.phase == "model":
            self._turn.call_model(held)

    async def _wait(self) -> None:
        """Until a model call is held back or the turn is over."""
        moved = self._moved = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((moved, self._turn.ended()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._moved = None

    def _results(self, message: AssistantMessage) -> tuple[ToolResult, ...]:
        if not message.tool_calls:
            return ()
        turn = self._turn
        for said in reversed(turn.result.messages if turn.over else self._session.state.history):
            if type(said) is ToolMessage and (said.turn, said.step) == (message.turn, message.step):
                return said.results
        return ()
