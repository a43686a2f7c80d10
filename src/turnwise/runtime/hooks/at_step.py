"""The points around a model call: the request before it is encoded, the response before it is journalled.

What hooks may change of a request is its head and what is said at its end; the messages stay the bytes that they are (rule T7). Trying again
and going on with another answer are told to the machine, which weighs them like whatever else may happen to a model call (rule H3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ...core.content import ToolCall
from ...core.errors import ErrorInfo, TurnwiseError
from ...core.events import TextDelta
from ...core.inputs import ModelFailed
from ...core.inputs_rare import Stop
from ...core.messages import AssistantMessage, ResponseInfo
from ..attachments import stored
from ..plan import Target
from ..reminders import written
from .chain import Chain, Outcome
from .hooked import Hooked, hooked_of
from .points import Take
from .results import Cancel, Redirect, Replace, Retry
from .values import StepRequest, Unfit, an_answer, numbered

if TYPE_CHECKING:
    from ..attempt import Attempt
    from ..said import Ended
    from ..turn import Turn


def hook_step(turn: Turn, attempt: Attempt) -> bool:
    """Give the attempt the hooks of its step, if there are any; True if they come before it is told that it begins."""
    hooked = hooked_of(turn.session, turn)
    before, after = hooked.chain("step.before"), hooked.chain("step.after")
    if before is not None or after is not None:
        attempt.hooks = StepHooks(turn, hooked, before, after)
    return before is not None


class StepHooks:
    """The hooks of one attempt. `reminder` is what they add to the end of the request."""

    __slots__ = ("_after", "_before", "_hooked", "_turn", "reminder")

    def __init__(self, turn: Turn, hooked: Hooked, before: Chain | None, after: Chain | None) -> None:
        self._turn = turn
        self._hooked = hooked
        self._before = before
        self._after = after
        self.reminder = ""

    # --- the request --------------------------------------------------------------------------------------------------

    async def before(self, attempt: Attempt) -> Literal[True] | ModelFailed | None:
        """True if the request is to be sent; what came of the attempt instead, or None if the machine was told. In the task that opens the
        connection, which an interrupt cancels."""
        if self._before is None:
            return True
        target = attempt.target
        shown = StepRequest(target.handle.model, target.head.instructions, target.head.settings)
        run = self._hooked.heard(self._before, shown, attempt=attempt.asked.attempt)
        if run is None:
            self._turn.announce(attempt.asked, target)
            return None if attempt.stopped else True
        run.take = _encodable(target)
        outcome = await run.wait()
        if attempt.stopped:
            return None
        if isinstance(outcome.halt, Redirect):
            other = self._target(outcome.halt.to)
            if other is None:
                self._turn.announce(attempt.asked, target)
                return attempt.failed(_no_model(outcome, self._turn.plan.targets))
            attempt.target = target = other
        self._turn.announce(attempt.asked, target)
        if outcome.changed:
            try:
                attempt.target = self._changed(target, outcome.value)
            except TurnwiseError as error:  # of a model that the request was not checked for: it was redirected
                return attempt.failed(error.info)
            self.reminder = outcome.value.reminder
        match outcome.halt:
            case None | Redirect():
                return True
            case Replace(result=result):
                return await self._answered(attempt, outcome, result)
            case _:
                said = _refused(outcome, attempt)
                if isinstance(said, ModelFailed):
                    return said
                self._turn.replied(attempt, said)
                return None

    def _changed(self, target: Target, asked: StepRequest) -> Target:
        """The target asked in another way. Asked so again in the same turn it is the same one, whose head is encoded once."""
        head = target.head
        if asked.instructions == head.instructions and asked.settings == head.settings:
            return target
        kept = self._hooked.kept
        if kept is not None and kept[0] is target.head:
            same = kept[1].head
            if same.instructions == asked.instructions and same.settings == asked.settings:
                return kept[1]
        made = changed(target, asked)
        self._hooked.kept = target.head, made
        return made

    def reminding(self, said: str) -> str:
        """What is told at the end of the request, theirs behind what is told anyway."""
        return "\n".join([text for text in (said, written([self.reminder])) if text]) if self.reminder.strip() else said

    async def _answered(self, attempt: Attempt, outcome: Outcome, result: Any) -> ModelFailed | None:
        """An answer that no model gave, told to watchers as if one had."""
        try:
            body = an_answer(result)
            if not isinstance(body, str):
                body = await stored(body, self._turn.session)
        except Exception as error:
            return attempt.failed(_no_answer(outcome.by, error))
        asked = attempt.asked
        calls = not isinstance(body, str) and any(type(block) is ToolCall for block in body)
        now = self._turn.session.runtime.clock.wall()
        info = ResponseInfo("hook", outcome.by, stop_reason="tool_calls" if calls else "stop", completed_at=now)
        message = numbered(AssistantMessage(body, asked.turn, asked.step, now, False, info), ())
        if message.text:
            self._turn.tell([TextDelta(message.text, 0, asked.attempt)])
        self._turn.replied(attempt, attempt.replied(message))
        return None

    def _target(self, name: str) -> Target | None:
        """A model of the turn, by the name that its agent gave it or by the provider's."""
        targets = self._turn.plan.targets
        return next((t for t in targets if name in (t.handle.asked.name, t.handle.model)), None)

    # --- the response -------------------------------------------------------------------------------------------------

    @property
    def has_after(self) -> bool:
        return self._after is not None

    def after(self, attempt: Attempt, message: AssistantMessage) -> Ended | None:
        """What comes of a response: at once if no hook has to be waited for; else the turn is told later, unless the attempt was stopped. Of
        one that came while the turn was being stopped nothing comes, and no hook is asked."""
        assert self._after is not None
        if self._hooked.halted:
            return attempt.replied(message)
        run = self._hooked.heard(self._after, message, attempt=attempt.asked.attempt, tracked=True)
        if run is None:
            return attempt.replied(message)

        def ended(outcome: Outcome) -> None:
            if not attempt.stopped:
                self._turn.replied(attempt, _came_to(attempt, outcome))

        outcome = run.begin(ended)
        return None if outcome is None else _came_to(attempt, outcome)


