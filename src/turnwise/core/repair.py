"""Makes a history that comes from elsewhere fit to be sent: loaded, imported, edited, or handed in by the caller (rule T6).

`repair` is pure and idempotent and returns a valid history as the very same object. It runs once, when a history enters;
what the engine appends itself is checked entry by entry in core/state.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .content import AssistantBlock, Text, ToolCall
from .ids import call_id
from .messages import AssistantMessage, Message, ToolMessage, UserMessage
from .outcomes import Cancelled, ToolResult, result_of

LOST = Cancelled("its outcome is not in the history")


def repair(history: Sequence[Message]) -> Sequence[Message]:
    """The history with every call answered exactly once, in call order, right after the message that made it.

    Missing outcomes become `cancelled`; outcomes nobody asked for are dropped; ids that repeat are given anew (`t0.s{n}.c{i}`
    by position); a partial message keeps its text only; messages without content are dropped.
    """
    if _is_valid(history):
        return history
    out: list[Message] = []
    seen: set[str] = set()
    waiting = list(history)
    position = 0
    while position < len(waiting):
        message = waiting[position]
        position += 1
        if isinstance(message, UserMessage):
            if message.body:
                out.append(message)
        elif isinstance(message, AssistantMessage):
            results: list[ToolResult] = []
            while position < len(waiting) and isinstance(follow := waiting[position], ToolMessage):
                results += follow.results
                position += 1
            out += _answered(_keepable(message), results, seen, len(out))
    return out


def last_turn(history: Sequence[Message]) -> int:
    """The highest turn number that a history uses, in its bookkeeping or in the ids of its calls: new turns go on from there,
    so that no call id is ever given twice (rule T4)."""
    last = 0
    for message in history:
        if message.turn > last:
            last = message.turn
        if type(message) is AssistantMessage and type(message.body) is tuple:
            for call in message.tool_calls:
                number = call.id[1:].partition(".")[0]
                if call.id.startswith("t") and number.isdecimal() and int(number) > last:
                    last = int(number)
    return last


def _is_valid(history: Sequence[Message]) -> bool:
    """Whether nothing needs mending. Plain text, the common case, costs one look per message."""
    seen: set[str] = set()
    awaited: tuple[str, ...] = ()
    for message in history:
        if isinstance(message, ToolMessage):
            if not awaited or tuple([r.call_id for r in message.results]) != awaited:
                return False
            awaited = ()
            continue
        if awaited or not message.body:
            return False
        if type(message) is AssistantMessage and type(message.body) is tuple:
            if message.partial and _keepable(message) is not message:
                return False
            awaited = tuple([c.id for c in message.tool_calls])
            if len(set(awaited)) != len(awaited) or not seen.isdisjoint(awaited):
                return False
            seen.update(awaited)
    return not awaited


def _keepable(message: AssistantMessage) -> AssistantMessage:
    """A partial message keeps its text (rule T2); a whole one is kept as it is."""
    if not message.partial or isinstance(message.body, str):
        return message
    kept: tuple[AssistantBlock, ...] = tuple([b for b in message.body if type(b) is Text and b.text])
    return message if kept == message.body else msgspec.structs.replace(message, body=kept)


def _answered(message: AssistantMessage, results: list[ToolResult], seen: set[str], position: int) -> list[Message]:
    """The message, and one message with the outcomes of all its calls."""
    if not message.body:
        return []
    calls = message.tool_calls
    if not calls:
        return [message]
    left = list(results)
    answers: list[ToolResult] = []
    blocks: list[AssistantBlock] = []
    index = 0
    for block in message.content:
        if type(block) is not ToolCall:
            blocks.append(block)
            continue
        found = next((r for r in left if r.call_id == block.id), None)
        if found is not None:
            left.remove(found)
        fresh = _fresh(block.id, seen, position, index)
        index += 1
        blocks.append(block if fresh == block.id else msgspec.structs.replace(block, id=fresh))
        if found is None:
            answers.append(result_of(fresh, LOST))
        else:
            answers.append(found if found.call_id == fresh else msgspec.structs.replace(found, call_id=fresh))
    body = tuple(blocks)
    made = message if body == message.body else msgspec.structs.replace(message, body=body)
    return [made, ToolMessage(tuple(answers), message.turn, message.step, message.created_at)]


def _fresh(wanted: str, seen: set[str], position: int, index: int) -> str:
    name = wanted or call_id(0, position, index)
    while name in seen:
        name = call_id(0, position, index) if name == wanted else f"{name}x"
    seen.add(name)
    return name
