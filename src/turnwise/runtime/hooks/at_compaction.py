"""The points around a compaction: `compaction.before`, which may change how it is done or keep it from being done, and `compaction.after`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.compaction import Compaction, CompactReport
from ...core.errors import error_of
from ..weighing import Due
from . import failures
from .hooked import chain_of, run_outside
from .values import CompactionRequest

if TYPE_CHECKING:
    from ..actor import Actor


async def before_compaction(session: Actor[Any], due: Due, settings: Compaction | None) -> Compaction | None:
    """The settings that the compaction is done by. Raises `HookError` if it is not to be done."""
    chain = chain_of(session, "compaction.before")
    if chain is None:
        return settings
    asked = CompactionRequest(due.trigger, due.tokens, due.limit, settings)
    outcome = await run_outside(session, chain, asked, old=asked).wait()
    if outcome.error is not None:
        raise error_of(outcome.error)
    if outcome.halt is not None:
        raise error_of(failures.refused(outcome.by, "compaction.before", outcome.reason))
    return outcome.value.settings


async def after_compaction(session: Actor[Any], report: CompactReport) -> None:
    """What it came to, told to hooks."""
    chain = chain_of(session, "compaction.after")
    if chain is not None:
        await run_outside(session, chain, report, old=report).wait()
