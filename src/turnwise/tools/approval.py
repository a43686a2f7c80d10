"""What a policy says of a call that a model asks for: `Allow`, `Ask` somebody, or `Deny`. Each may name the `rule` by which it says so: the
verdict is journalled with it (docs/audit.md). When a policy is asked, and what then happens, is in `runtime`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ..core.errors import config_error
from .context import ToolContext
from .tool import Tool


class Allow(msgspec.Struct, frozen=True, gc=False):
    """The call runs."""

    rule: str = ""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """The call waits until somebody allows or denies it. `reason` is told to them; without an answer within `expires_in_s` seconds
    (None: for ever) it is denied."""

    reason: str = ""
    expires_in_s: float | None = None
    rule: str = ""

    def __post_init__(self) -> None:
        if self.expires_in_s is not None and not self.expires_in_s > 0:
            raise config_error(
                "invalid_value",
                f"Ask(expires_in_s={self.expires_in_s}) is over at once.",
                "Use a number above 0, or None.",
            )


class Deny(msgspec.Struct, frozen=True, gc=False):
    """The call does not run; `reason` is told to the model."""

    reason: str = ""
    rule: str = ""


Verdict = Allow | Ask | Deny


class ProposedCall(msgspec.Struct, frozen=True, eq=False):
    """A call that the model asks for and that could run: the tool is known, its arguments fit.

    `arguments` are decoded (what the tool's function gets), `raw_arguments` the JSON text they were decoded from; `context` is
    what the tool would be given: whose call it is, in which session, and the caller's own object.
    """

    call_id: str
    tool: Tool[..., Any]
    arguments: Any
    raw_arguments: str
    context: ToolContext[Any]

    @property
    def name(self) -> str:
        return self.tool.name


ApprovalPolicy = Callable[[ProposedCall], Verdict | Awaitable[Verdict]]
"""Says what becomes of a call. A plain function is called on the event loop and must not block."""
