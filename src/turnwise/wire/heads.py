"""The end of every request head: typed extras picked, the caller's patch merged, the body written around its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from ..core.content import ProviderFile
from ..core.errors import ConfigError, config_error
from ..core.request import Extra, ModelSettings, ToolSpec
from .base import EncodedHead
from .history import is_blank

E = TypeVar("E", bound=Extra)

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


def extra_of(settings: ModelSettings, kind: type[E]) -> E | None:
    """The settings of that kind among the typed extras; None if there are none."""
    extra = settings.extra
    for one in extra if isinstance(extra, tuple) else (extra,):
        if type(one) is kind:
            return one
    return None


def fields_of(extra: Extra | None, *but: str) -> dict[str, Any]:
    """The fields of an extra that were set, by name, for those that go into the body as they are."""
    if extra is None:
        return {}
    return given(**{name: getattr(extra, name) for name in extra.__struct_fields__ if name not in but})


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are set, for those that go into the body as they are."""
    return {name: value for name, value in fields.items() if value is not None}


def described(tool: ToolSpec, schema: str) -> dict[str, Any]:
    """A tool's name, its description if it has one, and its parameters in the field `schema`."""
    said = {"name": tool.name} if is_blank(tool.description) else {"name": tool.name, "description": tool.description}
    return said | {schema: msgspec.Raw(tool.parameters.encode())}


def function_tool(tool: ToolSpec) -> dict[str, Any]:
    """A tool as Chat Completions and APIs modelled on it want it."""
    return {"type": "function", "function": described(tool, "parameters")}


def patches(settings: ModelSettings, name: str) -> bool:
    """Whether the caller's patch sets the body field `name`."""
    return (settings.patch or {}).get("body", {}).get(name) is not None


def write_head(
    path: str,
    body: dict[str, Any],
    settings: ModelSettings,
    array: str,
    *,
    headers: Mapping[str, str] = JSON_HEADERS,
    first: object = None,
    breakpoints: int = 0,
    mark: bytes = b"",
) -> EncodedHead:
    """The head of a request whose messages are the array field `array` of its body; `first` is an element of that array which
    comes before the messages.

    The caller's patch is merged last. Raises `ConfigError` (`invalid_setting`) if it touches the messages, or if something
    cannot be written as JSON or as a header.
    """
    patch = settings.patch or {}
    if array in patch.get("body", {}):
        raise config_error("invalid_setting", f"A patch may not hold `{array}`: the messages come from the session.")
    if "body" in patch:
        body = _merged(body, patch["body"])
    if "headers" in patch:
        headers = {**headers, **_header_lines(patch["headers"])}
    before = written(body)[:-1] + (b"," if body else b"") + b'"' + array.encode() + b'":['
    if first is not None:
        before += written(first) + b","
    return EncodedHead(path, headers, before, b"]}", breakpoints, mark)


def written(value: object) -> bytes:
    """JSON. Raises `ConfigError` (`invalid_setting`) for what cannot be written."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise config_error("invalid_setting", f"The request cannot be written as JSON: {error}.") from None


def unsupported(provider: str, feature: str, hint: str = "Leave it out for this provider.") -> ConfigError:
    """The error for what a provider has no place for."""
    return config_error("unsupported_feature", f"{provider} does not take {feature}.", hint)


def no_tool_to_call(provider: str) -> ConfigError:
    """The error for a tool choice that asks for a call where there is nothing to call."""
    message = f"{provider} cannot be made to call a tool: the request has none."
    return config_error("conflicting_settings", message)


def foreign_file(provider: str, file: ProviderFile, what: str = "file") -> ConfigError:
    """The error for a file that was uploaded elsewhere."""
    hint = "Upload it here too, or send its bytes."
    return unsupported(provider, f"the {what} {file.id!r} of {file.origin!r}", hint)


def refused_type(provider: str, media_type: str, what: str, taken: str) -> ConfigError:
    """The error for bytes of a kind that a provider does not take; `what` they were sent as comes with its article."""
    return unsupported(provider, f"{media_type!r} as {what}", f"It takes {taken}.")


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch, RFC 7396."""
    out = dict(target)
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, Mapping):
            inner = out.get(name)
            base: Mapping[str, Any] = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else {}
            out[name] = _merged(base, cast("Mapping[str, Any]", value))
        else:
            out[name] = value
    return out


def _header_lines(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not (name.isascii() and name.isprintable() and value.isprintable()) or " " in name or ":" in name:
            raise config_error("invalid_setting", f"The patched header {name!r} cannot be sent as it is.")
    return {name.lower(): value for name, value in headers.items()}
