"""Arguments written into a request, in the styles of OpenAPI (RFC 6570 as it has them). Pure.

What a model says stays within its place: a value in a path is one segment, never another path; one in a header has no line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple, cast
from urllib.parse import quote, unquote

import msgspec

from ..arguments import ArgumentsError
from .auth import ApiKey, headers_of
from .operations import BodyForm, Operation, Parameter

_RESERVED = ":/?#[]@!$&'()*+,;="
_SEPARATORS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "|"}


class Request(NamedTuple):
    """A request as it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def written(operation: Operation, arguments: Mapping[str, Any], own_headers: Mapping[str, str]) -> Request:
    """The request for these arguments. Raises `ArgumentsError` for what cannot be said in its place."""
    path, query, cookies = operation.path, list[str](), list[str]()
    headers = {"Accept": "application/json, text/*;q=0.9, */*;q=0.5", **own_headers}
    for parameter in operation.parameters:
        value = arguments.get(parameter.argument)
        if value is None and parameter.place != "path":
            continue
        if parameter.as_json:
            value = _json(value)
        match parameter.place:
            case "path":
                path = path.replace(f"{{{parameter.name}}}", _segment(parameter, value))
            case "query":
                query += _in_query(parameter, value)
            case "header":
                headers[parameter.name] = _in_header(parameter, value)
            case "cookie":
                cookies += _in_query(parameter, value)
    for key in operation.keys.fixed:
        headers |= headers_of(key)
        if type(key) is ApiKey and key.where == "query":
            query.append(f"{_quoted(key.name)}={_quoted(key.key)}")
        elif type(key) is ApiKey and key.where == "cookie":
            cookies.append(f"{key.name}={_quoted(key.key)}")
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    body = b""
    if operation.body is not None and "body" in arguments:
        headers["Content-Type"], body = _body(operation.body, arguments["body"])
    url = operation.base_url + path + (f"?{'&'.join(query)}" if query else "")
    return Request(operation.method.upper(), url, headers, body)


# --- places -------------------------------------------------------------------------------------------------------------


def _segment(parameter: Parameter, value: Any) -> str:
    """One segment of a path. Empty ones and dots would be another path, to us or to a server."""
    text = _path_text(parameter, value)
    if not text.strip(".") or any(step in (".", "..") for step in re.split(r"[/\\]", unquote(text))):
        raise ArgumentsError(f"{_plain(value)[:80]!r} cannot stand in a path - at `$.{parameter.argument}`")
    return text


def _path_text(parameter: Parameter, value: Any) -> str:
    name, explode = parameter.name, parameter.explode
    if parameter.style == "simple":
        return _joined(value, explode, ",", "=" if explode else ",")
    if parameter.style == "label":
        return "." + _joined(value, explode, "." if explode else ",", "=" if explode else ",")
    if explode and isinstance(value, list):
        return "".join([f";{_quoted(name)}={_quoted(_plain(v))}" for v in cast("list[Any]", value)])
    if explode and isinstance(value, dict):
        return "".join([f";{_quoted(k)}={_quoted(_plain(v))}" for k, v in cast("dict[str, Any]", value).items()])
    return f";{_quoted(name)}={_joined(value, False, ',', ',')}"


def _joined(value: Any, explode: bool, between: str, equals: str) -> str:
    if isinstance(value, list):
        return between.join([_quoted(_plain(v)) for v in cast("list[Any]", value)])
    if isinstance(value, dict):
        return between.join(
            [f"{_quoted(k)}{equals}{_quoted(_plain(v))}" for k, v in cast("dict[str, Any]", value).items()]
        )
    return _quoted(_plain(value))


def _in_query(parameter: Parameter, value: Any) -> list[str]:
    name, safe = _quoted(parameter.name), _RESERVED if parameter.reserved else ""

    def said(text: Any) -> str:
        return quote(_plain(text), safe=safe.replace("&", "").replace("=", "").replace("#", "").replace("+", ""))

    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if parameter.style == "deepObject":
            return [f"{key}={said(v)}" for key, v in _deep(parameter.name, fields)]
        if parameter.explode:
            return [f"{_quoted(k)}={said(v)}" for k, v in fields.items()]
        value = [part for pair in fields.items() for part in pair]
    if isinstance(value, list):
        values = [said(v) for v in cast("list[Any]", value)]
        if parameter.explode:
            return [f"{name}={v}" for v in values]
        return [f"{name}={_SEPARATORS.get(parameter.style, ',').join(values)}"] if values else []
    return [f"{name}={said(value)}"]


def _deep(name: str, fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in fields.items():
        inner = f"{name}[{key}]"
        if isinstance(value, dict):
            out += _deep(inner, cast("dict[str, Any]", value))
        else:
            values = cast("list[Any]", value) if isinstance(value, list) else [value]
            out += [(quote(inner, safe="[]"), v) for v in values]
    return out


def _in_header(parameter: Parameter, value: Any) -> str:
    if isinstance(value, list):
        text = ",".join([_plain(v) for v in cast("list[Any]", value)])
    elif isinstance(value, dict):
        equals = "=" if parameter.explode else ","
        text = ",".join([f"{k}{equals}{_plain(v)}" for k, v in cast("dict[str, Any]", value).items()])
    else:
        text = _plain(value)
    if not text.isprintable() or not text.isascii():
        raise ArgumentsError(f"{text[:80]!r} cannot stand in a header - at `$.{parameter.argument}`")
    return text


def _plain(value: Any) -> str:
    """A value as text: as it is, or as JSON has it."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="")


# --- bodies -------------------------------------------------------------------------------------------------------------


def _body(form: BodyForm, value: Any) -> tuple[str, bytes]:
    """The media type and the bytes."""
    if form.kind == "json":
        return form.media_type, msgspec.json.encode(value)
    if form.kind == "text":
        return form.media_type, _plain(value).encode()
    if not isinstance(value, dict):
        raise ArgumentsError(f"A form is an object with fields, not {type(value).__name__} - at `$.body`")
    fields = [
        (name, one)
        for name, given in cast("dict[str, Any]", value).items()
        for one in (cast("list[Any]", given) if isinstance(given, list) else [given])
        if one is not None
    ]
    if form.kind == "form":
        return form.media_type, "&".join([f"{_quoted(n)}={_quoted(_plain(v))}" for n, v in fields]).encode()
    return _multipart(fields)


def _multipart(fields: list[tuple[str, Any]]) -> tuple[str, bytes]:
    """The boundary is made from what is in it, so that the same arguments are the same bytes."""
    parts: list[bytes] = []
    for name, value in fields:
        said = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
        head = f'Content-Disposition: form-data; name="{said}"\r\n'
        if isinstance(value, dict):
            head += "Content-Type: application/json\r\n"
        parts.append(head.encode() + b"\r\n" + _plain(value).encode())
    whole = b"\0".join(parts)
    boundary = sha256(whole).hexdigest()[:32]
    while boundary.encode() in whole:
        boundary = sha256(boundary.encode()).hexdigest()[:32]
    lines = b"".join([b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts])
    return f"multipart/form-data; boundary={boundary}", lines + b"--" + boundary.encode() + b"--\r\n"
