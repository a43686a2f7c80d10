"""One request to a model, without a session: nothing is journalled and no tool is run. Public as `turnwise.models.complete` and `stream`.

Codecs, transport, limits of provider keys, retries and fallback are those of sessions (`attempt`, `core.limits.next_try`); only who asks
is another. The consumer drives the reading, as with a turn.
"""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Self

import msgspec

from ..core.content import ToolCall
from ..core.errors import ErrorInfo, config_error, error_of
from ..core.events import AttemptRestarted, Event, StepFinished, StepStarted, UsageUpdated
from ..core.inputs import CallModel, ModelFailed, ModelReplied
from ..core.limits import Deadlines, Restart, Retry, next_try
from ..core.messages import AssistantMessage, Message, StopReason, UserMessage
from ..core.protocols import Blobs
from ..core.repair import last_turn, repair
from ..core.request import Request, RequestHead
from ..core.usage import NO_USAGE, Usage
from ..models.connection import Model
from ..models.handle import resolve_model
from ..store.memory import MemoryBlobs
from . import refusals
from .attachments import Prompt, accept, without_bytes
from .attempt import Attempt
from .extensions import Extended, of_runtime, wrapped_alone
from .pieces import pieces_of
from .plan import Target, check_extras, target_of, watch_of
from .prefix import Prefix
from .runtime import Runtime, default_runtime
from .said import Ended
from .stream import EventStream
from .timers import Timer


