"""Compactions carried out: when one is due, who writes the summary, and how its change enters the journal. A side room.

A request that is too large is not sent: its attempt is dropped, a `Job` plans the change, and what came of it is posted, after
which the machine asks for the model call again. Nothing is held up meanwhile: inputs are folded as ever, and the change swaps
in only if the view is still the one it was planned on (rule X4). What is to be changed is decided in core/compaction_plan.py.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.compaction import Compaction, CompactReport, Summarise, in_force
from ..core.compaction_plan import Frame, Planned, SummaryMade, SummaryWanted, messages_tokens, plan, report
from ..core.decide_rare import BASE_CHANGED
from ..core.errors import ErrorInfo, TurnwiseError
from ..core.estimate import Weight
from ..core.events import Notice
from ..core.inputs_rare import CompactionEnded
from ..core.messages import Message, UserMessage
from ..core.request import ModelSettings, Request, RequestHead
from ..core.summary import INSTRUCTIONS
from ..core.usage import NO_USAGE, Usage
from ..core.view import Change
from ..models.connection import Model
from ..models.facts import Facts
from ..models.handle import parts_of
from . import refusals
from .extensions import extended_of
from .learn import window_of
from .single import ModelStream
from .sizes import Sizes, limit_of, sizes_of
from .weighing import Due

if TYPE_CHECKING:
    from .actor import Actor

TRIES = 3
"""How often a compaction before a request is planned, if its plans are overtaken."""
REFUSED_SHARE = 0.95
"""Of a request that the provider refused as too long: what is taken for its window, if that is not known to be smaller."""
PROMPT_SHARE = 0.85
"""How much of its model's window the request for a summary may fill, its answer aside."""
LEAST_PROMPT_BYTES = 600


# --- by hand ----------------------------------------------------------------------------------------------------------


async def by_hand(session: Actor[Any]) -> CompactReport:
    """Compact now, whether or not a turn runs; see `Session.compact`."""
    job = Job(session, await _idle(session))
    job.start()
    await job.ended()
    await session.until_durable()
    return job.report


async def _idle(session: Actor[Any]) -> Due:
    """The request that would go out now if the model were asked: nothing of it is encoded but its head."""
    target, state = session.target_now(), session.state
    limit = await limit_of(state.settings, target.facts, session.runtime)
    calibration = sizes_of(session).calibration(target.handle, state)
    head = target.sealed_for(target.head_for(state.transcript)).head
    due = Due("manual", target, calibration.tokens(Weight(len(head.before) + len(head.after))), limit, calibration)
    return msgspec.structs.replace(due, tokens=due.tokens + due.messages(session))


# --- the work ---------------------------------------------------------------------------------------------------------


