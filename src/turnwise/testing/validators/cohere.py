"""The rules of Cohere's chat API, version 2, that a request must keep.

Sources: docs.cohere.com/reference/chat (fields, ranges, at most 5 stop sequences, `response_format` without tools or documents),
/docs/tool-use-overview (a result per call, right after the calls), /docs/structured-outputs (schemas, `strict_tools`),
/docs/reasoning, /docs/image-inputs (types, 20 images, 20 MB), and the API's own refusals (text beside calls, empty text).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

MAX_STOP_SEQUENCES = 5
MAX_IMAGES = 20
MAX_IMAGE_BYTES_TOTAL = 20 * 1024 * 1024
MAX_STRICT_FIELDS = 200
NAME = r"^[a-zA-Z0-9_-]{1,256}$"

_NAMES = (
    "model messages stream tools tool_choice strict_tools documents citation_options response_format safety_mode max_tokens"
    " stop_sequences temperature seed frequency_penalty presence_penalty k p logprobs thinking priority raw_prompting"
)
_FIELDS = frozenset(_NAMES.split())


class Text(Closed):
    type: Literal["text"]
    text: str


class ImageUrl(Closed):
    url: Annotated[str, msgspec.Meta(pattern="^(https?://|data:image/(png|jpeg|gif|webp);base64,)")]
    detail: Literal["auto", "low", "high"] = "auto"


class Image(Closed):
    type: Literal["image_url"]
    image_url: ImageUrl


class Thinking(Closed):
    type: Literal["thinking"]
    thinking: Annotated[str, msgspec.Meta(min_length=1)]


class Source(Closed):
    data: dict[str, Any]
    id: str | None = None


class Document(Closed):
    type: Literal["document"]
    document: Source


class Function(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    arguments: str


class Call(Closed):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    function: Function
    type: Literal["function"]


class Citation(Closed):
    start: int
    end: int
    text: str
    sources: list[dict[str, Any]]
    content_index: int | None = None
    type: Literal["TEXT_CONTENT", "THINKING_CONTENT", "PLAN"] | None = None


Content = str | list[dict[str, Any]]


class System(Closed, tag_field="role", tag="system"):
    content: Content


class User(Closed, tag_field="role", tag="user"):
    content: Content


class Assistant(Closed, tag_field="role", tag="assistant"):
    content: Content | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: list[Citation] | None = None


class Tool(Closed, tag_field="role", tag="tool"):
    tool_call_id: str
    content: Content


Message = System | User | Assistant | Tool
_PARTS: dict[str, type[Closed]] = {"text": Text, "image_url": Image, "thinking": Thinking, "document": Document}
_ALLOWED: dict[type, tuple[str, ...]] = {
    System: ("text",),
    User: ("text", "image_url"),
    Assistant: ("text", "thinking"),
    Tool: ("text", "document"),
}


class ToolFunction(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    parameters: dict[str, Any]
    description: str = ""


class ToolDefinition(Closed):
    type: Literal["function"]
    function: ToolFunction


class ThinkingConfig(Closed):
    type: Literal["enabled", "disabled"]
    token_budget: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ResponseFormat(Closed):
    type: Literal["text", "json_object"]
    json_schema: dict[str, Any] | None = None


def check(body: dict[str, Any]) -> list[Problem]:
    """The problems of a request body for POST /v2/chat; none if the list is empty."""
    problems: list[Problem] = [Problem(name, "unknown field") for name in body if name not in _FIELDS]
    _check_settings(body, problems)
    _check_format(body, problems)
    _check_tools(body, problems)
    messages = _read_messages(body, problems)
    _check_pairing(messages, problems)
    _check_images(messages, problems)
    return problems


# --- settings and tools


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append(Problem("model", "is required"))
    if not isinstance(body.get("stream", False), bool):
        problems.append(Problem("stream", "must be true or false"))
    number_in(body, "temperature", 0, 5, problems)
    number_in(body, "p", 0.01, 0.99, problems)
    number_in(body, "k", 0, 500, problems)
    number_in(body, "frequency_penalty", 0, 1, problems)
    number_in(body, "presence_penalty", 0, 1, problems)
    number_in(body, "max_tokens", 1, 1e9, problems)
    number_in(body, "seed", 0, 2**64 - 1, problems)
    one_of(body, "safety_mode", ("CONTEXTUAL", "STRICT", "OFF"), problems)
    one_of(body, "strict_tools", (True, False), problems)
    if body.get("thinking") is not None:
        thinking = read(body["thinking"], ThinkingConfig, "thinking", problems)
        if thinking is not None and thinking.type == "disabled" and thinking.token_budget is not None:
            problems.append(Problem("thinking.token_budget", "only together with type 'enabled'"))
    stops = read(body.get("stop_sequences") or [], list[str], "stop_sequences", problems) or []
    if len(stops) > MAX_STOP_SEQUENCES:
        problems.append(Problem("stop_sequences", f"at most {MAX_STOP_SEQUENCES}, not {len(stops)}"))
    for n, document in enumerate(as_list(body.get("documents"))):
        if not isinstance(document, str):
            read(document, Source, f"documents[{n}]", problems)


def _check_format(body: dict[str, Any], problems: list[Problem]) -> None:
    if body.get("response_format") is None:
        return
    asked = read(body["response_format"], ResponseFormat, "response_format", problems)
    if asked is None or asked.type == "text":
        return
    problems += [
        Problem("response_format", f"is not supported in combination with {name}")
        for name in ("tools", "documents")
        if body.get(name)
    ]
    if asked.json_schema is not None and asked.json_schema.get("type") != "object":
        problems.append(Problem("response_format.json_schema", "the top level must have type 'object'"))


def _check_tools(body: dict[str, Any], problems: list[Problem]) -> None:
    raw_tools = body.get("tools")
    tools = [t for i, raw in enumerate(as_list(raw_tools)) if (t := _tool(raw, f"tools[{i}]", problems)) is not None]
    if raw_tools is not None and not as_list(raw_tools):
        problems.append(Problem("tools", "must be an array with at least one tool; leave it out if there is none"))
    problems += [
        Problem("tools", f"tool names must be unique: {name}") for name in repeats([t.function.name for t in tools])
    ]
    one_of(body, "tool_choice", ("REQUIRED", "NONE"), problems)
    if body.get("tool_choice") is not None and not tools:
        problems.append(Problem("tool_choice", "needs tools"))
    if body.get("strict_tools") is not True:
        return
    fields = 0
    for i, tool in enumerate(tools):
        properties = as_object(tool.function.parameters.get("properties"))
        fields += len(properties)
        if properties and not tool.function.parameters.get("required"):
            problems.append(Problem(f"tools[{i}]", "strict_tools needs at least one required parameter"))
    if fields > MAX_STRICT_FIELDS:
        problems.append(Problem("tools", f"strict_tools allows {MAX_STRICT_FIELDS} fields, not {fields}"))


def _tool(raw: object, where: str, problems: list[Problem]) -> ToolDefinition | None:
    tool = read(raw, ToolDefinition, where, problems)
    if tool is not None and tool.function.parameters.get("type") != "object":
        problems.append(Problem(f"{where}.function.parameters", "must be a schema of type 'object'"))
    return tool


# --- messages


def _read_messages(body: dict[str, Any], problems: list[Problem]) -> list[Message | None]:
    """All messages; what is malformed is reported and None."""
    raw_messages = as_list(body.get("messages"))
    if not raw_messages:
        problems.append(Problem("messages", "at least one message is required"))
    messages: list[Message | None] = []
    for i, raw in enumerate(raw_messages):
        where = f"messages[{i}]"
        message: Message | None = read(raw, Message, where, problems)  # type: ignore[arg-type]
        messages.append(message)
        if message is None:
            continue
        if message.content is not None:
            _check_content(message, where, problems)
        if isinstance(message, Assistant):
            _check_assistant(message, where, problems)
    return messages


def _check_content(message: Message, where: str, problems: list[Problem]) -> None:
    content = message.content
    if isinstance(content, str):
        if not content.strip():
            problems.append(Problem(f"{where}.content", "must be at least 1 token long"))
        return
    if not content:
        problems.append(Problem(f"{where}.content", "must have at least one part"))
    allowed = _ALLOWED[type(message)]
    for n, raw in enumerate(content or []):
        at = f"{where}.content[{n}]"
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in allowed:
            problems.append(Problem(at, f"parts here are {' or '.join(allowed)}, not {kind!r}"))
            continue
        part = read(raw, _PARTS[kind], at, problems)
        if isinstance(part, Text) and not part.text.strip():
            problems.append(Problem(f"{at}.text", "must be at least 1 token long"))


def _check_assistant(message: Assistant, where: str, problems: list[Problem]) -> None:
    calls, content = message.tool_calls, message.content
    kinds = ["text"] if isinstance(content, str) else [str(p.get("type")) for p in content or []]
    if calls == []:
        problems.append(Problem(f"{where}.tool_calls", "must not be empty; leave it out if there is none"))
    if calls and "text" in kinds:
        problems.append(Problem(f"{where}.content", "text content is not allowed when tool_calls are provided"))
    if not calls and "text" not in kinds:
        problems.append(Problem(where, "must have text content or tool_calls"))
    if message.tool_plan is not None and not (calls and message.tool_plan.strip()):
        problems.append(Problem(f"{where}.tool_plan", "must not be blank, and goes with tool_calls"))
    for n, call in enumerate(calls or []):
        if not _is_object_text(call.function.arguments):
            problems.append(Problem(f"{where}.tool_calls[{n}].function.arguments", "must be a JSON object"))
    for n, citation in enumerate(message.citations or []):
        index = citation.content_index
        if index is not None and not (0 <= index < len(kinds) and kinds[index] == "text"):
            problems.append(Problem(f"{where}.citations[{n}].content_index", f"{index} is no text of this message"))


def _is_object_text(text: str) -> bool:
    try:
        return is_object(json.loads(text))
    except ValueError:
        return False


def _check_pairing(messages: list[Message | None], problems: list[Problem]) -> None:
    """Each call is answered once, by tool messages right after it; nothing else is answered. Ids are unique throughout."""
    asked: list[str] = []
    answered: list[str] = []

    def settle(where: str) -> None:
        if missing := [id for id in asked if id not in answered]:
            problems.append(Problem(where, f"tool calls without a result: {', '.join(missing)}"))

    every: list[str] = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, Tool):
            settle(where)
            asked, answered = [], []
            if isinstance(message, Assistant):
                asked = [c.id for c in message.tool_calls or []]
                every += asked
            continue
        id = message.tool_call_id
        if id not in asked:
            problems.append(Problem(f"{where}.tool_call_id", f"{id!r} is not among the calls right before"))
        elif id in answered:
            problems.append(Problem(f"{where}.tool_call_id", f"{id!r} is answered twice"))
        answered.append(id)
    settle("messages")
    problems += [Problem("messages", f"call ids must be unique: {id}") for id in repeats(every)]


def _check_images(messages: list[Message | None], problems: list[Problem]) -> None:
    urls: list[str] = []
    for message in messages:
        content: Any = message.content if isinstance(message, User) else None
        urls += [str(as_object(p.get("image_url")).get("url", "")) for p in as_list(content) if "image_url" in p]
    inline = [url.partition(",")[2] for url in urls if url.startswith("data:")]
    if any(not decoded_size(data) for data in inline):
        problems.append(Problem("messages", "an image's data URL must carry base64 and not be empty"))
    if len(urls) > MAX_IMAGES:
        problems.append(Problem("messages", f"at most {MAX_IMAGES} images, not {len(urls)}"))
    if (size := sum([len(data) * 3 // 4 for data in inline])) > MAX_IMAGE_BYTES_TOTAL:
        problems.append(Problem("messages", f"images have at most 20 MB together, these about {size} bytes"))
