"""What a tool returned or raised becomes something that can be journalled, sent and read by a model."""

import enum
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from turnwise.core.content import Image, Text
from turnwise.core.errors import ErrorInfo, ToolError
from turnwise.tools import failure_of, render_result


class Model(pydantic.BaseModel):
    day: date


@dataclass
class Point:
    x: int


class Unit(enum.StrEnum):
    C = "celsius"


IMAGE = Image.of(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("text", "text"),
        ("", ""),
        (None, ""),
        (3, "3"),
        (True, "true"),
        (1 << 70, "1180591620717411303424"),
        ([], "[]"),
        (["a", "b"], '["a","b"]'),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        (Point(1), '{"x":1}'),
        (Unit.C, '"celsius"'),
        (Model(day=date(2026, 1, 2)), '{"day":"2026-01-02"}'),
        ([Model(day=date(2026, 1, 2))], '[{"day":"2026-01-02"}]'),
        ({"at": Path("a/b")}, '{"at":"a/b"}'),
        (IMAGE, (IMAGE,)),
        ([Text("a"), IMAGE], (Text("a"), IMAGE)),
        (["a", IMAGE], (Text("a"), IMAGE)),
        ("bad \udc80 name", "bad \\udc80 name"),
        (Text("bad \udc80"), (Text("bad \\udc80"),)),
        ("größe", "größe"),
    ],
    ids=lambda v: ascii(v)[:40],
)
def test_values_become_text_or_blocks(value: Any, body: Any) -> None:
    rendered = render_result(value)
    assert rendered == body
    msgspec.json.encode(rendered)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"\x00", "bytes"),
        (bytearray(b"x"), "bytearray"),
        (memoryview(b"x"), "memoryview"),
        (object(), "builtins.object"),
        ({"a": object()}, "builtins.dict"),
    ],
)
def test_what_has_no_form_is_an_error_naming_the_type(value: Any, said: str) -> None:
    with pytest.raises(ToolError, match=re.escape(said)):
        render_result(value)


def test_a_value_that_contains_itself_is_an_error() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ToolError, match=r"builtins\.list"):
        render_result(ring)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "message", "detail"),
    [
        (ValueError("no such city"), "ValueError: no such city", "ValueError"),
        (ValueError(), "ValueError", "ValueError"),
        (Mute(), "Mute", "Mute"),
        (OSError(2, "gone", "a\udc80"), "FileNotFoundError: [Errno 2] gone: 'a\\udc80'", "FileNotFoundError"),
        (ToolError("plainly"), "plainly", ""),
    ],
)
def test_a_failure_says_type_and_message(error: BaseException, message: str, detail: str) -> None:
    info = failure_of(error)
    assert (info.branch, info.code, info.message, info.detail) == ("tool", "tool_failed", message, detail)
    msgspec.json.encode(info)


def test_a_failure_is_bounded_and_keeps_what_the_tool_said_of_itself() -> None:
    assert len(failure_of(ValueError("x" * 100_000)).message) < 5000
    info = ErrorInfo("tool", "busy", "Busy.", retryable=True)
    assert failure_of(ToolError(info)) is info
