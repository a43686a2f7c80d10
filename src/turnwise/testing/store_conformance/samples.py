"""What the checks write: short sessions, and values of every shape that an entry can have, made from the types themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from msgspec import inspect

from ...core.changes import Parked, Resumed
from ...core.content import BlobRef, Image, Text
from ...core.entries import CallOutcome, Entry, InputAccepted, SessionCreated, StepCommitted, TurnEnded
from ...core.limits import Limits
from ...core.messages import AssistantMessage, UserMessage
from ...core.outcomes import ToolResult
from ...core.principal import LOCAL, Principal

AT = 1_700_000_000.0
"""When the sample entries say that they were made: long ago, so that a store which takes its times from them is found out."""

TRICKY_TEXTS = (
    "plain",
    "naïve café, Größe, Ångström",
    "世界 こんにちは 한국어",
    "עברית العربية",
    "👩‍👩‍👧‍👦 🎉 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "e\u0301 is not \u00e9",
    "tabs\tand\nnew\r\nlines\u2028too",
    "a NUL \x00 and other controls \x01\x1f\x7f",
    """quotes ' " ` \\ and "; DROP TABLE entries; --""",
    "%s %d {} $1 :name ?",
    "\ufeff a mark, \ufffd a replacement, \uffff the last",
    "",
)
LIMITS = Limits(steps=7)


def created(session: str, principal: Principal = LOCAL) -> SessionCreated:
    return SessionCreated(session, principal, AT)


def asked(text: str, turn: int = 1) -> InputAccepted:
    """A turn begins."""
    return InputAccepted(UserMessage(text, turn=turn, created_at=AT), LIMITS)


def said(text: str, turn: int = 1) -> StepCommitted:
    return StepCommitted(AssistantMessage(text, turn=turn, step=1, created_at=AT), 1)


def did(text: str, turn: int = 1) -> CallOutcome:
    """A tool has answered."""
    return CallOutcome(ToolResult(f"t{turn}.s1.c0", text), "look", True, AT)


def ended(turn: int = 1) -> TurnEnded:
    return TurnEnded(turn, "completed", AT)


def parked(turn: int = 1) -> Parked:
    return Parked(turn, AT)


def resumed(turn: int = 1) -> Resumed:
    return Resumed(turn, AT)


def whole_turn(text: str, answer: str = "Yes.", turn: int = 1) -> list[Entry]:
    return [asked(text, turn), said(answer, turn), ended(turn)]


def session_of(session: str, text: str = "Hello.", principal: Principal = LOCAL) -> list[Entry]:
    """A session with one turn that is over: four entries."""
    return [created(session, principal), *whole_turn(text)]


def with_image(sha256: str, size: int, turn: int = 1) -> InputAccepted:
    body = (Text("Look."), Image(BlobRef(sha256, size, "image/png")))
    return InputAccepted(UserMessage(body, turn=turn, created_at=AT), LIMITS)


def with_artifact(sha256: str, size: int, turn: int = 1) -> CallOutcome:
    result = ToolResult(f"t{turn}.s1.c0", "the beginning…", artifact=BlobRef(sha256, size, "text/plain"))
    return CallOutcome(result, "look", True, AT)


def numbered(count: int, first: int = 1) -> list[Entry]:
    """Entries that tell their place in the journal."""
    return [said(f"number {number}") for number in range(first, first + count)]


# --- every shape that an entry can have ---------------------------------------------------------------------------------


def entries_of_every_type() -> list[Entry]:
    """At least two entries of each type in the union: with what must be given only, and with everything, all alternatives of every
    field occurring somewhere."""
    return [entry for kind in get_args(Entry) for entry in _examples(inspect.type_info(kind))]


def _examples(kind: inspect.Type) -> list[Any]:
    """Values of a type that cover its alternatives, though not their combinations."""
    match kind:
        case inspect.StructType():
            return list(_structs(kind))
        case inspect.UnionType(types=types):
            return [value for one in types for value in _examples(one)]
        case inspect.VarTupleType(item_type=item):
            return [(), tuple(_examples(item))]
        case inspect.DictType(key_type=key, value_type=value):
            return [{}, {k: v for k in _examples(key) for v in _examples(value)}]
        case inspect.LiteralType(values=values):
            return list(values)
        case inspect.NoneType():
            return [None]
        case inspect.BoolType():
            return [True, False]
        case inspect.IntType():
            return [1, 2**53]
        case inspect.FloatType():
            return [0.1, 0.9]
        case inspect.StrType():
            return ["a text", TRICKY_TEXTS[7]]
        case inspect.BytesType():
            return [b"\x00\xff bytes"]
        case _:
            raise TypeError(f"no examples of {kind}")


def _structs(kind: inspect.StructType) -> Iterator[Any]:
    required = {f.name: _examples(f.type)[0] for f in kind.fields if f.required}
    yield kind.cls(**required)
    shapes = {f.name: _examples(f.type) for f in kind.fields if f.name != "v"}
    for turn in range(max(map(len, shapes.values()), default=0)):
        yield kind.cls(**{name: values[turn % len(values)] for name, values in shapes.items()})
