"""Decoders of answers by the kind of output: typed ones (msgspec, pydantic), and those with a JSON Schema only.

All have the schema of an object, since that is what APIs enforce and tools take. A type whose schema is another is the field `value` of
one. Members of a union that only their fields would tell apart are told apart by name: `{"kind": "Cat", "data": {…}}`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Union, cast

import msgspec
from msgspec import UNSET

from ..core.errors import config_error
from . import pydantic_types
from .arguments import ArgumentsError, problem_of
from .plain import problems
from .schema import decode_other, describe_other
from .tidy import tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Schema = dict[str, Any]
VALUE, KIND, DATA = "value", "kind", "data"
_COMBINING = ("anyOf", "oneOf", "allOf", "not", "if", "$ref")


class Answers(Protocol):
    """What an `OutputSpec` knows of its type. `lenient` decoding also takes a value that should stand in an object and does not."""

    name: str
    description: str
    schema: Schema

    def decode(self, text: str, *, lenient: bool = False) -> Any: ...
    def shown(self, partial: Any) -> Any: ...


class TypedAnswers:
    """Answers of a Python type."""

    def __init__(self, kind: Any) -> None:
        """Raises `ConfigError` (`bad_output`) for a type that JSON cannot carry."""
        self.name = _name_of(kind)
        told = _told_apart(kind)
        self._kinds = told is not kind
        try:
            self._adapter = pydantic_types.adapter_of(told)
            if self._adapter is not None:
                described = pydantic_types.schema_of(self._adapter)
            else:
                described = msgspec.json.schema(told, schema_hook=describe_other)
            definitions: Schema = {}
            schema = _opened(tidy(described, definitions), definitions)
            self._wrapped = not _is_object(schema)
            self._decode = self._decoder(told)
        except Exception as error:
            reason = str(error).split(":\n", 1)[-1].strip().splitlines()[-1]
            hint = "Use types that JSON can carry: dataclasses, TypedDict, msgspec or pydantic models, scalars, lists, dicts, unions."
            raise config_error("bad_output", f"{kind!r} cannot be an output: {reason}", hint) from error
        self.description: str = "" if self._wrapped else schema.get("description", "")
        self.schema = _wrapped(schema, definitions) if self._wrapped else _with_definitions(schema, definitions)
        self._names = _fields_of(self.schema)

    def decode(self, text: str, *, lenient: bool = False) -> Any:
        try:
            return self._decode(text)
        except Exception as error:
            if lenient and self._wrapped and not self._kinds:
                with contextlib.suppress(Exception):  # the problem with the form asked for is the one to tell
                    return self._bare(text)
            raise ArgumentsError(problem_of(error, text, self._names, "The fields")) from error

    def shown(self, partial: Any) -> Any:
        if not self._wrapped:
            return partial
        value: object = _value_of(partial)
        return cast("Schema", value).get(DATA, UNSET) if self._kinds and isinstance(value, dict) else value

    def _decoder(self, told: Any) -> Callable[[str], Any]:
        adapter = self._adapter
        bare: Callable[[str], Any]
        if adapter is None:
            bare = msgspec.json.Decoder(told, dec_hook=decode_other).decode
        else:
            bare = lambda text: pydantic_types.validate(adapter, text.encode(), "$")  # noqa: E731
        self._bare = bare
        if not self._wrapped:
            return bare
        field = told if adapter is None else msgspec.Raw
        holder = msgspec.defstruct("Answer", [(VALUE, field)], forbid_unknown_fields=True, module=__name__)
        decoder = msgspec.json.Decoder(holder, dec_hook=decode_other)

        def decode(text: str) -> Any:
            value = getattr(decoder.decode(text), VALUE)
            if adapter is not None:
                return pydantic_types.validate(adapter, value, f"$.{VALUE}")
            return getattr(value, DATA) if self._kinds and isinstance(value, _Kind) else value

        return decode


class PlainAnswers:
    """Answers with a JSON Schema and no type: plain data, checked as `plain.py` says."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises `ConfigError` (`bad_output`) for what is no JSON Schema."""
        self._root = schema
        try:
            text = msgspec.json.encode(schema)
        except Exception as error:
            hint = "Use dicts, lists, text, numbers, booleans and None."
            raise config_error("bad_output", f"The JSON Schema of the output is not JSON: {error}", hint) from error
        given: Schema = msgspec.json.decode(text)
        self._wrapped = not _is_object(given)
        self.schema = given
        if self._wrapped:
            definitions = {key: given.pop(key) for key in ("$defs", "definitions") if key in given}
            self.schema = {**_wrapped(given, {}), **definitions}
        title = given.get("title")
        self.name = title if isinstance(title, str) else "output"
        self.description: str = given.get("description", "")
        self._names = _fields_of(self.schema)
        self._decoder = msgspec.json.Decoder()

    def decode(self, text: str, *, lenient: bool = False) -> Any:
        try:
            decoded: Any = self._decoder.decode(text)
            if self._wrapped:
                decoded = self._unwrapped(decoded, lenient)
            else:
                self._check(decoded, "$")
        except Exception as error:
            raise ArgumentsError(problem_of(error, text, self._names, "The fields")) from error
        return cast("object", decoded)

    def shown(self, partial: Any) -> Any:
        return _value_of(partial) if self._wrapped else partial

    def _unwrapped(self, decoded: Any, lenient: bool) -> Any:
        if isinstance(decoded, dict) and (holder := cast("Schema", decoded)).keys() == {VALUE}:
            self._check(holder[VALUE], f"$.{VALUE}")
            return holder[VALUE]
        if lenient and next(problems(decoded, self._root, self._root, "$"), None) is None:
            return cast("Any", decoded)
        raise msgspec.ValidationError(f"Expected an object with the one field `{VALUE}`")

    def _check(self, value: Any, path: str) -> None:
        problem = next(problems(value, self._root, self._root, path), None)
        if problem is not None:
            raise msgspec.ValidationError(problem)


