"""A conversation as its caller sees it. How it moves is in actor.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from ..core.content import BlobRef
from ..core.inputs import Interrupt, Steer
from ..core.limits import Limits
from ..core.messages import Message
from ..core.result import TurnResult
from ..core.usage import Usage
from ..tools.context import Ctx
from . import process
from .answering import Answering, checked
from .artifacts import SessionArtifacts
from .attachments import Prompt, accept
from .plan import Wishes
from .turn import OnLeave, Turn

if TYPE_CHECKING:
    from .channel import Opening
    from .mailbox import WatchPolicy
    from .steps import Steps
    from .watch import Watcher


class Session(Answering[Ctx]):
    """A conversation with an agent; make one with `agent.session()`.

    `async with agent.session() as session:` closes it at the end; closing interrupts a running turn. A session belongs to
    the event loop that runs its turns; when it is idle another loop may take it over. One turn at a time: a second one
    raises `SessionBusy`. Whatever happened, the history stays valid and the next turn can go on from it.
    """

    __slots__ = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The transcript: what the next request will send. Always valid, also while a turn runs."""
        return tuple(self.state.transcript)

    @property
    def usage(self) -> Usage:
        """Tokens of all turns so far, failed attempts included."""
        return self.state.usage

    @property
    def running(self) -> bool:
        """Whether a turn is running."""
        return self._turn is not None

    @property
    def closed(self) -> bool:
        return self._closed

    def stream(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        limits: Limits | None = None,
        stream: bool | None = None,
        on_leave: OnLeave = "stop",
    ) -> Turn:
        """A turn to be read event by event: `async with session.stream(prompt) as turn: async for event in turn: …`.

        `context` is the caller's object for tools (default: the session's), `limits` bound this turn (default: the
        agent's), `stream=False` asks the provider for an unstreamed response: the events are the same, in fewer pieces.
        Leaving it early stops the turn; with `on_leave="detach"` it goes on, see `Turn.wait` and `Turn.watch`.
        Opening it raises `ConfigError` (no key, unknown model, empty prompt) before anything is journalled, `SessionBusy`,
        `SessionClosed`, or `SessionForked`.
        """
        return Turn(self, prompt, Wishes(self._context_for(context), limits, stream), on_leave)

    def channel(self, prompt: Prompt, *, buffer: int = 32, on_drop: OnLeave = "stop", **options: Any) -> Opening:
        """A turn that is read through a bounded channel, with a handle whose result is true whatever becomes of the reader:
        `channel, handle = await session.channel(prompt)`, or `async with session.channel(prompt) as (channel, handle):`.

        While `buffer` events wait unread the provider is not read. See `runtime.channel`; `options` are those of `stream`.
        """
        from .channel import Opening

        return Opening(self, self.stream(prompt, **options), buffer, on_drop)

    def steps(self, prompt: Prompt, **options: Any) -> Steps:
        """A turn that its caller takes step by step: `async with session.steps(prompt) as steps: async for step in steps: …`. No
        model call is made before the caller asks for the step. `options` are those of `stream`."""
        from .steps import Steps

        return Steps(self, self.stream(prompt, **options))

    def watch(self, policy: WatchPolicy = "coalesce", *, buffer: int = 256, after: int | None = None) -> Watcher:
        """One more watcher, of all turns from now on until the session is closed, with a queue of its own for `buffer` events.

        `policy` says what a full queue does: "block" makes the provider wait, "coalesce" joins deltas of one block,
        "drop_to_cursor" drops what waits and goes on from the journal. With `after` (a watcher's `cursor`; 0 is the beginning) it
        is first told every journalled event behind that entry. Joining in mid-step it gets a `StepSnapshot` first. Raises
        `ConfigError` for a buffer below 1 or a cursor that the journal does not have.
        """
        return self.watchers().watch(policy, buffer, after, None)

    async def run(
        self, prompt: Prompt, *, context: Ctx | None = None, limits: Limits | None = None, stream: bool | None = None
    ) -> TurnResult:
        """One turn to its end. Raises what `stream` raises and, if the turn ended with an error, that error
        (`ProviderError`, `StateError` …) with the turn's true account in its `result` attribute; limits, timeouts and
        interrupts do not raise: see `TurnResult.reason`. Cancelling it interrupts the turn."""
        wishes = Wishes(self._context_for(context), limits, stream, watched=False)
        turn = Turn(self, prompt, wishes)
        async with turn:
            async for _ in turn.batches():
                pass
        return checked(turn.result)

    def run_sync(self, prompt: Prompt, **options: Any) -> TurnResult:
        """`run` from synchronous code, on Turnwise's own background loop. Ctrl-C interrupts the turn."""
        from .facade import run_sync

        return run_sync(lambda: self.run(prompt, **options))

    async def artifact(self, which: BlobRef | str) -> bytes:
        """The whole text of a result that was too long for the model, in UTF-8: by `ToolResult.artifact`, or by the call's id or
        the text's sha256. Raises `SessionError` (`unknown_artifact`), `StateError` (`missing_blob`)."""
        return await SessionArtifacts(self).data(which)

    def interrupt(self) -> bool:
        """End the running turn; False if there is none. The stream still ends with `TurnFinished`. Callable from any task
        and any thread; returns at once, the turn ends within `Deadlines.grace_s`."""
        if not self._bound or self._lost is not None or not self.state.running:
            return False
        runtime = self.runtime
        if process.in_loop(runtime.loop):
            self.post(Interrupt("user"))
        else:
            runtime.loop.call_soon_threadsafe(self.post, Interrupt("user"))
        return True

    async def steer(self, prompt: Prompt) -> bool:
        """Add to the running turn: the text enters before its next model call. True once it is durable; False if no turn
        is running any more, or it is being interrupted (then nothing was added)."""
        if self._turn is None or not self._bound:
            return False
        body = await accept(prompt, self, self.read_file)
        if not self.fold(Steer(body)):
            return False
        self.advance()
        while self._appending is not None:
            await asyncio.wait((self._appending,))
        return self._lost is None

    async def close(self) -> None:
        """Interrupt a running turn and refuse further ones. Idempotent."""
        self._closed = True
        if self._turn is not None:
            await self._turn.close("closed")
        self._prefix = None
        if self.hub is not None:
            self.hub.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
