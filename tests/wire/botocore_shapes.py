"""Holds JSON request bodies against AWS's own service model, strictly: botocore's validator, and what that lets through.

botocore checks types, lengths and required fields of Python values; unknown keys, the words of enumerations and patterns it leaves to
the service. Blobs are base64 in JSON and bytes in Python.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import Any

import botocore.session
from botocore.validate import ParamValidator


def problems_of(operation: str, body: dict[str, Any], model: str = "a-model") -> list[str]:
    """What is wrong with a body of a request to Bedrock's runtime; [] if nothing is."""
    return _problems(_shape(operation, "input_shape"), {**body, "modelId": model})


def problems_of_answer(body: dict[str, Any]) -> list[str]:
    """What is wrong with a whole answer of Converse."""
    return _problems(_shape("Converse", "output_shape"), body)


def problems_of_event(kind: str, body: dict[str, Any]) -> list[str]:
    """What is wrong with an event of ConverseStream. Its padding `p` is in no model."""
    events = _shape("ConverseStream", "output_shape").members["stream"].members
    return _problems(events[kind], {name: value for name, value in body.items() if name != "p"})


def _problems(shape: Any, body: dict[str, Any]) -> list[str]:
    out: list[str] = []
    value = _python(shape, body, "$", out)
    report = ParamValidator().validate(value, shape)
    return out + ([report.generate_report()] if report.has_errors() else [])


@cache
def _shape(operation: str, which: str) -> Any:
    model = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(operation)
    return getattr(model, which)


def _python(shape: Any, value: Any, at: str, out: list[str]) -> Any:
    """The value as botocore takes it; what only the service would refuse is added to `out`."""
    if getattr(shape, "is_document_type", False):
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        out += [f"{at}: unknown key {name!r}" for name in value if name not in shape.members]
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            out.append(f"{at}: holds {len(value)} members of a union")
        known = {name: v for name, v in value.items() if name in shape.members}
        return {name: _python(shape.members[name], v, f"{at}.{name}", out) for name, v in known.items()}
    if kind == "list" and isinstance(value, list):
        return [_python(shape.member, v, f"{at}[{i}]", out) for i, v in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {k: _python(shape.value, v, f"{at}.{k}", out) for k, v in value.items()}
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            out.append(f"{at}: is not base64")
    if kind == "string" and isinstance(value, str):
        if shape.enum and value not in shape.enum:
            out.append(f"{at}: {value!r} is none of {shape.enum}")
        pattern = shape.metadata.get("pattern")
        if pattern and shape.name != "ConversationalModelId" and not re.fullmatch(pattern, value):
            out.append(f"{at}: {value!r} does not match {pattern}")
    return value
