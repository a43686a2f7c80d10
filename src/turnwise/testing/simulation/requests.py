"""What must hold of every request that is sent, and of what comes of its answer: T5, T7, T8, usage, no answer made up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.content import ToolCall
from ...core.entries import AttemptFailed, Entry, StepCommitted
from ...core.protocols import Chunk
from ...wire.serve import SERVED_APIS
from ..validators import check
from .journals import Violation
from .plan import CallPlan

if TYPE_CHECKING:
    from .world import World

VALIDATE_EVERY = 8
_REMINDER = b"<reminder>"
_THINKERS = SERVED_APIS
_KIN = {"gemini.generateContent": ("vertex.generateContent",), "vertex.generateContent": ("gemini.generateContent",)}
"""APIs of one family, which read each other's signatures."""
_MARKED_TEXT = re.compile(
    rb'\[\{"type":"text","text":("(?:[^"\\\\]|\\\\.)*"),"cache_control":\{"type":"ephemeral"\}\}\]'
)
"""A text that was made a block so that it could bear a mark."""
_MARKS = (b',"cache_control":{"type":"ephemeral"}', b',{"cachePoint":{"type":"default"}}')


class Before(msgspec.Struct):
    """The last request of a session: to which API, with which messages, and at which point of its journal; `lags` if it may be of the one before."""

    api: str
    epoch: tuple[int, int]
    messages: bytes
    lags: bool


class Requests:
    """Checks requests as they are sent. Every eighth one is held against its API's validator."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0
        self._before: dict[str, Before] = {}

    def check(self, name: str, api: str, path: str, body: Sequence[Chunk], whole: bytes) -> None:
        self._count += 1
        person = self._world.person(name)
        journal = None if person is None or person.session_id is None else self._world.journals.get(person.session_id)
        if journal is not None and journal.calls:
            raise Violation("T1", f"{name}: a request is sent while {list(journal.calls)} are open")
        for other in _THINKERS:
            if other != api and other not in _KIN.get(api, ()) and b"[%s] " % other.encode() in whole:
                raise Violation("T5", f"{name}: reasoning of {other} is sent to {api}")
        if journal is not None and person is not None:
            asking = person.session_here()
            extended = self._world.extended.get(name)
            if extended is not None and asking is not None:
                extended.asks(asking.state)
            epoch = journal.epoch, -1 if asking is None else asking.state.base
            self._prefix(name, api, body, epoch, extended is not None)
        if self._count % VALIDATE_EVERY == 0:
            problems = check(api, msgspec.json.decode(whole), path=path)
            if problems:
                raise Violation("T8", f"{name}: {api} would refuse the request: {problems[0]}")

    def _prefix(self, name: str, api: str, body: Sequence[Chunk], epoch: tuple[int, int], may_lag: bool) -> None:
        """The encoded messages begin with those of the request before, until something takes back or hides what was said (T7). `may_lag`: hooks
        may hold a request back that was made before that."""
        messages = b"".join(body[1:-1])
        for mark in _MARKS:
            if mark in messages:
                messages = _MARKED_TEXT.sub(rb"\1", messages).replace(mark, b"")
        before = self._before.get(name)
        if _REMINDER in messages:
            return  # said at the end of this one request, and no part of what is kept
        changed = before is None or before.epoch != epoch
        self._before[name] = Before(api, epoch, messages, changed and may_lag)
        if before is None or before.api != api or changed or before.lags:
            return
        if not messages.startswith(before.messages):
            at = next(n for n, (a, b) in enumerate(zip(before.messages, messages + b" ", strict=False)) if a != b)
            what = f"{before.messages[max(0, at - 90) : at + 60]!r} has become {messages[max(0, at - 90) : at + 60]!r}"
            raise Violation("T7", f"{name}: a request to {api} does not begin as the one before: {what}")

    def forget(self, name: str) -> None:
        """What the last request showed may not have become durable: the next one may begin otherwise."""
        self._before.pop(name, None)

    def committed(self, session: str, entries: Sequence[Entry]) -> None:
        """Steps that were committed are what the provider said."""
        for entry in entries:
            if type(entry) is StepCommitted:
                self._answered(session, entry)
            elif type(entry) is AttemptFailed and (extended := self._world.extended_of(session)) is not None:
                extended.refused.pop(
                    (session, entry.turn, entry.step), None
                )  # what was refused is gone; the next answer is another

    def _answered(self, session: str, entry: StepCommitted) -> None:
        world = self._world
        name = world.names.get(session, session)
        said = world.provider.last.get(name)
        extended = world.extended_of(session)
        if extended is not None and extended.gave(session, entry.message, said):
            return
        if said is None:
            raise Violation("S3", f"{name}: an answer that nobody gave")
        message, answer = entry.message, said.answer
        if answer.fault not in ("garbage", "error_event") and message.text != answer.text:
            raise Violation(
                "S5", f"{name}: the provider said {answer.text[:80]!r}, the journal has {message.text[:80]!r}"
            )
        if answer.fault != "garbage" and not _same_calls(message.tool_calls, answer.calls):
            raise Violation(
                "S6", f"{name}: the provider asked for {answer.calls}, {message.id} for {message.tool_calls}"
            )
        usage = message.usage
        if said.usage is not None and usage is not None and usage.provenance == "reported":
            reported = said.usage.input_tokens, said.usage.output_tokens
            if reported != (usage.input_tokens, usage.output_tokens):
                raise Violation("E10", f"{name}: usage {usage} of {message.id}, and the provider said {said.usage}")


def _same_calls(found: Sequence[ToolCall], asked: Sequence[CallPlan]) -> bool:
    """By name and arguments; APIs that carry arguments as an object write them in their own way."""
    if len(found) != len(asked):
        return False
    for one, other in zip(found, asked, strict=True):
        if one.name != other.tool:
            return False
        if one.arguments != other.arguments and _value(other.arguments) not in (None, _value(one.arguments)):
            return False
    return True


def _value(arguments: str) -> Any:
    if not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return None
