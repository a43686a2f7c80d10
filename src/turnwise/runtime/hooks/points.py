"""The points that hooks can be at: what each carries, and which results it honours. Plugins declare more.

The table is the whole truth: what is not in it is refused when a hook is registered (rule H1), and a test walks it and sees each point fire
from the real path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ...core.errors import ConfigError, config_error
from . import values
from .results import RESULTS, Cancel, Continue, HookResult, Modify, Redirect, Replace, Retry

Take = Callable[[Any, Any], Any]
"""What a hook put in place of a value, and that value: the one to go on with. Raises `Unfit`."""


class Point(msgspec.Struct, frozen=True):
    """A named point. `carries` says what a hook is shown as `context.value`, `when` at what moment; `honours` are the results that it may give
    (`Continue` always). `take` checks what a `Modify` brings."""

    name: str
    carries: str
    when: str
    honours: tuple[type[HookResult], ...] = (Continue,)
    take: Take = values.same_type

    @property
    def method(self) -> str:
        """What a hook object calls its method for the point."""
        return re.sub(r"\W", "_", self.name)


def _point(name: str, carries: str, when: str, *honours: type[HookResult], take: Take = values.same_type) -> Point:
    return Point(name, carries, when, (Continue, *honours), take)


_ALL = [
    _point("session.started", "SessionFacts", "a session came to life in this process"),
    _point("session.ended", "SessionFacts", "it was closed"),
    _point(
        "turn.before",
        "str | tuple[UserBlock, ...] | None",
        "before an input is journalled; None if the turn has none",
        Modify,
        Cancel,
        take=values.a_prompt,
    ),
    _point("turn.after", "TurnResult", "the end of the turn is durable and told"),
    _point(
        "step.before",
        "StepRequest",
        "before each request to a model",
        Modify,
        Replace,
        Cancel,
        Retry,
        Redirect,
        take=values.a_step_request,
    ),
    _point(
        "step.after",
        "AssistantMessage",
        "a response is complete, and not journalled yet",
        Modify,
        Cancel,
        Retry,
        take=values.a_message,
    ),
    _point(
        "tool.before",
        "ToolRequest",
        "a call may run and is about to",
        Modify,
        Replace,
        Cancel,
        Redirect,
        take=values.a_tool_request,
    ),
    _point("tool.after", "ToolResult", "a call that ran has its result", Modify, Retry, take=values.a_tool_result),
    _point(
        "tool.error",
        "ToolResult",
        "a call that ran has failed, or run out of time; before tool.after",
        Modify,
        Replace,
        Retry,
        take=values.a_tool_result,
    ),
    _point("state.before", "StateWrite", "before scoped state is written", Modify, Cancel, take=values.a_state_write),
    _point("state.after", "StateWrite", "it is durable"),
    _point(
        "compaction.before",
        "CompactionRequest",
        "before a conversation is made shorter",
        Modify,
        Cancel,
        take=values.a_compaction,
    ),
    _point("compaction.after", "CompactReport", "it was made shorter, or was not"),
    _point(
        "approval.requested",
        "ApprovalRequest",
        "a call is about to wait for leave",
        Modify,
        Cancel,
        take=values.an_approval,
    ),
    _point("approval.answered", "ApprovalAnswer", "the answer is durable"),
    _point("error", "ErrorInfo", "a model call failed, or a turn ended with an error"),
]

POINTS: Mapping[str, Point] = MappingProxyType({point.name: point for point in _ALL})
"""The engine's own points, by name."""

_declared: dict[str, Point] = {}
_NAMED = re.compile(r"[a-z][a-z0-9_.-]*/[a-z][a-z0-9_.-]*")


def declare_point(
    name: str,
    *,
    honours: Iterable[type[HookResult]] = (),
    carries: type | tuple[type, ...] | None = None,
    when: str = "",
) -> Point:
    """Declare a point of one's own, for the whole process: `declare_point("my-plugin/thing", honours=[Modify, Cancel], carries=Thing)`. It is
    fired with `await runtime.fire(name, value)`.

    The name has a namespace, so that it cannot be taken for one of the engine's. `carries` is the type that a value must be of, also
    after a `Modify`. Saying the same again changes nothing. Raises `ConfigError` (`invalid_value`, `duplicate_point`).
    """
    if _NAMED.fullmatch(name) is None:
        raise config_error(
            "invalid_value", f"{name!r} is no name for a point.", "Use a namespace and a name: my-plugin/thing."
        )
    given = tuple(honours)
    if strange := [one for one in given if one not in RESULTS]:
        raise config_error("invalid_value", f"Point {name!r} cannot honour {strange[0]!r}: it is no result of a hook.")
    point = Point(
        name,
        " | ".join([one.__name__ for one in _types(carries)]) or "anything",
        when,
        (Continue, *[one for one in RESULTS if one in given and one is not Continue]),
        _OfType(_types(carries)),
    )
    known = _declared.setdefault(name, point)
    if known != point:
        raise config_error(
            "duplicate_point",
            f"The point {name!r} is declared twice, and not in the same way.",
            "Declare it once, where it is fired.",
        )
    return known


def point_of(name: str) -> Point:
    """The point of that name. Raises `ConfigError` (`unknown_point`) with the nearest name there is."""
    found = POINTS.get(name) or _declared.get(name)
    if found is None:
        raise unknown_point(name)
    return found


def points() -> list[Point]:
    """All points there are by now: the engine's, then those that were declared, by name."""
    return [*POINTS.values(), *[_declared[name] for name in sorted(_declared)]]


def unknown_point(name: str) -> ConfigError:
    known = [point.name for point in points()]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
    if "/" in name and not near:
        hint = "It is declared by the plugin that fires it: load that first."
    return config_error("unknown_point", f"There is no hook point {name!r}.", hint)


class _OfType(msgspec.Struct, frozen=True):
    """Takes values of these types; any, if there are none."""

    types: tuple[type, ...]

    def __call__(self, value: Any, old: Any) -> Any:
        if self.types and not isinstance(value, self.types):
            names = " or ".join([one.__name__ for one in self.types])
            raise values.Unfit(f"it gave a {type(value).__name__} where a {names} belongs")
        return value


def _types(carries: type | tuple[type, ...] | None) -> tuple[type, ...]:
    return () if carries is None else carries if isinstance(carries, tuple) else (carries,)
