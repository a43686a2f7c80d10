"""An OpenAPI document: read from whatever it was given as, and its references followed. Only references within it count.

A document is data that somebody else wrote: whatever is wrong with it is a `Problem` that says where, and becomes a `ConfigError` that
names all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from ...core.errors import ConfigError, config_error
from ..yaml_text import from_yaml

Spec = Mapping[str, Any] | str | bytes | os.PathLike[str]
"""A document: as data, as JSON or YAML text, or the path of a file with one."""
Node = dict[str, Any]


class Problem(Exception):
    """What is wrong with a part of a document, in words."""


def bad_openapi(problems: list[str]) -> ConfigError:
    """The error for a document that cannot be used, with everything that is wrong."""
    return config_error(
        "bad_openapi",
        "The OpenAPI document cannot be used as it was asked for:\n" + "\n".join([f"- {one}" for one in problems]),
    )


class Document:
    """The whole document, in which references are looked up."""

    __slots__ = ("root", "version")

    def __init__(self, spec: Spec) -> None:
        """Raises `ConfigError` (`bad_openapi`, `missing_extra`)."""
        root = _read(spec)
        if not isinstance(root, Mapping):
            raise bad_openapi([f"it is {type(root).__name__}, not an object"])
        self.root = cast("Node", root)
        self.version = str(self.root.get("openapi", ""))
        if not self.version.startswith(("3.0", "3.1")):
            said = f"its version is {self.version!r}" if self.version else "it does not say openapi: 3.x"
            if "swagger" in self.root:
                said = "it is of Swagger 2.0; convert it first"
            raise bad_openapi([said])

    def found(self, pointer: str) -> Any:
        """What a reference (`#/components/schemas/Pet`) points to. Raises `Problem`."""
        if not pointer.startswith("#"):
            raise Problem(
                f"$ref {pointer!r} leads out of the document, which is not followed: bundle it into one first"
            )
        at: Any = self.root
        for step in [_unescaped(s) for s in pointer[1:].split("/")[1:]]:
            if isinstance(at, Mapping) and step in at:
                at = cast("Node", at)[step]
            elif isinstance(at, list) and step.isdecimal() and int(step) < len(cast("list[Any]", at)):
                at = cast("list[Any]", at)[int(step)]
            else:
                raise Problem(f"$ref {pointer!r} leads nowhere")
        return at

    def resolved(self, node: Any) -> tuple[Any, str]:
        """A node that is no reference, and by which reference it was come by last ("": none). Raises `Problem`, also for references in
        a ring."""
        seen: list[str] = []
        while (ref := _reference(node)) is not None:
            if ref in seen:
                raise Problem(f"$ref {ref!r} leads back to itself")
            seen.append(ref)
            node = self.found(ref)
        return node, seen[-1] if seen else ""

    def node(self, given: Any, what: str) -> Node:
        """An object, references followed. Raises `Problem` if it is none."""
        found, _ = self.resolved(given)
        if not isinstance(found, Mapping):
            raise Problem(f"{what} is {type(found).__name__}, not an object")
        return cast("Node", found)


def _reference(node: Any) -> str | None:
    ref = cast("Node", node).get("$ref") if isinstance(node, Mapping) else None
    return ref if isinstance(ref, str) else None


def _unescaped(step: str) -> str:
    for code, c in (("%7B", "{"), ("%7D", "}"), ("%20", " "), ("~1", "/"), ("~0", "~")):
        step = step.replace(code, c).replace(code.lower(), c)
    return step


def _read(spec: Spec) -> Any:
    if isinstance(spec, Mapping):
        return spec
    text = spec
    if isinstance(text, os.PathLike) or (isinstance(text, str) and _is_path(text)):
        try:
            text = Path(text).read_bytes()
        except OSError as error:
            raise bad_openapi([f"{os.fspath(text)} cannot be read: {error.strerror or error}"]) from error
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", "replace")
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text.lstrip().startswith(("{", "[")):
            raise bad_openapi([f"it is not valid JSON: {error}"]) from error
    try:
        return from_yaml(text)
    except ValueError as error:
        raise bad_openapi([f"it is neither JSON nor YAML: {error}"]) from error


def _is_path(text: str) -> bool:
    """A path is one line and no object. An address is refused: nothing is requested here."""
    if text.startswith(("http://", "https://")) and "\n" not in text:
        raise bad_openapi(
            [f"{text.strip()} is an address, and nothing is requested here: load it first and give its text"]
        )
    return "\n" not in text and not text.lstrip().startswith(("{", "["))