class Job:
    """A compaction under way, in a task of the runtime. `report` is what it came to, `usage` what it has spent that is not in the
    journal yet."""

    __slots__ = ("_base", "_due", "_fixed_tokens", "_hooked", "_model", "_session", "_task", "report", "usage")

    def __init__(self, session: Actor[Any], due: Due) -> None:
        self._session = session
        self._due = due
        self._base = session.state.base
        self._fixed_tokens = max(0, due.tokens - due.messages(session))
        self._task: asyncio.Task[None] | None = None
        self._model = ""
        self._hooked: tuple[Compaction | None] | None = None
        self.usage: Usage | None = None
        self.report = CompactReport(False, "failed", refusals.COMPACTION_STOPPED)

    def start(self, context: contextvars.Context | None = None) -> None:
        sizes_of(self._session).jobs.append(self)
        self._task = self._session.runtime.start(self._run(), context)

    async def ended(self) -> None:
        """Wait until it is over. Cancelling this stops it, if it was asked for by hand."""
        task = self._task
        if task is None or task.done():
            return
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            if self._due.trigger == "manual":
                self.cancel()
            raise

    def cancel(self) -> None:
        """Drop what is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def stop(self) -> Usage | None:
        """Drop it, and say what it has spent."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait((self._task,))
        return self.usage

    async def _run(self) -> None:
        """Never raises but when it is cancelled: what went wrong is posted like what went well."""
        sizes = sizes_of(self._session)
        try:
            await self._wait_for_others(sizes)
            if extended_of(self._session) is not None:
                from .hooks.at_compaction import before_compaction

                self._hooked = (await before_compaction(self._session, self._due, self._settings()),)
            ended = await self._made()
        except asyncio.CancelledError:
            if self._due.trigger == "manual":
                self._tell_of_waste()
            raise
        except TurnwiseError as error:
            ended = self._failed(error.info)
        except Exception as error:
            ended = self._failed(refusals.compaction_failed(error))
        finally:
            sizes.jobs.remove(self)
        self._post(ended, sizes)
        if extended_of(self._session) is not None:
            from .hooks.at_compaction import after_compaction

            await after_compaction(self._session, self.report)

    async def _wait_for_others(self, sizes: Sizes) -> None:
        """One at a time, so that none is made in vain."""
        for job in sizes.jobs[: sizes.jobs.index(self)]:
            if job._task is not None and not job._task.done():
                await asyncio.wait((job._task,))

    async def _made(self) -> CompactionEnded:
        """Plan, and plan again if another change came between."""
        state, due = self._session.state, self._due
        for tried in range(1, TRIES + 1):
            base, settings = state.base, self._settings()
            if due.trigger == "auto" and base != self._base and not self._still_over(settings):
                break
            ended = await self._planned(base, settings)
            if state.base == base or due.trigger == "manual" or tried == TRIES:
                return ended
        return self._failed(BASE_CHANGED)

    def _settings(self) -> Compaction | None:
        """What hooks say, if they said anything; else: by hand, what the agent says holds also where a session has turned it off."""
        if self._hooked is not None:
            return self._hooked[0]
        agents, sessions = self._session.agent.compaction, self._session.state.settings.compaction
        return in_force(agents, None if sessions is False and self._due.trigger == "manual" else sessions)

    def _still_over(self, settings: Compaction | None) -> bool:
        now, limit = self._fixed_tokens + self._due.messages(self._session), self._due.limit
        return settings is not None and limit is not None and now > settings.at * limit

    async def _planned(self, base: int, settings: Compaction | None) -> CompactionEnded:
        state, due = self._session.state, self._due
        history, view = list(state.history), state.change
        frame = await self._frame(history, view, settings, base)
        planned = await self._drive(history, view, settings, frame)
        self.report = report(history, view, planned, frame, due.size)
        error = None if planned.change is not None else planned.error or refusals.not_compacted(planned.why_not)
        before, after = self.report.tokens_before, self.report.tokens_after
        return CompactionEnded(base, due.trigger, planned.change, error, before, after, self.usage, self._model)

    async def _drive(
        self, history: Sequence[Message], view: Change, settings: Compaction | None, frame: Frame
    ) -> Planned:
        planning = plan(history, view, settings, frame, self._due.size)
        try:
            wanted = next(planning)
            while True:
                wanted = planning.send(await self._ask(wanted))
        except StopIteration as end:
            return end.value

    async def _frame(self, history: Sequence[Message], view: Change, settings: Compaction | None, number: int) -> Frame:
        """What to aim at. A request that was refused says more about the window than the catalogue does."""
        due, fixed = self._due, self._fixed_tokens
        window = due.tokens if due.limit is None else due.limit
        if due.trigger == "overflow":
            window = min(window, int(due.tokens * REFUSED_SHARE))
        aim = min(window, fixed + messages_tokens(history, view, due.size)) if due.trigger == "manual" else window
        to = settings.to if settings is not None else 1.0
        bound = await self._prompt_bytes(settings, window)
        now = self._session.runtime.clock.wall()
        return Frame(fixed, int(to * aim), window, bound, number + 1, now)

    def _post(self, ended: CompactionEnded, sizes: Sizes) -> None:
        """Nothing is journalled of a compaction by hand that had nothing to do."""
        session, made = self._session, self.report
        if ended.change is not None and ended.base != session.state.base:
            self.report = CompactReport(False, "base_changed", BASE_CHANGED)
        sizes.settled_tokens = made.tokens_after if made.compacted else self._due.tokens
        idle = ended.change is None and made.why_not in ("nothing_to_compact", "no_strategy")
        if ended.trigger == "manual" and idle and ended.usage is None:
            return
        if session.fold(ended):
            self.usage = None
            session.advance()

    def _failed(self, error: ErrorInfo) -> CompactionEnded:
        self.report = CompactReport(False, "base_changed" if error is BASE_CHANGED else "failed", error)
        base = self._session.state.base
        return CompactionEnded(base, self._due.trigger, None, error, usage=self.usage, model=self._model)

    def _tell_of_waste(self) -> None:
        if self.usage is not None and not self._session.runtime.closed:
            error = refusals.COMPACTION_STOPPED
            self._session.post(CompactionEnded(-1, "manual", None, error, usage=self.usage, model=self._model))

    # --- summaries ----------------------------------------------------------------------------------------------------

    async def _ask(self, wanted: SummaryWanted) -> SummaryMade | ErrorInfo:
        """What a model says to a request of its own: no tools, nothing of the session but its text."""
        session = self._session
        model, head = self._asked(wanted)
        request = Request(head, (UserMessage(wanted.prompt, 1, 1),))
        agent = session.agent
        asked = ModelStream(
            request,
            model,
            (),
            agent.retry,
            "before_commit",
            agent.deadlines,
            session.runtime,
            extended_of(session),
        )
        self._model = model.name
        session.tell_running(Notice("compacting", f"{model.name} is asked for a summary of what was said so far."))
        try:
            async with asked:
                async for _ in asked.batches():
                    pass
            said = asked.completion
            return SummaryMade(said.text, said.stop_reason)
        except TurnwiseError as error:
            return error.info
        finally:
            if asked.usage is not NO_USAGE:
                self.usage = asked.usage if self.usage is None else self.usage + asked.usage

    def _asked(self, wanted: SummaryWanted) -> tuple[Model, RequestHead]:
        """The model that writes, and how it is asked. The session's own keeps what lets requests in; another one of the same provider is
        reached in the same way."""
        target, limit = self._due.target, self._due.limit
        own, most = target.handle.asked, wanted.max_output_tokens
        if limit is not None and wanted.model is None:
            most = min(most, max(1, limit // 4))
        settings = ModelSettings(max_output_tokens=most, cache="off")
        model = Model(wanted.model or own.name, **own.connection)
        if wanted.model is None:
            said = target.head.settings
            settings = msgspec.structs.replace(
                settings, temperature=said.temperature, extra=said.extra, patch=said.patch
            )
        elif parts_of(wanted.model)[0] != target.handle.provider:
            model = Model(wanted.model)
        return model, RequestHead("", wanted.instructions, (), settings, target.head.stream)

    async def _prompt_bytes(self, settings: Compaction | None, window: int) -> int:
        """How long the prompt for a summary may be, so that each model that may be asked can read it."""
        session, least = self._session, LEAST_PROMPT_BYTES
        bounds: list[int] = []
        for strategy in settings.strategies if settings is not None else ():
            if not isinstance(strategy, Summarise):
                continue
            reads = window
            if strategy.model is not None:
                facts = Facts(Model(strategy.model), overrides=session.agent.overrides)
                known = await window_of(facts, session.runtime)
                reads = known or window
            room = reads * PROMPT_SHARE - min(strategy.max_output_tokens, reads // 4)
            spare = len(INSTRUCTIONS) + len(strategy.instructions) + 400
            bounds.append(int(room / self._due.calibration.tokens_per_byte) - spare)
        return max(least, min(bounds, default=least))
