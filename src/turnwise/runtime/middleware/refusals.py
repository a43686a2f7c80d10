"""What middleware is refused, and what is said of it when it fails: the errors of this room."""

from __future__ import annotations

from ...core.errors import ConfigError, ErrorInfo, HookError, SessionError, TurnwiseError, config_error


def _hook(code: str, message: str, hint: str, *, detail: str = "") -> HookError:
    return HookError(ErrorInfo("hook", code, message, hint, detail=detail))


def not_middleware(given: object, why: str) -> ConfigError:
    return config_error(
        "not_middleware",
        f"{_name(given)} is no middleware: {why}.",
        'Decorate an async function with @middleware("model") (or "turn", "tool", "embed"), or give an object with such a method.',
    )


def next_called_twice(name: str) -> HookError:
    """Rule H3: middleware wraps one attempt; who tries again is the machine."""
    return _hook(
        "next_called_twice",
        f"The middleware {name} called next a second time: it wraps one attempt and cannot retry.",
        "Retries, fallback and budgets are settings: Agent(retry=…, models=[…]), Limits(…).",
    )


def next_called_late(name: str) -> HookError:
    return _hook(
        "next_called_late",
        f"The middleware {name} called next after it had returned, or after what it wraps was over.",
        "Await next(request) within the middleware.",
    )


def failed(name: str, kind: str, error: Exception) -> HookError:
    return _hook(
        "middleware_failed",
        f"The {kind} middleware {name} failed: {type(error).__name__}: {error}",
        "Correct it. What it wraps was given up, and is not tried again because of this.",
        detail=type(error).__name__,
    )


def wrong_request(name: str, wanted: str, given: object) -> HookError:
    return _hook(
        "middleware_request",
        f"The middleware {name} called next with {_article(given)}, not with the {wanted} (or request.replace(…) of it).",
        "Pass on the request that it was given.",
    )


def unchangeable(what: str, why: str) -> HookError:
    return _hook("middleware_request", f"Middleware cannot change {what}: {why}.", "Pass on the request as it is.")


def wrong_result(name: str, wanted: str, given: object) -> HookError:
    return _hook(
        "middleware_result",
        f"The middleware {name} returned {_article(given)}, not a {wanted}.",
        "Return what next(request) returned, or an answer of the same kind.",
    )


def end_swallowed() -> HookError:
    return _hook(
        "end_swallowed",
        "A stage of a model middleware ended without passing on the end of the response.",
        "Yield the last event (ResponseEnded or ResponseFailed) as well: usage and reason are in it.",
    )


def bad_stage(given: object) -> HookError:
    return _hook(
        "middleware_result",
        f"A stage of a model middleware gave {_article(given)}, not the events of a response.",
        "Pass response.through an async generator function that yields the events it gets, or others of turnwise.middleware.",
    )


def too_slow(seconds: float, what: str = "A stage of a model middleware") -> HookError:
    return _hook(
        "middleware_timeout",
        f"{what} did not go on for {seconds:g} s.",
        "See what it waits for; Deadlines(idle_s=…) and Deadlines(grace_s=…) bound it.",
    )


def result_changed() -> HookError:
    return _hook(
        "middleware_result",
        "A turn middleware returned another result than the turn's: the account of a turn is true and stays so.",
        "Return what next(request) returned; raise to refuse a turn before it begins.",
    )


def not_continued() -> HookError:
    return _hook(
        "middleware_result",
        "A turn middleware returned without calling next: a turn cannot be answered in its place.",
        "Call next(request), or raise to refuse the turn.",
    )


CALLED_OFF = ErrorInfo(
    "session",
    "turn_called_off",
    "The turn was interrupted while a middleware held it back; nothing was journalled.",
    "Say it again to begin it anew.",
)


def called_off() -> SessionError:
    return SessionError(CALLED_OFF)


class Tripped(HookError):
    """A guardrail said no: what it guards is aborted. `cause` is what the turn that ends by it says; `ends_turn` is false where only a tool
    call is denied."""

    def __init__(self, name: str, reason: str, *, ends_turn: bool = True) -> None:
        super().__init__(
            ErrorInfo(
                "hook",
                "guardrail_tripped",
                f"The guardrail {name} said no: {reason}",
                "Nothing of what it stopped was kept. Say it another way, or look at the guardrail.",
                detail=name,
            )
        )
        self.name = name
        self.reason = reason
        self.ends_turn = ends_turn

    @property
    def cause(self) -> str:
        return f"guardrail:{self.name}"


def info_of(error: BaseException, kind: str = "model") -> ErrorInfo:
    """Any exception as the error that middleware ends with."""
    if isinstance(error, TurnwiseError):
        return error.info
    assert isinstance(error, Exception)
    return failed("(a stage)", kind, error).info


def _article(given: object) -> str:
    return "nothing" if given is None else f"a {type(given).__name__}"


def _name(given: object) -> str:
    return getattr(given, "__qualname__", None) or repr(given)