class Completion(msgspec.Struct, frozen=True):
    """What a model said to one request. `usage` adds up all attempts, failed ones included; `attempts` counts them."""

    message: AssistantMessage
    usage: Usage
    attempts: int

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for. They are not run: that is what sessions do."""
        return self.message.tool_calls

    @property
    def stop_reason(self) -> StopReason:
        return self.message.stop_reason


async def complete(
    request: Request | Prompt,
    *,
    model: str | Model | None = None,
    models: Sequence[str | Model] = (),
    retry: Retry | None = None,
    deadlines: Deadlines | None = None,
    runtime: Runtime | None = None,
) -> Completion:
    """One request, one answer.

    Args:
        request: A `Request` (its head names the model as `provider:model`), or a prompt alone.
        model: The model, in place of the one that the request names.
        models: Instead of `model`: several, to fall back on in this order.
        retry: How a failed request is tried again.
        deadlines: Seconds until phases are given up; `turn_s` bounds the whole.
        runtime: What owns connections (default: one per event loop).

    Raises `ConfigError` before anything is sent, and `ProviderError` when the last try has failed. Cancelling it drops the
    connection.
    """
    asked = ModelStream(request, model, models, retry, "before_commit", deadlines, runtime)
    async with asked:
        async for _ in asked.batches():
            pass
    return asked.completion


def stream(
    request: Request | Prompt,
    *,
    model: str | Model | None = None,
    models: Sequence[str | Model] = (),
    retry: Retry | None = None,
    restart: Restart = "before_output",
    deadlines: Deadlines | None = None,
    runtime: Runtime | None = None,
) -> ModelStream:
    """`complete`, event by event: `async with stream(request) as events: async for event in events: …`.

    The events are those of a turn's step: `StepStarted`, deltas, `AttemptRestarted` (with `restart="before_commit"`, watchers
    drop what the failed attempt showed), `UsageUpdated`, `StepFinished`. A failure raises from the iteration. Afterwards
    `completion` is the whole answer. Leaving early drops the connection.
    """
    return ModelStream(request, model, models, retry, restart, deadlines, runtime)


class ModelStream(EventStream):
    """One request being made; see `stream`. Cancelling a pending `__anext__` loses no event: iterate again, or leave."""

    def __init__(
        self,
        request: Request | Prompt,
        model: str | Model | None,
        models: Sequence[str | Model],
        retry: Retry | None,
        restart: Restart,
        deadlines: Deadlines | None,
        runtime: Runtime | None,
        extended: Extended | None = None,
    ) -> None:
        """`extended` is what the session that asks has around its model calls; without one it is what the runtime has."""
        super().__init__()
        self._extended = extended
        self._given = request
        self._models = _models(request, model, models)
        self._retry = retry or Retry()
        self._restart: Restart = restart
        self._deadlines = deadlines or Deadlines()
        self._runtime = runtime
        self.transcript: Sequence[Message] = ()
        self.prefix = Prefix()
        self.blobs: Blobs = MemoryBlobs()
        self.has_blobs = False
        self.claims = None
        self._targets: tuple[Target, ...] = ()
        self._turn = 1
        self._tried = 0
        self._usage = NO_USAGE
        self._watch: Timer | None = None
        self._deadline: float | None = None
        self._completion: Completion | None = None
        self._error: ErrorInfo | None = None
        self._begun = False

    @property
    def completion(self) -> Completion:
        """The whole answer. Raises `SessionError` (`turn_running`) before it is there."""
        if self._completion is None:
            raise refusals.misuse("turn_running", "The answer is not there yet.", "Read the events to the end first.")
        return self._completion

    @property
    def usage(self) -> Usage:
        """What all attempts have taken so far, also one that was dropped."""
        return self._usage

    async def __aenter__(self) -> Self:
        if self._begun:
            raise refusals.misuse("turn_reused", "A request is streamed once.", "Make another stream for the next one.")
        self._begun = True
        runtime = self._runtime = self._runtime or await default_runtime()
        runtime.bind()
        self._context = contextvars.copy_context()
        await self._prepare(runtime)
        runtime.adopt(self)
        if self._deadlines.turn_s is not None:
            self._deadline = runtime.loop.time() + self._deadlines.turn_s
        self._begin(CallModel(self._turn, 1, 1))
        self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        if not self._begun:
            raise refusals.misuse(
                "turn_not_open", "The stream is not open.", "Write: async with stream(...) as events:"
            )
        return self

    async def close(self) -> None:
        """Drop the connection, if one is open. Idempotent."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.stop("the stream was left")
            self._count(attempt.usage_so_far())
            self._error = self._error or ErrorInfo("session", "session_closed", "The stream was left before its end.")
        runtime = self._runtime
        if runtime is not None:
            runtime.release(self)
            if self._watch is not None:
                runtime.timers.cancel(self._watch)
                self._watch = None
        self.wake()

    def _count(self, usage: Usage | None) -> None:
        if usage is not None:
            self._usage = usage if self._usage is NO_USAGE else self._usage + usage

    def is_light(self, attempt: Attempt, body_bytes: int) -> bool:
        """A single request is sent as it is."""
        return True

    async def weigh(self, attempt: Attempt, body_bytes: int) -> bool:
        """A single request is sent as it is."""
        return True

    def reminder(self, asked: CallModel) -> str:
        """A single request is what its caller says."""
        return ""

    def post(self, given: Ended) -> None:
        """What came of an answer whose media had to be put away first, or a failure that a middleware has seen."""
        self._settle(given)
        self.wake()

    # --- before anything is sent --------------------------------------------------------------------------------------

    async def _prepare(self, runtime: Runtime) -> None:
        given = self._given
        if isinstance(given, Request):
            head, messages = given.head, list(repair(given.messages))
        else:
            body = await accept(given, self, lambda path: pieces_of(path, runtime.blocking))
            head, messages = RequestHead(""), [UserMessage(body, 1, 1)]
        if not messages:
            raise config_error("empty_prompt", "The request has no messages.", "Give it at least one.")
        self.transcript = [await without_bytes(message, self) for message in messages]
        self.has_blobs = True
        self._turn = last_turn(self.transcript) + 1
        handles = [resolve_model(model, runtime.environ) for model in self._models]
        self._targets = tuple([target_of(handle, head, runtime) for handle in handles])
        check_extras(self._targets)

    # --- one try after the other --------------------------------------------------------------------------------------

    @property
    def _owner(self) -> Runtime:
        assert self._runtime is not None
        return self._runtime

    def _begin(self, asked: CallModel) -> None:
        runtime, target = self._owner, self._targets[asked.model]
        self._out.append(StepStarted(asked.turn, asked.step, asked.attempt, target.handle.model))
        extended = self._extended or of_runtime(runtime.extensions)
        if extended is None or (chain := extended.middleware.get("model")) is None:
            attempt = self._attempt = Attempt(asked, target, self._deadlines, runtime)
        else:
            attempt = self._attempt = wrapped_alone(chain, self, asked, target, self._deadlines, runtime)
        if asked.attempt > 1:
            target.budget.take()
        attempt.opening = runtime.start(self._open(attempt), self._context.copy())

    async def _open(self, attempt: Attempt) -> None:
        failed = await attempt.open(self)
        if failed is not None and not attempt.stopped:
            self._settle(failed)
        self.wake()

    async def pull(self) -> list[Event] | None:
        while not self._out:
            if self._error is not None:
                raise error_of(self._error)
            if self._completion is not None:
                return None
            attempt = self._attempt
            if attempt is not None and (response := attempt.response) is not None:
                if self.reading:
                    raise refusals.two_readers()
                self._read = attempt
                events, ended = await attempt.read(response, self)
                if not attempt.stopped:
                    self._out += events
                    if ended is not None:
                        self._settle(ended)
            else:
                await self._wait(self._owner.loop)
        return self.take()

    def _settle(self, given: Ended) -> None:
        """What came of the attempt: an answer, another try, or the end."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        asked = attempt.asked
        message = given.message if isinstance(given, ModelReplied) else None
        usage = message.usage if message is not None else given.usage if isinstance(given, ModelFailed) else None
        self._count(usage)
        if usage is not None:
            self._out.append(UsageUpdated(asked.turn, asked.step, usage, self._usage))
        if message is not None:
            said = message.response
            self._out.append(
                StepFinished(
                    asked.turn, 1, asked.attempt, said.stop_reason, said.raw_stop_reason, usage, message.tool_calls
                )
            )
            self._completion = Completion(message, self._usage, asked.attempt)
            return
        assert isinstance(given, ModelFailed)
        self._failed(asked, given)

    def _failed(self, asked: CallModel, given: ModelFailed) -> None:
        self._tried += 1
        again = None
        if not (given.shown and self._restart == "before_output"):
            again = next_try(
                given.error,
                self._retry,
                tried=self._tried,
                draw=given.draw,
                may_retry=given.may_retry and asked.attempt <= self._retry.per_turn,
                left=len(self._targets) - asked.model - 1,
                model=asked.model,
            )
        phase = "before_commit" if given.shown else "before_output"
        error = msgspec.structs.replace(given.error, commit_phase=phase)
        if again is None:
            self._error = error
            return
        if again.model != asked.model:
            self._tried = 0
        self._out.append(AttemptRestarted(asked.turn, 1, asked.attempt + 1, again.delay_s, error))
        self._begin(CallModel(asked.turn, 1, asked.attempt + 1, again.delay_s, again.model))

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer looks at all deadlines; see `Turn.arm_watch`."""
        now, every = self._owner.loop.time(), watch_of(self._deadlines)
        ends = [t for t in (self._deadline, None if every is None else now + every) if t is not None]
        attempt = self._attempt
        if attempt is not None and attempt.waiting_since is not None and attempt.patience_s is not None:
            ends.append(attempt.waiting_since + attempt.patience_s)
        if ends:
            self._watch = self._owner.timers.at(min(ends), self._look)

    def _look(self) -> None:
        self._watch = None
        attempt = self._attempt
        if self._completion is not None or self._error is not None:
            return
        now = self._owner.loop.time()
        if self._deadline is not None and now >= self._deadline:
            if attempt is not None:
                attempt.stop("the request took too long")
                self._count(attempt.usage_so_far())
            self._attempt, self._error = None, _too_long(self._deadlines.turn_s or 0.0)
            self.wake()
            return
        if attempt is not None and attempt.overdue(now):
            self._settle(attempt.give_up())
            self.wake()
        self._arm()


def _models(request: Request | Prompt, model: str | Model | None, models: Sequence[str | Model]) -> list[str | Model]:
    if model is not None and models:
        raise config_error("conflicting_settings", "model and models were both given.", "Put all of them into models.")
    if models:
        return list(models)
    if model is not None:
        return [model]
    if isinstance(request, Request) and request.head.model:
        return [request.head.model]
    raise config_error("missing_model", "The request names no model.", "Pass model='provider:model'.")


def _too_long(limit_s: float) -> ErrorInfo:
    return ErrorInfo(
        "provider",
        "provider_timeout",
        f"The request took longer than {limit_s:g} s.",
        "Allow more with Deadlines(turn_s=…).",
    )
