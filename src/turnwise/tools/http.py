"""HTTP for tools: one request with a whole answer, over the connections of the runtime. Used by tools that speak to services.

How long it may take is the tool's `timeout_s`, which cancels it; its connection is closed then. Redirects are not followed, so that keys go
nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ..core.errors import ErrorInfo, ToolError
from .context import ToolContext

CONNECT_S = 10.0
MAX_ANSWER_BYTES = 1_000_000


class HttpAnswer(NamedTuple):
    """An answer, whatever its status. `truncated`: it was longer than was asked for, and the rest was not read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool

    def header(self, name: str) -> str:
        """A header by its name in lower case; "" if there is none."""
        return next((value for key, value in self.headers.items() if key.lower() == name), "")


async def fetch(
    context: ToolContext[Any],
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    limit_bytes: int = MAX_ANSWER_BYTES,
) -> HttpAnswer:
    """Send a request and read the answer, at most `limit_bytes` of its body. Raises `ToolError`: `no_runtime`, or what went wrong on the
    way, with the codes of providers' connections."""
    if context.host is None or context.host.transport is None:
        raise ToolError(ErrorInfo("tool", "no_runtime", "This ToolContext has no runtime: no request can be sent."))
    transport, response = context.host.transport(), None
    try:
        response = await transport.open(method, url, headers, (body,) if body else (), CONNECT_S)
        await response.head()
        parts: list[bytes] = []
        size = 0
        while size <= limit_bytes and (data := await response.read()):
            parts.append(data)
            size += len(data)
        return HttpAnswer(response.status, response.headers, b"".join(parts)[:limit_bytes], size > limit_bytes)
    except Exception as error:
        raise ToolError(msgspec.structs.replace(transport.explain(error, url), branch="tool")) from error
    finally:
        if response is not None:
            response.close()
