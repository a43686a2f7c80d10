"""What counts as middleware, and how several become one: a chain of closures for each kind, made once for each change of the list.

The first in the list is outermost. What lies innermost differs from call to call and is handed along (`terminal`). Rule H3 is kept here:
each layer gets a `next` that can be called once.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from ...core.errors import TurnwiseError
from ...core.outcomes import ToolResult
from ...core.result import TurnResult
from . import refusals
from .requests import EmbedRequest, EmbedResponse, ModelRequest, ToolRequest, TurnRequest
from .response import ModelResponse

Kind = Literal["turn", "model", "tool", "embed"]
KINDS: tuple[Kind, ...] = ("turn", "model", "tool", "embed")
MARK = "__turnwise_middleware__"

_Wraps = Mapping[Kind, tuple[type, type]]
_TYPES: _Wraps = {
    "turn": (TurnRequest, TurnResult),
    "model": (ModelRequest, ModelResponse),
    "tool": (ToolRequest, ToolResult),
    "embed": (EmbedRequest, EmbedResponse),
}

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
Terminal = Callable[[Any], Awaitable[Any]]
_Layer = Callable[[Any, Terminal], Awaitable[Any]]


def middleware(kind: Kind) -> Callable[[F], F]:
    """Say what an `async def mw(request, next)` wraps: `@middleware("model")`. The function stays what it is.

    Raises `ConfigError` (`not_middleware`) for another kind, and for what is no coroutine function.
    """
    if kind not in KINDS:
        raise refusals.not_middleware(kind, f"there is no such kind; the kinds are {', '.join(KINDS)}")

    def mark(function: F) -> F:
        if not inspect.iscoroutinefunction(function):
            raise refusals.not_middleware(function, "it is no async def function of (request, next)")
        setattr(function, MARK, kind)
        return function

    return mark


def kinds_of(given: Any) -> dict[Kind, Callable[..., Awaitable[Any]]]:
    """What a middleware wraps, and by which function. Raises `ConfigError` (`not_middleware`)."""
    if isinstance(given, type):
        raise refusals.not_middleware(given, "it is a class; pass an instance of it")
    kind: Kind | None = getattr(given, MARK, None)
    if kind is not None:
        return {kind: given}
    found: dict[Kind, Any] = {kind: method for kind in KINDS if callable(method := getattr(given, kind, None))}
    if not found:
        raise refusals.not_middleware(given, "it does not say what it wraps")
    for method in found.values():
        if not inspect.iscoroutinefunction(method):
            raise refusals.not_middleware(method, "it is no async def method of (request, next)")
    return found


class Next:
    """The rest of the way, for one layer of one call."""

    __slots__ = ("_called", "_layer", "_name", "_terminal", "_wants", "over")

    def __init__(self, name: str, wants: type, layer: _Layer, terminal: Terminal) -> None:
        self._name = name
        self._wants = wants
        self._layer = layer
        self._terminal = terminal
        self._called = False
        self.over = False

    def __call__(self, request: Any) -> Awaitable[Any]:
        if self.over:
            raise refusals.next_called_late(self._name)
        if self._called:
            raise refusals.next_called_twice(self._name)
        if type(request) is not self._wants:
            raise refusals.wrong_request(self._name, self._wants.__name__, request)
        self._called = True
        return self._layer(request, self._terminal)


class Chain:
    """All middleware of one kind: `await chain(request, terminal)`. `kept` is for what is made of its requests and worth keeping, by
    session; it goes with the chain. `guards`: one of them has to see what is said before anybody else does, or it is not said."""

    __slots__ = ("__weakref__", "_first", "guards", "kept", "kind", "names")

    def __init__(
        self, kind: Kind, functions: Sequence[tuple[str, Callable[..., Awaitable[Any]]]], guards: bool = False
    ) -> None:
        self.kind: Kind = kind
        self.guards = guards
        self.names = tuple([name for name, _ in functions])
        self.kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        layer: _Layer = _innermost
        for name, function in reversed(functions):
            layer = _layer(kind, name, function, layer)
        self._first = layer

    def __call__(self, request: Any, terminal: Terminal) -> Awaitable[Any]:
        return self._first(request, terminal)

    def __repr__(self) -> str:
        return f"<Chain {self.kind}: {' > '.join(self.names)}>"


def composed(given: Sequence[Any]) -> Mapping[str, Chain]:
    """The chains of these middleware, outermost first; a kind that nobody wraps has none."""
    by_kind: dict[Kind, list[tuple[str, Callable[..., Awaitable[Any]]]]] = {}
    guarded: set[Kind] = set()
    for one in given:
        for kind, function in kinds_of(one).items():
            by_kind.setdefault(kind, []).append((name_of(one), function))
            if getattr(one, "guards", False):
                guarded.add(kind)
    return {kind: Chain(kind, functions, kind in guarded) for kind, functions in by_kind.items()}


def name_of(given: Any) -> str:
    """What a middleware is called in errors and lists."""
    name = getattr(given, "name", None)
    return name if isinstance(name, str) and name else getattr(given, "__name__", type(given).__name__)


def _innermost(request: Any, terminal: Terminal) -> Awaitable[Any]:
    return terminal(request)


def _layer(kind: Kind, name: str, function: Callable[..., Awaitable[Any]], then: _Layer) -> _Layer:
    wants, gives = _TYPES[kind]

    async def layer(request: Any, terminal: Terminal) -> Any:
        onward = Next(name, wants, then, terminal)
        try:
            result = await function(request, onward)
        except TurnwiseError:
            raise
        except Exception as error:
            raise refusals.failed(name, kind, error) from error
        finally:
            onward.over = True
        if not isinstance(result, gives):
            raise refusals.wrong_result(name, gives.__name__, result)
        return result

    return layer
