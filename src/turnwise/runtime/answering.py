"""How calls that wait for somebody are answered: leave given or refused, questions answered, results handed in; and the turn resumed.

Everything is checked before it is journalled: arguments against the tool, answers against the question. Answers come in any order,
from any task, also long after and in another process than the one that asked (rule C6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..core.errors import ErrorInfo, SessionError
from ..core.inputs import CallEnded
from ..core.inputs_rare import Approve, Deny, Expire
from ..core.outcomes import OK, Failed, Outcome, ToolResult, explain
from ..core.principal import Principal
from ..core.result import Pending, PendingKind
from ..tools import ArgumentsError, Tool
from ..tools.arguments import bounded
from ..tools.cap import DEFAULT_RESULT_CHARS, text_in
from ..tools.context import Ctx
from ..tools.results import ERROR_CHARS, Body, render_result
from ..tools.summaries import SUMMARY_CHARS
from .artifacts import SessionArtifacts
from .attachments import stored
from .home import at_home
from .stored import Stored

_ANSWERED_BY: dict[PendingKind, str] = {
    "approval": "approve() or deny()",
    "question": "answer()",
    "external": "submit()",
}


class Answering(Stored[Ctx]):
    """The part of a session that hears what people and programs say to its waiting calls. All of these return True once what was said is
    durable, and False if no such call waits, or not any more: it was answered, given up, or its turn interrupted."""

    __slots__ = ()

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The calls of the running turn that wait for somebody."""
        turn = self.state.turn
        return turn.pending if turn is not None and self.state.running else ()

    async def approve(
        self,
        call_id: str,
        *,
        edited_arguments: Mapping[str, Any] | str | None = None,
        reason: str = "",
        by: Principal | None = None,
    ) -> bool:
        """Let a call run that waits for leave. `edited_arguments`, a mapping or JSON text, take the place of the model's; the
        transcript shows what really ran. `by` is who allows it, for the audit (default: the session's principal).
        Raises `SessionError` (`invalid_answer`) if they do not fit the tool, or if the call waits for something else."""

        async def approve() -> bool:
            waits = await self._waiting(call_id, "approval")
            if waits is None:
                return False
            edited = None if edited_arguments is None else self._checked_arguments(waits, edited_arguments)
            return await self.apply(Approve(call_id, edited, reason, by))

        return await at_home(self, approve)

    async def deny(self, call_id: str, reason: str = "", *, by: Principal | None = None) -> bool:
        """Refuse a call that waits for leave; the model is told the reason. `by` is who refuses it (default: the session's principal).
        Raises `SessionError` (`invalid_answer`) if the call waits for something else."""

        async def deny() -> bool:
            waits = await self._waiting(call_id, "approval")
            return waits is not None and await self.apply(Deny(call_id, reason, by=by))

        return await at_home(self, deny)

    async def answer(self, call_id: str, answer: Any) -> bool:
        """Answer a question of `ask_user`: with text, or for a multiple choice with a list of choices. Raises `SessionError`
        (`invalid_answer`) if it is no answer; the question then stays open."""

        async def respond() -> bool:
            waits = await self._waiting(call_id, "question")
            if waits is None:
                return False
            return await self.apply(CallEnded(ToolResult(call_id, self._answer_to(waits, answer))))

        return await at_home(self, respond)

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

        return await at_home(self, submit)

    # --- checks -------------------------------------------------------------------------------------------------------

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