# --- what is told to the machine ----------------------------------------------------------------------------------------


def _came_to(attempt: Attempt, outcome: Outcome) -> Ended:
    if outcome.halt is None:
        return attempt.replied(outcome.value)
    return _refused(outcome, attempt, outcome.value)


def _refused(outcome: Outcome, attempt: Attempt, message: AssistantMessage | None = None) -> ModelFailed | Stop:
    """A failure that may pass, one that ends the turn, or the end of the turn; what was used is counted (rule E10)."""
    halt, usage = outcome.halt, None if message is None else message.usage
    if isinstance(halt, Retry):
        return attempt.failed(_again(outcome.by, halt), usage)
    if outcome.error is not None:
        return attempt.failed(outcome.error, usage)
    assert isinstance(halt, Cancel)
    return Stop(halt.reason or outcome.by, usage)


def _again(by: str, halt: Retry) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "hook_retry",
        f"Hook {by} asked for the model call to be tried again.",
        "It was asked for more often than the retries of the turn allow, or of text that was shown already.",
        retryable=True,
        retry_after_s=halt.after_s,
    )


def _no_model(outcome: Outcome, targets: tuple[Target, ...]) -> ErrorInfo:
    to = outcome.halt.to if isinstance(outcome.halt, Redirect) else ""
    names = ", ".join([target.handle.asked.name for target in targets])
    return ErrorInfo(
        "hook",
        "bad_redirect",
        f"Hook {outcome.by} wants the model {to!r} to be asked, which the agent does not have.",
        f"It has: {names}. Name more with Agent(models=[…]).",
    )


def _no_answer(by: str, error: Exception) -> ErrorInfo:
    return ErrorInfo(
        "hook",
        "unfit_value",
        f"What hook {by} gave in place of an answer is none: {error}",
        "Give text, content blocks, or an AssistantMessage.",
        detail=type(error).__name__,
    )


# --- checks ------------------------------------------------------------------------------------------------------------


def _encodable(target: Target) -> Take:
    """Takes requests that the provider's API can be asked."""

    def take(value: StepRequest, _: Any) -> StepRequest:
        try:
            changed(target, value)
        except TurnwiseError as error:
            raise Unfit(error.message) from None
        return value

    return take


def changed(target: Target, asked: StepRequest) -> Target:
    """The target as it is asked with these instructions and settings. Raises `ConfigError` if it cannot be."""
    head = msgspec.structs.replace(target.head, instructions=asked.instructions, settings=asked.settings)
    return msgspec.structs.replace(target, head=head, sealed=target.handle.seal(head))
