"""A large result is read by a model before the agent's own sees it: the model call of `@tool(extract=…)`.

It runs within the tool's call: stopped with it, bounded by the time it has left, its tokens counted in the turn. When it fails the
result is there all the same, so whatever goes wrong here is told and costs the call nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.errors import TurnwiseError
from ..core.events import Notice
from ..core.limits import Deadlines
from ..core.messages import UserMessage
from ..core.request import ModelSettings, Request, RequestHead
from ..core.turn import CUT_OFF
from ..tools.cap import capped, left_out
from ..tools.extract import Extract
from .extensions import extended_of
from .job import Job
from .single import ModelStream

if TYPE_CHECKING:
    from .actor import Actor

SHARE_OF_TIME = 0.8
"""How much of the time that the call has left the model may use."""
MIN_TIME_S = 0.5
ARGUMENTS_CHARS = 2_000


async def extract_from(
    text: str, extract: Extract, job: Job, session: Actor[Any], tell: Callable[[Notice], None]
) -> str | None:
    """What the model says about a result; None if it did not answer. Sets `job.usage` to what it took, also when cancelled."""
    left = None if job.context is None else job.context.time_left_s()
    seconds = extract.timeout_s if left is None else min(extract.timeout_s, left * SHARE_OF_TIME)
    if seconds < MIN_TIME_S:
        tell(Notice("extract_failed", f"{job.tool.name} ({job.id}) left no time to extract its result."))
        return None
    asked = ModelStream(
        _request(text, extract, job),
        extract.model or session.agent.models[0],
        (),
        None,
        "before_commit",
        Deadlines(turn_s=seconds),
        session.runtime,
        extended_of(session),
    )
    try:
        async with asked:
            async for _ in asked.batches():
                pass
    except TurnwiseError as error:
        why = f"The result of {job.tool.name} ({job.id}) could not be extracted: {error.message}"
        tell(Notice("extract_failed", why))
        return None
    finally:
        job.usage = asked.usage
    answer = asked.completion
    if answer.stop_reason in CUT_OFF and answer.stop_reason != "length":
        return None
    return answer.text.strip()


def _request(text: str, extract: Extract, job: Job) -> Request:
    if len(text) > extract.max_chars:
        shown = capped(text, text, extract.max_chars, lambda text, cut: left_out(text, cut, ""))
    else:
        shown = text
    call = f"{job.tool.name} {job.call.arguments[:ARGUMENTS_CHARS]}"
    prompt = f"The call: {call}\n\nIts result:\n<result>\n{shown}\n</result>"
    settings = ModelSettings(max_output_tokens=extract.max_output_tokens)
    return Request(RequestHead("", extract.instructions, (), settings), [UserMessage(prompt, 1, 1)])
