"""How calls that wait for somebody are answered: leave given or refused, questions answered, results handed in; and the turn resumed.

Everything is checked before it is journalled: arguments against the tool, answers against the question. Answers come in any order,
from any task, also long after and in another process than the one that asked (rule C6).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from ..core.errors import ErrorInfo, SessionError
from ..core.inputs import CallEnded, Input
from ..core.inputs_rare import Approve, Deny, Expire, Resume
from ..core.outcomes import OK, Failed, Outcome, ToolResult, explain
from ..core.result import Pending, PendingKind, TurnResult
from ..tools import ArgumentsError, Tool
from ..tools.arguments import bounded
from ..tools.cap import DEFAULT_RESULT_CHARS, text_in
from ..tools.context import Ctx
from ..tools.results import ERROR_CHARS, Body, render_result
from ..tools.summaries import SUMMARY_CHARS
from . import process
from .actor import Actor
from .artifacts import SessionArtifacts
from .attachments import stored
from .checked import checked
from .plan import INHERITED, Begin, TurnPlan, Wishes
from .turn import Turn

_ANSWERED_BY: dict[PendingKind, str] = {
    "approval": "approve() or deny()",
    "question": "answer()",
    "external": "submit()",
}


class Answering(Actor[Ctx]):
    """The part of a session that hears what people and programs say to its waiting calls. All of these return True once what was said is
    durable, and False if no such call waits, or not any more: it was answered, given up, or its turn interrupted."""

    __slots__ = ()

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The calls of the running turn that wait for somebody."""
        turn = self.state.turn
        return turn.pending if turn is not None and self.state.running else ()

    async def approve(
        self, call_id: str, *, edited_arguments: Mapping[str, Any] | str | None = None, reason: str = ""
    ) -> bool:
        """Let a call run that waits for leave. `edited_arguments`, a mapping or JSON text, take the place of the model's; the
        transcript shows what really ran. Raises `SessionError` (`invalid_answer`) if they do not fit the tool, or if the call
        waits for something else."""

        async def approve() -> bool:
            waits = await self._waiting(call_id, "approval")
            if waits is None:
                return False
            edited = None if edited_arguments is None else self._checked_arguments(waits, edited_arguments)
            return await self.apply(Approve(call_id, edited, reason))

        return await self._at_home(approve)

    async def deny(self, call_id: str, reason: str = "") -> bool:
        """Refuse a call that waits for leave; the model is told the reason. Raises `SessionError` (`invalid_answer`) if the call
        waits for something else."""

        async def deny() -> bool:
            return await self._waiting(call_id, "approval") is not None and await self.apply(Deny(call_id, reason))

        return await self._at_home(deny)

    async def answer(self, call_id: str, answer: Any) -> bool:
        """Answer a question of `ask_user`: with text, or for a multiple choice with a list of choices. Raises `SessionError`
        (`invalid_answer`) if it is no answer; the question then stays open."""

        async def respond() -> bool:
            waits = await self._waiting(call_id, "question")
            if waits is None:
                return False
            return await self.apply(CallEnded(ToolResult(call_id, self._answer_to(waits, answer))))

        return await self._at_home(respond)

    async def submit(self, call_id: str, result: Any, *, is_error: bool = False, summary: str | None = None) -> bool:
        """Hand in the result of a call that you run yourself (`Tool.external`): anything that a tool may return, text, data or
        blocks. With `is_error` the call has failed, and the result says how; `summary` stands for it when old results are
        masked. Raises `SessionError` (`invalid_answer`) if the call waits for something else, `ToolError` if the result
        cannot be told to a model."""

        async def submit() -> bool:
            waits = await self._waiting(call_id, "external")
            return waits is not None and await self.apply(
                CallEnded(await self._handed_in(waits, result, is_error, summary))
            )

        return await self._at_home(submit)

    # --- going on -----------------------------------------------------------------------------------------------------

    def resume_stream(self, *, context: Ctx | None = None, stream: bool | None = None) -> Turn:
        """Go on with a parked turn, to be read event by event like `stream`. What is not answered yet goes on waiting: if all that is
        left waits, the turn parks again at once. Opening it raises `SessionError` (`not_parked`)."""
        return Turn(self, Begin(_going_on), Wishes(self._context_for(context), None, stream))

    async def resume(self, *, context: Ctx | None = None, stream: bool | None = None) -> TurnResult:
        """Go on with a parked turn to its end, or until it parks again. The result is that of the whole turn. Raises what `run`
        raises, and `SessionError` (`not_parked`)."""
        wishes = Wishes(self._context_for(context), None, stream, watched=False)
        turn = Turn(self, Begin(_going_on), wishes)
        async with turn:
            async for _ in turn.batches():
                pass
        return checked(turn.result)

    def _context_for(self, given: Ctx | None) -> Any:
        """The caller's object for a turn: the one given, the session's, or that of the turn whose tool is calling."""
        if given is not None:
            return given
        return self.context if self.context is not None else INHERITED.get()

    # --- checks -------------------------------------------------------------------------------------------------------

    async def _at_home(self, work: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
        """Do this on the loop on which the session's turn runs, if one does."""
        if self._turn is None or not self._bound or process.in_loop(self.runtime.loop):
            return await work()
        return await process.on_loop(self.runtime.loop, work)

    async def _waiting(self, call_id: str, kind: PendingKind) -> Pending | None:
        """What the call waits for; None if it does not. What has waited for too long is given up first."""
        self._refuse_if_gone()
        await self._bind()
        found = next((p for p in self.pending if p.call_id == call_id), None)
        if found is None:
            return None
        if found.expires_at is not None and found.expires_at <= self.runtime.clock.wall():
            await self.apply(Expire())
            return None
        if found.kind != kind:
            said = (
                f"{call_id} ({found.name}) is answered with {_ANSWERED_BY[found.kind]}, not with {_ANSWERED_BY[kind]}."
            )
            raise SessionError(ErrorInfo("session", "invalid_answer", said, "See Pending.kind.", session=self.id))
        return found

    def _checked_arguments(self, waits: Pending, edited: Mapping[str, Any] | str) -> str:
        tool = self._tool(waits.name)
        if tool is None:
            raise self._invalid(f"There is no tool {waits.name!r} that the edited arguments could be checked against.")
        try:
            raw = edited if isinstance(edited, str) else msgspec.json.encode(edited).decode()
            tool.decode(raw)
        except ArgumentsError as error:
            raise self._invalid(f"The edited arguments do not fit {waits.name}. {error.problem}") from error
        except Exception as error:
            raise self._invalid(f"The edited arguments are not JSON data: {error}.") from error
        return raw

    def _answer_to(self, waits: Pending, answer: Any) -> Body:
        tool = self._tool(waits.name)
        if tool is None:
            raise self._invalid(f"There is no tool {waits.name!r} that the answer could be checked against.")
        return tool.answered(tool.decode(waits.arguments), answer)

    async def _handed_in(self, waits: Pending, result: Any, is_error: bool, summary: str | None) -> ToolResult:
        """A result from outside, put away and cut like one of a tool's."""
        body = render_result(result)
        if not isinstance(body, str):
            body = await stored(body, self)
        outcome: Outcome = OK
        if is_error:
            said = bounded(text_in(body), ERROR_CHARS).strip() or "It did not say why."
            outcome = Failed(ErrorInfo("tool", "tool_failed", said))
            body = body or explain(outcome)
        short = None if summary is None or not summary.strip() else bounded(summary, SUMMARY_CHARS)
        tool = self._tool(waits.name)
        limit = DEFAULT_RESULT_CHARS if tool is None else tool.max_result_chars
        made = ToolResult(waits.call_id, body, outcome, short)
        return await SessionArtifacts(self).fitted(made, limit, self._tools())

    def _invalid(self, problem: str) -> SessionError:
        return SessionError(ErrorInfo("session", "invalid_answer", problem, "The call still waits.", session=self.id))

    def _tools(self) -> Mapping[str, Tool[..., Any]]:
        own = None if self.overrides is None else self.overrides.tools
        return self.agent.tools if own is None else own

    def _tool(self, name: str) -> Tool[..., Any] | None:
        return self._tools().get(name)


def _going_on(_: TurnPlan) -> Input:
    return Resume()
