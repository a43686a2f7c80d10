"""What the library logs: a few lines where an operator would want one, under `turnwise.*`, silent unless logging is set up.

Records carry `session`, `turn`, `step` and `call`, and have no secret in them (rule P6). Nothing is formatted for a level that nobody
reads.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from ..core.errors import ToolError
from ..core.inputs import CallModel, ModelFailed
from ..core.result import TurnResult
from ..models.secrets import mask
from .where import Where, where_in

if TYPE_CHECKING:
    from .actor import Actor
    from .health import PartStatus
    from .job import Job
    from .plan import Target

logging.getLogger("turnwise").addHandler(logging.NullHandler())

TURN = logging.getLogger("turnwise.turn")
MODEL = logging.getLogger("turnwise.model")
TOOL = logging.getLogger("turnwise.tool")
HEALTH = logging.getLogger("turnwise.health")

_TROUBLE = ("error", "timeout")


def turn_ended(session: Actor[Any], result: TurnResult) -> None:
    level = logging.WARNING if result.reason in _TROUBLE else logging.INFO
    if not TURN.isEnabledFor(level):
        return
    usage, cause = result.usage, f" ({result.cause})" if result.cause else ""
    cost = "" if usage.cost_usd is None else f", ${usage.cost_usd:.6f}"
    said = f": {result.error.for_log()}" if result.error is not None else ""
    text = (
        f"turn {result.turn} ended: {result.reason}{cause}, steps={result.steps} calls={result.calls} "
        f"tokens={usage.total_tokens or 0}{cost}{said}"
    )
    _say(TURN, level, text, Where(result.session, result.turn))


def attempt_failed(session: Actor[Any], given: ModelFailed) -> None:
    if MODEL.isEnabledFor(logging.WARNING):
        _say(MODEL, logging.WARNING, f"model call failed: {given.error.for_log()}", where_in(session))


def tried_again(session: Actor[Any], asked: CallModel, target: Target) -> None:
    """Another attempt at a step, perhaps by another model."""
    if MODEL.isEnabledFor(logging.WARNING):
        how = "falling back on" if asked.model else "trying again with"
        text = (
            f"{how} {target.handle.provider}:{target.handle.model}, attempt {asked.attempt}, in {asked.delay_s:.3f} s"
        )
        _say(MODEL, logging.WARNING, text, Where(session.id, asked.turn, asked.step))


def tool_failed(session: Actor[Any], job: Job, error: BaseException) -> None:
    """A tool raised. What it raised on purpose, to tell the model, is no more than a detail."""
    level = logging.DEBUG if isinstance(error, ToolError) else logging.WARNING
    if TOOL.isEnabledFor(level):
        text = (
            f"tool {job.tool.name} raised {type(error).__name__}\n{''.join(traceback.format_exception(error)).rstrip()}"
        )
        _say(TOOL, level, text, where_in(session, job.id))


def abandoned(session: Actor[Any], job: Job) -> None:
    if TOOL.isEnabledFor(logging.WARNING):
        text = f"tool {job.tool.name} did not stop when it was told to, and is given up"
        _say(TOOL, logging.WARNING, text, where_in(session, job.id))


def part_changed(status: PartStatus) -> None:
    if status.state == "ok":
        _say(HEALTH, logging.INFO, f"{status.part} works again", Where())
    else:
        _say(HEALTH, logging.WARNING, f"{status.part} is {status.state}: {status.code}: {status.message}", Where())


def _say(logger: logging.Logger, level: int, text: str, at: Where) -> None:
    if logger.isEnabledFor(level):
        logger.log(level, "%s", mask(text), extra=at._asdict(), stacklevel=3)
