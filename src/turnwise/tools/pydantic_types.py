"""Pydantic types in tool signatures. Pydantic is never imported from here: whoever uses its types has loaded it already.

A parameter whose annotation mentions pydantic is decoded and described by a `TypeAdapter` as a whole, from its raw JSON.
Models nested inside other types (a field of a dataclass, say) are met one by one, in msgspec's hooks.
"""

from __future__ import annotations

import sys
import typing
from typing import TYPE_CHECKING, Any, cast

import msgspec

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

REF = "#/$defs/{model}"
ERRORS_SHOWN = 5


def adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    """The adapter for an annotation that mentions a pydantic type or constraint; None for all others."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not mentions_pydantic(annotation):
        return None
    return pydantic.TypeAdapter(annotation)


def mentions_pydantic(annotation: Any) -> bool:
    if isinstance(annotation, type) and is_model(annotation):
        return True
    if any(_is_constraint(extra) for extra in getattr(annotation, "__metadata__", ())):
        return True
    return any(mentions_pydantic(a) for a in typing.get_args(annotation))


def is_model(kind: type) -> bool:
    """True for `BaseModel` subclasses and pydantic dataclasses."""
    return "__pydantic_core_schema__" in kind.__dict__ or "__pydantic_complete__" in kind.__dict__


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """JSON Schema of an adapter's type, with its definitions in `$defs`."""
    return adapter.json_schema(ref_template=REF)


def validate(adapter: TypeAdapter[Any], raw: bytes | memoryview, path: str) -> Any:
    """A value from its JSON. Raises `msgspec.ValidationError` that says what is wrong where, relative to `path`."""
    try:
        return adapter.validate_json(bytes(raw))
    except ValueError as error:
        raise msgspec.ValidationError(_said(error, path)) from error


def decode_nested(kind: type, value: Any) -> Any:
    """A model met inside another type, from its decoded JSON. Raises `ValueError`, to which msgspec adds where that was."""
    try:
        return validate(sys.modules["pydantic"].TypeAdapter(kind), msgspec.json.encode(value), kind.__name__)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def _is_constraint(extra: Any) -> bool:
    """Pydantic's own `Field` and the constraints that it understands."""
    return type(extra).__module__.partition(".")[0] in ("pydantic", "annotated_types")


def _said(error: ValueError, path: str) -> str:
    if not hasattr(error, "errors"):
        return str(error)
    problems = cast("ValidationError", error).errors(include_url=False, include_context=False)
    parts = [f"{p['msg']} - at `{path}{''.join(f'.{x}' for x in p['loc'])}`" for p in problems[:ERRORS_SHOWN]]
    return "; ".join(parts) or str(error)
