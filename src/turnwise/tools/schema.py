"""From parameters to a JSON Schema for the model and a decoder for what it sends (rule E2).

The parameters become one msgspec struct type; a prebuilt decoder turns the raw arguments straight into it. The schema is
made to be accepted as widely as possible: definitions are written out where they are used (only recursive ones stay in
`$defs`), arrays always say what their items are, enumerations what type they have.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import NODEFAULT

from ..core.errors import config_error
from . import pydantic_types
from .arguments import ArgumentsError, is_blank, problem_of
from .parameters import IMMUTABLE, Parameter, Signature, bad_parameter
from .tidy import tidy

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Schema = dict[str, Any]
_PLAIN: tuple[Any, ...] = (str, int, float, bool)  # need no check, and making a tool stays cheap


class Arguments:
    """The arguments of one tool: their struct type, their decoder, their schema."""

    __slots__ = ("_adapters", "_decoder", "_parameters", "kind")

    def __init__(self, signature: Signature) -> None:
        """Raises `ConfigError` (`bad_tool`) naming the parameter whose type or default cannot be used."""
        self._parameters = signature.parameters
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        for parameter in signature.parameters:
            self._check(signature.label, parameter)
        fields = [self._field(p) for p in signature.parameters]
        self.kind = msgspec.defstruct(
            "Arguments", fields, kw_only=True, forbid_unknown_fields=True, gc=False, module=__name__
        )
        self._decoder = msgspec.json.Decoder(self.kind, dec_hook=decode_other)

    def decode(self, arguments: str) -> Any:
        """The arguments as a struct with one field per parameter. Raises `ArgumentsError` and nothing else."""
        try:
            decoded = self._decoder.decode(arguments)
            if self._adapters:
                self._validate(decoded)
        except Exception as error:
            if is_blank(arguments):
                return self.decode("{}")
            names = [p.name if p.default is not NODEFAULT else f"{p.name} (required)" for p in self._parameters]
            raise ArgumentsError(problem_of(error, arguments, names)) from error
        return decoded

    def schema(self, descriptions: Mapping[str, str]) -> Schema:
        """JSON Schema of the arguments. `descriptions` by parameter fill in where the annotation has none."""
        properties: Schema = {}
        definitions: Schema = {}
        for p in self._parameters:
            described = p.description or descriptions.get(p.name, "")
            made = tidy(self._schema_of(p), definitions)
            if described:
                made = {**made, "description": described}
            if p.default is not NODEFAULT:
                made = _with_default(made, p.default)
            properties[p.name] = made
        schema: Schema = {"type": "object", "properties": properties}
        required = [p.name for p in self._parameters if p.default is NODEFAULT]
        if required:
            schema["required"] = required
        schema["additionalProperties"] = False
        if definitions:
            schema["$defs"] = definitions
        return schema

    def _check(self, label: str, parameter: Parameter) -> None:
        """Refuse what cannot be decoded or described, while we know whose it is."""
        try:
            adapter = pydantic_types.adapter_of(parameter.type)
            if adapter is not None:
                self._adapters[parameter.name] = adapter
            if parameter.type not in _PLAIN:
                self._schema_of(parameter)
        except Exception as error:
            reason = str(error).split(":\n", 1)[-1].strip().splitlines()[-1]
            hint = "Use types that JSON can carry: scalars, lists, dicts, dataclasses, TypedDict, msgspec or pydantic models."
            raise bad_parameter(label, parameter.name, f"has a type that cannot be used: {reason}", hint) from error

    def _schema_of(self, parameter: Parameter) -> Schema:
        adapter = self._adapters.get(parameter.name)
        if adapter is not None:
            return pydantic_types.schema_of(adapter)
        return msgspec.json.schema(parameter.type, schema_hook=describe_other)

    def _field(self, parameter: Parameter) -> tuple[str, Any, Any]:
        kind = msgspec.Raw if parameter.name in self._adapters else parameter.type
        default = parameter.default
        if default is NODEFAULT or isinstance(default, IMMUTABLE):
            return parameter.name, kind, msgspec.field(default=default)
        return parameter.name, kind, msgspec.field(default_factory=partial(copy.deepcopy, default))

    def _validate(self, decoded: Any) -> None:
        for name, adapter in self._adapters.items():
            raw = getattr(decoded, name)
            if type(raw) is msgspec.Raw:
                setattr(decoded, name, pydantic_types.validate(adapter, raw, f"$.{name}"))


class ObjectArguments:
    """Arguments that are one type as a whole: a dataclass, `TypedDict`, msgspec struct or pydantic model."""

    __slots__ = ("_adapter", "_decoder", "_names", "schema")

    def __init__(self, label: str, kind: Any) -> None:
        """Raises `ConfigError` (`bad_tool`) for a type that JSON cannot carry, or that is no object."""
        self._adapter = pydantic_types.adapter_of(kind)
        definitions: Schema = {}
        try:
            self._decoder = msgspec.json.Decoder(Any if self._adapter else kind, dec_hook=decode_other)
            raw = (
                pydantic_types.schema_of(self._adapter)
                if self._adapter is not None
                else msgspec.json.schema(kind, schema_hook=describe_other)
            )
            self.schema = tidy(raw, definitions)
        except Exception as error:
            raise config_error(
                "bad_tool", f"Tool {label}: {kind!r} cannot be used as its parameters: {error}.", "Use a dataclass."
            ) from error
        if self.schema.get("type") != "object" or "properties" not in self.schema:
            raise config_error(
                "bad_tool",
                f"Tool {label}: {kind!r} is not an object with named fields.",
                "Use a dataclass, TypedDict, msgspec struct or pydantic model.",
            )
        if definitions:
            self.schema["$defs"] = definitions
        self._names = list(self.schema["properties"])

    def decode(self, arguments: str) -> Any:
        """The arguments as a value of the type. Raises `ArgumentsError` and nothing else."""
        try:
            if self._adapter is not None:
                return pydantic_types.validate(self._adapter, arguments.encode(), "$")
            return self._decoder.decode(arguments)
        except Exception as error:
            if is_blank(arguments):
                return self.decode("{}")
            raise ArgumentsError(problem_of(error, arguments, self._names)) from error


def _with_default(schema: Schema, default: Any) -> Schema:
    try:
        return {**schema, "default": msgspec.to_builtins(default, enc_hook=_default_as_data)}
    except Exception:  # the model need not know it
        return schema


def _default_as_data(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    return value.model_dump(mode="json")


# --- types that msgspec leaves to us ----------------------------------------------------------------------------------


def decode_other(kind: type, value: Any) -> Any:
    if _is_path(kind):
        if not isinstance(value, str):
            raise TypeError(f"Expected a path as text, got {type(value).__name__}")
        return kind(value)
    if pydantic_types.is_model(kind):
        return pydantic_types.decode_nested(kind, value)
    raise TypeError(f"{kind.__qualname__} cannot be made from JSON")


def describe_other(kind: type) -> Schema:
    if _is_path(kind):
        return {"type": "string"}
    if pydantic_types.is_model(kind):
        return pydantic_types.schema_of(sys.modules["pydantic"].TypeAdapter(kind))
    raise NotImplementedError


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, PurePath) and kind in (Path, PurePath, type(Path()))
