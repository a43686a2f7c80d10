"""A hook: how it is written (`@hook`, or an object with methods), and what is known of one that is registered.

What is said at registration is checked there: the point, the results that it may give, its bounds. How hooks run is in `chain`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import types
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints, runtime_checkable

import msgspec

from ...core.errors import ErrorInfo, config_error
from .breaker import Breaker, BreakerState
from .context import HookContext
from .points import Point, point_of, points
from .results import RESULTS, Continue, HookResult

Fail = Literal["open", "closed"]
"""What a hook that failed means: go on without it, or do not go on."""
HookFunction = Callable[[HookContext], HookResult | Awaitable[HookResult | None] | None]
F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 2.0
"""How long a hook may take, unless it says otherwise."""
RING = 256
"""How many of the last durations are kept of each."""

_order = itertools.count()


class HookSpec(msgspec.Struct, frozen=True):
    """What a decorator said."""

    point: str
    priority: int = 0
    fail: Fail = "open"
    timeout_s: float = TIMEOUT_S
    blocking: bool = False
    id: str = ""
    returns: tuple[type[HookResult], ...] | None = None


@runtime_checkable
class _Decorated(Protocol):
    turnwise_hooks: tuple[HookSpec, ...]


def hook(
    point: str,
    *,
    priority: int = 0,
    fail: Fail = "open",
    timeout_s: float = TIMEOUT_S,
    blocking: bool = False,
    id: str = "",
    returns: Iterable[type[HookResult]] | None = None,
) -> Callable[[F], F]:
    """Have a function called at a point, once it is registered: `Agent(hooks=[f])`, `Runtime(hooks=[f])`, `session.add_hook(f)`.

    Args:
        point: Where: a name of `POINTS`, or one that a plugin declares.
        priority: Higher ones are called first; those of the same, in the order of registration.
        fail: What an error of the hook, a timeout or a result that cannot be honoured means: `open`, go on as if it was not there; `closed`,
            do not go on, as if it had said `Cancel`.
        timeout_s: How long it may take. One that does not await and is not `blocking` holds up the event loop, and cannot be cut off.
        blocking: A plain function that waits for something: it is run in a thread.
        id: For lists and messages (default: its name).
        returns: The results that it may give, if no annotation says so. What the point does not honour is refused.

    The function takes a `HookContext` and returns a result, or None to go on; it can still be called, and may be decorated for several points.
    Raises `ConfigError`: `unknown_point`, `unhonoured_result`, `bad_hook`.
    """
    spec = HookSpec(point, priority, fail, timeout_s, blocking, id, None if returns is None else tuple(returns))

    def decorate(function: F) -> F:
        known = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
        check(spec, function, label_of(function, spec), known)
        inner = getattr(function, "turnwise_call", function)
        made: Any = _same(inner)
        made.turnwise_call = inner
        made.turnwise_hooks = (spec, *getattr(function, "turnwise_hooks", ()))
        return made

    return decorate


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does the same. What is decorated may be used elsewhere, and is left as it is."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waits(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return waits

    @functools.wraps(function)
    def calls(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return calls


class HookStatus(msgspec.Struct, frozen=True):
    """How a registered hook stands: whose it is (`runtime`, `agent:NAME`, `session:ID`), and what has come of it. `skipped` were not made while
    the breaker was open; times are those of the last calls, waiting included."""

    id: str
    point: str
    owner: str
    priority: int
    fail: Fail
    calls: int
    errors: int
    timeouts: int
    skipped: int
    modified: int
    halted: int
    last_error: ErrorInfo | None
    p50_s: float
    p95_s: float
    breaker: BreakerState


class Hook:
    """A hook at one point, registered. `call` gives its result, or something to be awaited for it. `live` until it is unregistered."""

    __slots__ = (
        "breaker",
        "call",
        "calls",
        "errors",
        "halted",
        "id",
        "last_error",
        "live",
        "modified",
        "order",
        "point",
        "ring",
        "skipped",
        "spec",
        "timeouts",
        "waits",
    )

    def __init__(self, id: str, point: Point, spec: HookSpec, call: HookFunction) -> None:
        self.id = id
        self.point = point
        self.spec = spec
        self.call = call
        self.order = next(_order)
        self.waits = spec.blocking or _is_async(call)
        """Whether calling it gives something to wait for, as far as one can tell."""
        self.live = True
        self.calls = self.errors = self.timeouts = self.skipped = self.modified = self.halted = 0
        self.last_error: ErrorInfo | None = None
        self.ring = [0.0] * RING
        self.breaker = Breaker()

    def __repr__(self) -> str:
        return f"<Hook {self.id} at {self.point.name}>"

    def took(self, seconds: float) -> None:
        """A call has ended, well or not."""
        self.calls += 1
        self.ring[self.calls % RING] = seconds

    def status(self, owner: str) -> HookStatus:
        times = sorted(self.ring) if self.calls >= RING else sorted(self.ring[1 : self.calls + 1])
        spec = self.spec
        return HookStatus(
            self.id,
            self.point.name,
            owner,
            spec.priority,
            spec.fail,
            self.calls,
            self.errors,
            self.timeouts,
            self.skipped,
            self.modified,
            self.halted,
            self.last_error,
            _share(times, 0.5),
            _share(times, 0.95),
            self.breaker.state,
        )


def _share(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


# --- from what was written to what is registered -----------------------------------------------------------------------


def hooks_of(given: object) -> list[Hook]:
    """The hooks that a decorated function, or an object with methods for points, is. Raises `ConfigError`."""
    if isinstance(given, _Decorated) and callable(given):
        function = getattr(given, "turnwise_call", given)
        return [_made(function, spec, "", {}) for spec in given.turnwise_hooks]
    if inspect.isroutine(given) or isinstance(given, type):
        raise config_error(
            "bad_hook", f"{_name(given)} is no hook.", "Decorate it: @hook('tool.before'), or give an object."
        )
    made = list(_of_object(given))
    if not made:
        raise config_error(
            "bad_hook",
            f"{type(given).__name__} has no method for any hook point.",
            "Name methods after points, such as tool_before(self, context), or decorate them with @hook(…).",
        )
    return made


def _of_object(given: object) -> Iterator[Hook]:
    """A hook for each method that is named after a point or decorated for one."""
    own = str(getattr(given, "id", "") or type(given).__name__)
    by_method = {point.method: point.name for point in points()}
    options = {
        name: getattr(given, name) for name in ("priority", "fail", "timeout_s", "blocking") if hasattr(given, name)
    }
    for name in dir(type(given)):
        if name.startswith("_") or not callable(method := getattr(given, name, None)):
            continue
        if isinstance(method, _Decorated):
            for spec in method.turnwise_hooks:
                yield _made(method, spec, spec.id or own, {})
        elif name in by_method:
            yield _made(method, HookSpec(by_method[name], **options), own, {})
        else:
            _refuse_if_meant(name, by_method, own)


def _refuse_if_meant(name: str, by_method: Mapping[str, str], own: str) -> None:
    """A method whose name is nearly that of a point would never be called."""
    import difflib

    near = difflib.get_close_matches(name, by_method, 1, 0.85)
    if near:
        raise config_error(
            "unknown_point",
            f"{own}.{name} is named after no hook point.",
            f"Did you mean {near[0]} ({by_method[near[0]]})?",
        )


def _made(call: Any, spec: HookSpec, own: str, known: Mapping[str, Any]) -> Hook:
    label = own or label_of(call, spec)
    point_of(spec.point)
    check(spec, call, label, known)
    return Hook(label, point_of(spec.point), spec, call)


def label_of(function: object, spec: HookSpec) -> str:
    return spec.id or _name(function)


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__


# --- checks ------------------------------------------------------------------------------------------------------------


def check(spec: HookSpec, function: Callable[..., Any], label: str, known: Mapping[str, Any]) -> None:
    """Refuse what could never work. A point of a plugin is looked up when the hook is registered. Raises `ConfigError`."""
    if spec.fail not in ("open", "closed"):
        raise _bad(label, f"has fail={spec.fail!r}", "It is 'open' or 'closed'.")
    if not 0 < spec.timeout_s < float("inf"):
        raise _bad(label, f"has timeout_s={spec.timeout_s}", "Use a number of seconds above 0.")
    if spec.blocking and _is_async(function):
        raise _bad(label, "is asynchronous and blocking at once", "Leave out blocking=True, or write it with `def`.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _bad(label, "is a generator", "Return the result instead of yielding it.")
    _check_parameters(function, label)
    if "/" in spec.point and spec.point not in {point.name for point in points()}:
        return
    point = point_of(spec.point)
    for given in spec.returns if spec.returns is not None else _annotated(function, label, known):
        if given not in RESULTS:
            raise _bad(label, f"returns {getattr(given, '__name__', given)!s}, which is no result of a hook", _SAYS)
        if given not in point.honours:
            said = ", ".join([one.__name__ for one in point.honours])
            raise config_error(
                "unhonoured_result",
                f"Hook {label} may return {given.__name__}, which {point.name} cannot honour.",
                f"There it may return {said}." if len(point.honours) > 1 else "That point can only be watched.",
            )


_SAYS = "Return Continue, Modify, Replace, Cancel, Retry, Redirect, or None."


def _bad(label: str, what: str, hint: str) -> Exception:
    return config_error("bad_hook", f"Hook {label} {what}.", hint)


def _check_parameters(function: Callable[..., Any], label: str) -> None:
    """It is called with the context alone. A method that is decorated in its class has its `self` still."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    names = list(signature.parameters)
    bound = names[:1] == ["self"] and not inspect.ismethod(function)
    try:
        signature.bind(*([None] * (1 + bound)))
    except TypeError:
        raise _bad(
            label, f"cannot be called with a HookContext alone: it takes {signature}", "Take one parameter."
        ) from None


