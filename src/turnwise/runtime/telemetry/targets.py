"""What is said of a model that is asked, the same for all its calls: made once for each target, and kept while few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import conventions as c

if TYPE_CHECKING:
    from ..plan import Target

MOST_TARGETS = 512


class Asked:
    """Attributes of spans (`request`) and of metrics (`measured`, and for tokens by their kind) of calls of one model. Those of metrics are few:
    each costs with every measurement."""

    __slots__ = ("measured", "measured_input", "measured_output", "model", "provider", "request", "span_name", "target")

    def __init__(self, target: Target) -> None:
        handle, settings = target.handle, target.head.settings
        self.target = target
        self.provider = c.PROVIDERS.get(handle.provider, handle.provider)
        self.model = handle.model
        self.span_name = f"{c.CHAT} {handle.model}"
        self.measured: Mapping[str, Any] = {
            c.OPERATION: c.CHAT,
            c.PROVIDER: self.provider,
            c.REQUEST_MODEL: handle.model,
        }
        self.measured_input: Mapping[str, Any] = {**self.measured, c.TOKEN_TYPE: "input"}
        self.measured_output: Mapping[str, Any] = {**self.measured, c.TOKEN_TYPE: "output"}
        settled = {
            c.REQUEST_MAX_TOKENS: settings.max_output_tokens,
            c.REQUEST_TEMPERATURE: settings.temperature,
            c.REQUEST_TOP_P: settings.top_p,
            c.OUTPUT_TYPE: None if target.strategy is None else "json",
        }
        said = {name: value for name, value in settled.items() if value is not None}
        self.request: Mapping[str, Any] = {
            **self.measured,
            **_server(handle.base_url),
            **said,
            c.REQUEST_STREAM: target.head.stream,
        }


class Targets:
    """Those made so far."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, Asked] = {}

    def of(self, target: Target) -> Asked:
        found = self._made.get(id(target))
        if found is None or found.target is not target:
            if len(self._made) >= MOST_TARGETS:
                self._made.clear()
            found = self._made[id(target)] = Asked(target)
        return found


def _server(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        c.SERVER_ADDRESS: parts.hostname or "",
        c.SERVER_PORT: parts.port or (80 if parts.scheme == "http" else 443),
    }