# --- schemas ------------------------------------------------------------------------------------------------------------


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" and not any(key in schema for key in _COMBINING)


def _opened(schema: Schema, definitions: Schema) -> Schema:
    """A type that contains itself is written out once: the schema of an answer may not begin with a reference."""
    ref = schema.get("$ref")
    return schema if ref is None else dict(definitions[ref.removeprefix("#/$defs/")])


def _wrapped(schema: Schema, definitions: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": {VALUE: schema}, "required": [VALUE], "additionalProperties": False}
    return _with_definitions(made, definitions)


def _with_definitions(schema: Schema, definitions: Schema) -> Schema:
    return {**schema, "$defs": definitions} if definitions else schema


def _fields_of(schema: Mapping[str, Any]) -> Sequence[str]:
    required = schema.get("required", ())
    return [f"{name} (required)" if name in required else name for name in schema.get("properties", {})]


def _value_of(partial: Any) -> Any:
    return cast("Schema", partial).get(VALUE, UNSET) if isinstance(partial, dict) else UNSET


# --- types --------------------------------------------------------------------------------------------------------------


class _Kind(msgspec.Struct):
    """Base of the members of a union that are told apart by name."""


def _told_apart(kind: Any) -> Any:
    """The type itself, or a union whose members say what they are where only their fields would tell."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return kind
    members = typing.get_args(kind)
    alike = [m for m in members if _is_object_type(m)]
    if len(alike) < 2 or all(_has_tag(m) for m in alike):
        return kind
    names: dict[str, Any] = {}
    for member in alike:
        name = (typing.get_origin(member) or member).__name__
        names[name if name not in names else f"{name}{len(names) + 1}"] = member
    tagged = [_kind(name, member) for name, member in names.items()]
    return Union[(*tagged, *[m for m in members if m not in alike])]  # pyright: ignore[reportReturnType]


def _kind(name: str, member: Any) -> Any:
    return msgspec.defstruct(
        f"{name}_kind", [(DATA, member)], bases=(_Kind,), tag_field=KIND, tag=name, kw_only=True, module=__name__
    )


def _is_object_type(kind: Any) -> bool:
    bare: Any = typing.get_origin(kind) or kind
    if not isinstance(bare, type):
        return False
    bare = cast("type[Any]", bare)
    if issubclass(bare, msgspec.Struct):
        return not bare.__struct_config__.array_like
    return (
        dataclasses.is_dataclass(bare)
        or typing.is_typeddict(bare)
        or issubclass(bare, dict)
        or pydantic_types.is_model(bare)
        or hasattr(bare, "__attrs_attrs__")
    )


def _has_tag(kind: Any) -> bool:
    bare = typing.get_origin(kind) or kind
    return issubclass(bare, msgspec.Struct) and bare.__struct_config__.tag is not None


def _name_of(kind: Any) -> str:
    bare = typing.get_origin(kind) or kind
    is_own = isinstance(bare, type) and bare.__module__ not in ("builtins", "collections", "typing", "types")
    return bare.__name__ if is_own else "output"
