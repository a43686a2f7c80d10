"""A conversation as its caller sees it. How it moves is in actor.py."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Self

from ..core.compaction import CompactReport
from ..core.content import BlobRef
from ..core.inputs import Interrupt, Steer, UndoCompaction
from ..core.limits import Limits
from ..core.messages import Message
from ..core.result import TurnResult
from ..core.search import SearchHit, search
from ..core.usage import Usage
from ..tools.context import Ctx
from . import process
from .answering import Answering
from .artifacts import SessionArtifacts
from .attachments import Prompt, accept
from .checked import checked
from .plan import Wishes
from .turn import OnLeave, Turn

if TYPE_CHECKING:
    from ..tools.output import OutputSpec, OutputType
    from .channel import Opening
    from .mailbox import WatchPolicy
    from .output import OutputStream
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
        output: OutputType = None,
    ) -> Turn:
        """A turn to be read event by event: `async with session.stream(prompt) as turn: async for event in turn: …`.

        `context` is the caller's object for tools (default: the session's), `limits` bound this turn (default: the
        agent's), `stream=False` asks the provider for an unstreamed response: the events are the same, in fewer pieces.
        `output` is the type, JSON Schema or `Output` that the answer is to have: then `TurnResult.output` is the value.
        Leaving it early stops the turn; with `on_leave="detach"` it goes on, see `Turn.wait` and `Turn.watch`.
        Opening it raises `ConfigError` (no key, unknown model, empty prompt) before anything is journalled, `SessionBusy`,
        `SessionClosed`, or `SessionForked`.
        """
        wishes = Wishes(self._context_for(context), limits, stream, output=_spec_of(output))
        return Turn(self, prompt, wishes, on_leave)

    def stream_output(self, prompt: Prompt, output: OutputType, **options: Any) -> OutputStream[Any]:
        """A turn whose typed answer is watched as it grows: `async with session.stream_output(prompt, T) as partials: async for partial
        in partials: …`, then `partials.output` is the value and `partials.result` the account; see `OutputStream`. `options` are
        those of `stream`. Raises what `stream` raises, and what `run` raises once the turn is over."""
        from .output import OutputStream

        return OutputStream(self.stream(prompt, output=output, **options))

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
        from .watch import hub_of

        return hub_of(self).watch(policy, buffer, after, None)

    async def run(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        limits: Limits | None = None,
        stream: bool | None = None,
        output: OutputType = None,
    ) -> TurnResult:
        """One turn to its end. Raises what `stream` raises and, if the turn ended with an error, that error
        (`ProviderError`, `StateError` …) with the turn's true account in its `result` attribute; limits, timeouts and
        interrupts do not raise: see `TurnResult.reason`. An answer that is not of the form asked for with `output`, nor after its
        corrections, is an error, too (`invalid_output`). Cancelling it interrupts the turn."""
        wishes = Wishes(self._context_for(context), limits, stream, watched=False, output=_spec_of(output))
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

    async def compact(self) -> CompactReport:
        """Make the conversation shorter for the model now, by half or more if it can be, with the strategies of `Agent(compaction=…)`.

        A running turn goes on meanwhile, and input that arrives is kept; the change holds from the next model call on, unless another
        one came first. What failed is in the report and leaves the conversation as it was. Raises `ConfigError` if the model
        cannot be asked, and what `steer` and `run` raise for a session that is gone. Cancelling it drops what is under way.
        """
        from .compact import by_hand

        return await self.on_its_loop(lambda: by_hand(self))

    async def undo_compaction(self) -> bool:
        """Take back the last compaction; the model is sent what it had replaced. False if there is none (since `clear`)."""
        return await self.apply(UndoCompaction())

    @property
    def history(self) -> tuple[Message, ...]:
        """All that was said and not taken back, whatever compactions have left out of `messages`."""
        return tuple(self.state.history)

    def search(self, wanted: str | re.Pattern[str]) -> list[SearchHit]:
        """Where a text (in any case) or pattern occurs in the history: in messages, arguments and results of calls."""
        change = self.state.change
        return search(self.state.history, wanted, change.covers, frozenset([m.call_id for m in change.masked]))

    async def close(self) -> None:
        """Interrupt a running turn and refuse further ones. Idempotent."""
        self._closed = True
        if self.sizes is not None:
            await self.sizes.stop()
        if self._turn is not None:
            await self._turn.close("closed")
        self._prefix = None
        if self.hub is not None:
            self.hub.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _spec_of(output: OutputType) -> OutputSpec | None:
    if output is None:
        return None
    from ..tools.output import output_spec

    return output_spec(output)
