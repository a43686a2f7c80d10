"""Tools without code: the model is told their name and parameters, and whoever runs the session answers their calls.

How a turn waits for an answer without a task, and how it comes in, is in `runtime`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from ..core.errors import ToolError
from .cap import DEFAULT_RESULT_CHARS
from .options import AboutOptions, Kind
from .plain import PlainArguments
from .results import Body
from .schema import ObjectArguments
from .tool import Tool


def external_tool(
    name: str,
    description: str,
    parameters: Mapping[str, Any] | type,
    *,
    kind: Kind = "external",
    answer: Callable[[Any, Any], Body] | None = None,
    expires_in_s: float | None = None,
    max_result_chars: int | None = DEFAULT_RESULT_CHARS,
    **about: Unpack[AboutOptions],
) -> Tool[..., Any]:
    """See `Tool.external`. `answer` turns decoded arguments and what was handed in into what the model is told."""
    if isinstance(parameters, Mapping):
        arguments, schema = PlainArguments(name, parameters, None), parameters
    else:
        arguments = ObjectArguments(name, parameters)
        schema = arguments.schema

    def nobody(**_: Any) -> Any:
        raise ToolError(f"{name} has no code: its calls are answered by whoever runs the session.")

    return Tool(
        nobody,
        arguments,
        lambda _, __: nobody(),
        schema,
        name=name,
        description=description,
        timeout_s=None,
        max_result_chars=max_result_chars,
        kind=kind,
        answer=answer,
        expires_in_s=expires_in_s,
        **about,
    )
