"""Structured output: from the type that a caller asks for to a JSON Schema of an object, and from a model's answer to a value.

How a model is made to answer so (its API's own structured output, a tool for the answer, words in the instructions) is chosen here,
too; the requests and the turn are the runtime's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET

from ..core.errors import config_error
from ..core.request import OutputFormat, ToolSpec
from ..models.catalogue_table import Capabilities
from ..wire.base import Codec
from ..wire.structured import ENFORCED_BY_SERVER, native_schema, rules_of
from .answers import Answers, PlainAnswers, TypedAnswers
from .arguments import ArgumentsError
from .partial import PartialJson

T = TypeVar("T")
Strategy = Literal["native", "tool", "prompted"]
OutputType = Any
"""What may be asked for: a type, a JSON Schema as a mapping, or an `Output` of either."""
ANSWER_TOOL = "final_answer"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_FENCED = re.compile(r"```[a-zA-Z0-9]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)


class Output(msgspec.Struct, Generic[T], frozen=True):
    """A type that answers are to have, with how to get them: `agent.run(prompt, output=Output(Recipe, retries=0))`.

    - `type`: anything that JSON can carry: a dataclass, msgspec struct, pydantic model, TypedDict, union, scalar, list, dict, or a
      JSON Schema as a mapping (then the value is plain JSON data).
    - `strategy`: `native` (the API enforces the schema), `tool` (the model calls a tool with its answer) or `prompted` (the
      instructions say so); None chooses by what is known of the model.
    - `retries`: how often an answer that does not fit may be corrected; None for the agent's `output_retries`.
    - `name`, `description`: what the model is told that it is (default: the type's own).
    """

    type: type[T] | Mapping[str, Any] | Any
    strategy: Strategy | None = None
    retries: int | None = None
    name: str | None = None
    description: str | None = None


class OutputSpec:
    """An output that was asked for, ready to be used. `schema` is that of an object: what is none is the only field of one.

    `is_text`: plain text was asked for, so any answer will do. Make it with `output_spec`.
    """

    __slots__ = ("_answers", "description", "is_text", "name", "retries", "schema", "schema_text", "strategy")

    def __init__(self, output: Output[Any]) -> None:
        """Raises `ConfigError`: `bad_output` for a type that cannot be an output, `invalid_value` for a bad option."""
        if output.retries is not None and output.retries < 0:
            raise config_error("invalid_value", f"Output(retries={output.retries}) means nothing.", "Use 0 or more.")
        if output.strategy not in (None, "native", "tool", "prompted"):
            raise config_error(
                "invalid_value", f"There is no strategy {output.strategy!r}.", "Use native, tool, prompted or None."
            )
        kind = output.type
        made: Answers = (
            PlainAnswers(cast("Mapping[str, Any]", kind)) if isinstance(kind, Mapping) else TypedAnswers(kind)
        )
        self._answers = made
        self.is_text = kind is str
        self.schema = made.schema
        self.schema_text = msgspec.json.encode(made.schema).decode()
        self.name = _NOT_IN_NAMES.sub("_", output.name or made.name)[:64].strip("_") or "output"
        self.description: str = made.description if output.description is None else output.description
        self.strategy: Strategy | None = output.strategy
        self.retries = output.retries

    def __repr__(self) -> str:
        return f"<OutputSpec {self.name}>"

    def decode(self, text: str) -> Any:
        """The value of JSON text that fits `schema`: the arguments of the tool for answers. Raises `ArgumentsError`, whose
        `problem` is written for the model, and nothing else."""
        return self._answers.decode(text)

    def read(self, text: str) -> Any:
        """The value of an answer given as text: JSON, also inside a Markdown fence or with words around it. Raises as `decode` does."""
        if self.is_text:
            return text
        first: ArgumentsError | None = None
        for part in _candidates(text):
            try:
                return self._answers.decode(part, lenient=True)
            except ArgumentsError as error:
                first = first or error
        assert first is not None
        raise first

    def shown(self, partial: Any) -> Any:
        """What a caller sees of a growing JSON value: what stands in the object if we put it there; `UNSET` if nothing is there yet."""
        return self._answers.shown(partial)


def output_spec(asked: Any) -> OutputSpec:
    """What was asked for: a type, a JSON Schema or an `Output`. Specs of types are made once and kept."""
    try:
        return _spec_of(asked)
    except TypeError:  # not hashable: a mapping, or an Output that holds one
        return _make(asked)


@lru_cache(maxsize=128)
def _spec_of(asked: Any) -> OutputSpec:
    return _make(asked)


def _make(asked: Any) -> OutputSpec:
    return OutputSpec(cast("Output[Any]", asked) if isinstance(asked, Output) else Output(asked))


# --- how to get it ------------------------------------------------------------------------------------------------------


def choose_strategy(
    spec: OutputSpec, codec: Codec, can: Capabilities, *, has_tools: bool, spoken_tools: bool
) -> Strategy:
    """How a model is to be asked.

    Native where its API enforces a schema like this one and, with tools, the model is known to go on calling them beside it; else
    a tool for the answer; words for models without tools, and for those whose tools are words (`spoken_tools`).
    """
    if spec.strategy is not None:
        return spec.strategy
    if spec.is_text:
        return "prompted"
    enforced = can.structured_output or (can.structured_output is None and codec.api in ENFORCED_BY_SERVER)
    beside_tools = not has_tools or (can.structured_output_with_tools and not spoken_tools)
    if enforced and beside_tools and native_schema(spec.schema, rules_of(codec.api, codec.origin)) is not None:
        return "native"
    if spoken_tools or can.tools is False:
        return "prompted"
    return "tool"


def native_format(spec: OutputSpec, codec: Codec) -> OutputFormat:
    """What the API is asked to enforce. A schema that it cannot enforce goes as it is, and not strictly."""
    form = native_schema(spec.schema, rules_of(codec.api, codec.origin))
    text = spec.schema_text if form is None else msgspec.json.encode(form).decode()
    return OutputFormat(text, spec.name, spec.description, strict=form is not None)


def answer_tool(spec: OutputSpec) -> ToolSpec:
    """The tool that takes the answer."""
    said = "Give your final answer with this tool, once you are done. Nothing else that you say reaches the user."
    return ToolSpec(ANSWER_TOOL, f"{said}\n\n{spec.description}" if spec.description else said, spec.schema_text)


def in_words(spec: OutputSpec, strategy: Strategy) -> str:
    """What the instructions say about the answer; nothing where the API enforces it."""
    if spec.is_text or strategy == "native":
        return ""
    if strategy == "tool":
        return f"Give your final answer by calling the tool {ANSWER_TOOL}."
    said = "Your final answer must be one JSON object that fits this JSON schema, and nothing else:"
    return f"{said}\n{spec.schema_text}"


def correction(problem: str, strategy: Strategy) -> str:
    """What the model is told of an answer that does not fit."""
    if strategy == "tool":
        return f"{problem} Give the answer by calling the tool {ANSWER_TOOL}."
    return f"{problem} Give the answer again, as one JSON object and nothing else."


# --- reading ------------------------------------------------------------------------------------------------------------


def _candidates(text: str) -> list[str]:
    """Parts of an answer that may be the JSON: the whole, what stands in fences, what stands between the outermost braces."""
    found = [text.strip()]
    found += [part.strip() for part in _FENCED.findall(text)]
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end:
        found.append(text[start : end + 1])
    if len(found) > 1 and found[0][:1] not in ("{", "["):
        found.append(found.pop(0))  # the problem is told of what looks most like the answer
    return list(dict.fromkeys(found))


class PartialAnswer:
    """An answer that is still arriving, as plain data of the form asked for. Whatever precedes the first brace is passed over.

    `feed` takes what came, `look` brings `last` up to date: as seldom as somebody looks.
    """

    __slots__ = ("_began", "_grown", "_json", "_spec", "_text", "last")

    def __init__(self, spec: OutputSpec) -> None:
        self._spec = spec
        self.reset()

    def reset(self) -> None:
        """Another answer begins."""
        self._json = PartialJson()
        self._began = self._grown = False
        self._text: list[str] = []
        self.last: Any = UNSET

    def feed(self, text: str) -> None:
        if self._spec.is_text:
            self._text.append(text)
            self._grown = self._grown or bool(text)
            return
        if not self._began:
            start = text.find("{")
            if start < 0:
                return
            self._began, text = True, text[start:]
        self._grown = self._json.feed(text) or self._grown
        if self._json.broken and not self._json.value():
            self.reset()  # a brace in the words before the answer

    def look(self) -> bool:
        """Bring `last` up to date; True if it has changed."""
        if not self._grown:
            return False
        self._grown = False
        if self._spec.is_text:
            self.last = "".join(self._text)
            self._text = [self.last]
            return True
        shown = self._spec.shown(self._json.value())
        if shown is UNSET or (type(shown) is type(self.last) and shown == self.last):
            return False
        self.last = shown
        return True