def _annotated(function: Callable[..., Any], label: str, known: Mapping[str, Any]) -> list[Any]:
    """The results that its annotation speaks of; none if there is no annotation, or one that cannot be read."""
    plain: Callable[..., Any] = inspect.unwrap(function)
    if not inspect.isroutine(plain):
        plain = plain.__call__  # an object that can be called: what its class says of that
    said = getattr(plain, "__annotations__", {}).get("return")
    if said is None:
        return []
    try:
        hint = get_type_hints(plain, localns={**_RESULT_NAMES, **known}).get("return")
    except Exception:  # a name that only type checkers know: what it gives is looked at when it is called
        hint = _in_words(said) if isinstance(said, str) else None
    said_so = [one for one in _members(hint) if one not in (Any, object, type(None), None)]
    return [] if set(said_so) == set(RESULTS) else said_so  # `HookResult` says nothing in particular


_RESULT_NAMES = {one.__name__: one for one in RESULTS}


def _in_words(said: str) -> Any:
    """The results that an annotation names which cannot be evaluated."""
    import re

    names = [name for name in re.findall(r"\w+", said) if name in _RESULT_NAMES]
    return Union[tuple([_RESULT_NAMES[name] for name in names])] if names else None  # noqa: UP007


def _members(hint: Any) -> Iterator[Any]:
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        for one in get_args(hint):
            yield from _members(one)
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Awaitable):
        yield from _members(get_args(hint)[-1] if get_args(hint) else None)
    elif not isinstance(hint, TypeVar):
        yield hint


def _is_async(function: Any) -> bool:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def continues(said: object) -> bool:
    """Whether a hook has nothing to say."""
    return said is None or type(said) is Continue
