"""Tool calls put together from fragments (rules S6, T4).

The API numbers calls by `index` and names them by `id`, in the first fragment of a call only. Hosts leave out either,
repeat both, or give every call the same; what belongs together is decided here, by what all of them have in common:
a fragment with a name may begin a call, a fragment without one never does.
"""

from __future__ import annotations

import msgspec

from ...core.content import Native
from ...core.decoded import BlockSealed, DecoderEvent
from ...core.events import ToolCallDelta, ToolCallStarted
from .shapes import UNREADABLE, CallPart, Function


class _Call(msgspec.Struct):
    """A call in the making. `block` is -1 until its name is known: only then can watchers be told."""

    name: str = ""
    id: str | None = None
    block: int = -1
    arguments: list[str] = []
    """Its pieces so far, the very strings that events carry."""
    was_examined: bool = False
    native: Native | None = None


class Calls:
    """The calls of one response, in order of appearance: the first to be named is `{step}.c0`."""

    __slots__ = ("_attempt", "_by_id", "_by_index", "_calls", "_last", "_legacy", "_origin", "_started", "_step")

    def __init__(self, step: str, attempt: int, origin: str) -> None:
        self._step = step
        self._attempt = attempt
        self._origin = origin
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._legacy: _Call | None = None
        self._started = 0

    def take(self, part: CallPart, whole: bool, block: int, out: list[DecoderEvent]) -> int:
        """Add a fragment, or a call of a whole response; `block` is the last block in use, and so is what it returns."""
        function, custom = part.function, part.custom
        if function is not None and (function.name or function.arguments or custom is None):
            name, arguments = function.name, function.arguments
        else:
            name, arguments = (None, None) if custom is None else (custom.name, custom.input)
        call = None if whole else self._known(part, name, arguments)
        if call is None:
            call = self._new(part)
        self._last = call
        block = self._grow(call, part.id, name, arguments, block, out)
        if part.extra_content:
            data = msgspec.json.encode({"extra_content": part.extra_content}).decode()
            call.native = Native(self._origin, data)
            if call.block >= 0:
                out.append(BlockSealed(call.block, native=call.native))
        return block

    def extend(self, index: int, arguments: str, out: list[DecoderEvent]) -> bool:
        """Add arguments to the call of that index; False, and nothing done, if none has begun under it."""
        call = self._by_index.get(index)
        if call is None or call.block < 0:
            return False
        self._last = call
        if arguments:
            call.arguments.append(arguments)
            out.append(ToolCallDelta(arguments, call.block, self._attempt))
        return True

    def take_legacy(self, function: Function, block: int, out: list[DecoderEvent]) -> int:
        """Add to the one call of the API's first form, `function_call`: it has neither index nor id."""
        if not (function.name or function.arguments):
            return block
        if self._legacy is None:
            self._legacy = _Call()
            self._calls.append(self._legacy)
        return self._grow(self._legacy, None, function.name, function.arguments, block, out)

    def finish(self, block: int, out: list[DecoderEvent]) -> int:
        """Tell of the calls that never got a name, so that they are answered and not lost; those that say nothing at
        all are dropped. Returns the last block in use."""
        for call in self._calls:
            if call.block < 0 and (call.id or any(call.arguments)):
                block = self._start(call, block, out)
        return block

    def _known(self, part: CallPart, name: str | None, arguments: str | None) -> _Call | None:
        """The call that a fragment goes on with; None if it begins one."""
        if part.index is not None:
            call = self._by_index.get(part.index)
        elif part.id:
            call = self._by_id.get(part.id)
        else:
            call = None if name else self._last
        if call is None or (name and _begins_another(call, part.id, name, arguments)):
            return None
        return call

    def _new(self, part: CallPart) -> _Call:
        call = _Call()
        self._calls.append(call)
        if part.index is not None:
            self._by_index[part.index] = call
        if part.id:
            self._by_id[part.id] = call
        return call

    def _grow(
        self, call: _Call, id: str | None, name: str | None, arguments: str | None, block: int, out: list[DecoderEvent]
    ) -> int:
        if call.id is None:
            call.id = id
        if arguments:
            call.arguments.append(arguments)
        if call.block >= 0:
            if arguments:
                out.append(ToolCallDelta(arguments, call.block, self._attempt))
        elif name:
            call.name = name
            block = self._start(call, block, out)
        return block

    def _start(self, call: _Call, block: int, out: list[DecoderEvent]) -> int:
        call.block = block + 1
        out.append(ToolCallStarted(f"{self._step}.c{self._started}", call.name, call.block, self._attempt, call.id))
        self._started += 1
        if call.arguments:
            out.append(ToolCallDelta("".join(call.arguments), call.block, self._attempt))
        if call.native is not None:
            out.append(BlockSealed(call.block, native=call.native))
        return call.block


def _begins_another(call: _Call, id: str | None, name: str, arguments: str | None) -> bool:
    """Whether a fragment with a name, under the index or id of `call`, is a call of its own.

    So it is if name or id differ, or if the arguments of `call` are complete and these begin anew. The latter is looked
    at once per call: a host whose fragments repeat the name in mid-call has answered the question for good.
    """
    if id and call.id and id != call.id:
        return True
    if call.name and name != call.name:
        return True
    if not arguments or not arguments.lstrip().startswith("{") or call.was_examined:
        return False
    call.was_examined = True
    return _is_object("".join(call.arguments))


def _is_object(text: str) -> bool:
    try:
        return type(msgspec.json.decode(text)) is dict
    except UNREADABLE:
        return False
