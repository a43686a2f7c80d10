"""Errors: one persisted value, `ErrorInfo`, and one exception tree that carries it.

Every error says what happened, to which thing, and what to do now. `ErrorInfo` is data: it is journalled, sent to
watchers and rendered for three readers (`for_user`, `for_model`, `for_log`). `TurnwiseError` is how Python code meets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from .result import TurnResult

Branch = Literal["config", "provider", "tool", "hook", "state", "session", "budget"]
CommitPhase = Literal["before_output", "before_commit", "committed"]


class ErrorInfo(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What went wrong, as data.

    `code` is stable and documented (docs/errors.md); `message` is never empty; `hint` says what to do; `retry_after_s` is
    the provider's own wish; `commit_phase` tells how far the step had come: nothing shown (`before_output`), something
    shown but nothing journalled (`before_commit`), or journalled (`committed`). `detail` is the provider's error type.
    """

    branch: Branch
    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    retry_after_s: float | None = None
    commit_phase: CommitPhase = "before_output"
    status: int | None = None
    detail: str = ""
    provider: str = ""
    model: str = ""
    session: str = ""
    turn: int | None = None
    step: int | None = None

    def for_user(self) -> str:
        """What happened and what to do, for a person."""
        return f"{self.message} {self.hint}".strip()

    def for_model(self) -> str:
        """Short and factual, for the model; no hints meant for the operator."""
        return self.message

    def for_log(self) -> str:
        """One line with everything that identifies the failure."""
        parts = [f"{self.branch}.{self.code}"]
        for name in ("status", "detail", "provider", "model", "session", "turn", "step", "commit_phase"):
            value = getattr(self, name)
            if value not in (None, ""):
                parts.append(f"{name}={value}")
        return " ".join(parts) + f": {self.message}"


class TurnwiseError(Exception):
    """Base of everything Turnwise raises; `info` is the error as data.

    `result` is the true account of the turn that ended with this error, when `run` raises it.
    """

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info.for_user())
        self.info = info
        self.result: TurnResult | None = None

    @property
    def code(self) -> str:
        return self.info.code

    @property
    def message(self) -> str:
        return self.info.message

    @property
    def hint(self) -> str:
        return self.info.hint

    @property
    def status(self) -> int | None:
        return self.info.status

    @property
    def retryable(self) -> bool:
        return self.info.retryable


class ConfigError(TurnwiseError):
    """Something the caller set up is missing or wrong; raised before any I/O."""


class ProviderError(TurnwiseError):
    """A model provider refused, failed, or broke off."""


class ToolError(TurnwiseError):
    """Raised by a tool to tell the model what went wrong: `raise ToolError("no such city")`.

    `retryable=True` says that the same call may succeed if tried again.
    """

    def __init__(self, message: str | ErrorInfo, *, retryable: bool = False) -> None:
        if isinstance(message, str):
            message = ErrorInfo("tool", "tool_failed", message, retryable=retryable)
        super().__init__(message)


class HookError(TurnwiseError):
    """A hook failed or was used in a way its point does not allow."""


class StateError(TurnwiseError):
    """The journal could not be written or read as it must be."""


class SessionError(TurnwiseError):
    """A session cannot do what was asked in the state it is in."""


class SessionBusy(SessionError):
    """A turn is already running in this session. If another process runs it, `owner` is that process's id in the store, `until` when its
    lease runs out (Unix seconds) if it does not renew it, and `host` and `pid` say which process it is."""

    def __init__(
        self, info: ErrorInfo, *, owner: str = "", until: float | None = None, host: str = "", pid: int = 0
    ) -> None:
        super().__init__(info)
        self.owner = owner
        self.until = until
        self.host = host
        self.pid = pid


class SessionClosed(SessionError):
    """The session, or the runtime that owns it, was closed."""


class SessionForked(SessionError):
    """The session belongs to the process that called `fork()`."""


class BudgetError(TurnwiseError):
    """A limit would be passed."""


_CLASSES: dict[str, type[TurnwiseError]] = {
    "config": ConfigError,
    "provider": ProviderError,
    "tool": ToolError,
    "hook": HookError,
    "state": StateError,
    "session": SessionError,
    "budget": BudgetError,
}
_SESSION_CODES: dict[str, type[SessionError]] = {
    "session_busy": SessionBusy,
    "session_closed": SessionClosed,
    "session_forked": SessionForked,
}


def error_of(info: ErrorInfo) -> TurnwiseError:
    """The exception for an `ErrorInfo`, of the class its branch and code ask for."""
    return (_SESSION_CODES.get(info.code) or _CLASSES[info.branch])(info)


def config_error(code: str, message: str, hint: str = "") -> ConfigError:
    """Shorthand for the commonest raise."""
    return ConfigError(ErrorInfo("config", code, message, hint))


def state_error(
    code: str, message: str, hint: str, *, session: str = "", retryable: bool = False, detail: str = ""
) -> StateError:
    """The same for what stores and journals refuse."""
    return StateError(ErrorInfo("state", code, message, hint, session=session, retryable=retryable, detail=detail))


def illegal(what: str) -> StateError:
    """The error for an entry that cannot follow what came before."""
    return state_error(
        "illegal_entry",
        f"The journal cannot go on like this: {what}.",
        "This is a defect of the program that wrote the entry; the entries before it are intact.",
    )
