"""The rules of Anthropic's Messages API that a request must keep.

Sources: docs.claude.com/en/api/messages, /en/api/errors (32 MB), tool use ("results first in the next user message"), extended
thinking (budget, temperature, forced tool choice, thinking kept inside a tool loop), vision (images per request, 5 MB each).
Unknown block types of server tools and betas are let through unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

MAX_IMAGES = 100
MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_CACHE_BREAKPOINTS = 4
MIN_THINKING_TOKENS = 1024
NAME = r"^[a-zA-Z0-9_-]{1,128}$"
CALL_ID = r"^[a-zA-Z0-9_-]+$"
INTERLEAVED = "interleaved-thinking-2025-05-14"

_NAMES = (
    "model messages max_tokens system tools tool_choice stop_sequences stream temperature top_p top_k thinking metadata"
    " service_tier cache_control container context_management mcp_servers output_config output_format inference_geo"
    " speed diagnostics user_profile_id workspace_id betas"
)
_FIELDS = frozenset(_NAMES.split())


class CacheControl(Closed):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Text(Closed):
    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: list[Any] | None = None


class Base64(Closed, tag_field="type", tag="base64"):
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class ImageUrl(Closed, tag_field="type", tag="url"):
    url: Annotated[str, msgspec.Meta(pattern="^https?://")]


class ImageFile(Closed, tag_field="type", tag="file"):
    file_id: str


class Image(Closed):
    type: Literal["image"]
    source: Base64 | ImageUrl | ImageFile
    cache_control: CacheControl | None = None
    transformations: dict[str, Any] | None = None


class Document(Closed):
    type: Literal["document"]
    source: dict[str, Any]
    cache_control: CacheControl | None = None
    citations: dict[str, Any] | None = None
    context: str | None = None
    title: str | None = None


class Thinking(Closed):
    type: Literal["thinking"]
    thinking: str
    signature: Annotated[str, msgspec.Meta(min_length=1)]


class RedactedThinking(Closed):
    type: Literal["redacted_thinking"]
    data: Annotated[str, msgspec.Meta(min_length=1)]


class ToolUse(Closed):
    type: Literal["tool_use"]
    id: Annotated[str, msgspec.Meta(pattern=CALL_ID)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


class ToolResult(Closed):
    type: Literal["tool_result"]
    tool_use_id: Annotated[str, msgspec.Meta(pattern=CALL_ID)]
    content: str | list[Any] = ""
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


class Tool(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str = ""
    cache_control: CacheControl | None = None
    strict: bool = False
    allowed_callers: list[str] | None = None
    defer_loading: bool = False
    eager_input_streaming: bool | None = None
    input_examples: list[dict[str, Any]] | None = None


class Message(Closed):
    role: Literal["user", "assistant", "system"]
    content: str | list[Any]


class ThinkingConfig(Closed):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


_BLOCKS: dict[str, type[Closed]] = {
    "text": Text,
    "image": Image,
    "document": Document,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
    "tool_use": ToolUse,
    "tool_result": ToolResult,
}
_ALLOWED = {
    "user": ("text", "image", "document", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use", "document", "image"),
    "system": ("text",),
    "tool_result": ("text", "image", "document"),
}


class Turn(msgspec.Struct):
    """Neighbouring messages of one role, which the API reads as one. A block it does not know is None."""

    role: str
    where: str
    blocks: list[Closed | None]


def check(body: dict[str, Any], *, betas: Iterable[str] = ()) -> list[Problem]:
    """The problems of a request body for POST /v1/messages; none if the list is empty."""
    problems: list[Problem] = [Problem(name, "Extra inputs are not permitted") for name in body if name not in _FIELDS]
    _check_settings(body, problems)
    _check_tools(body, problems)
    turns = _read_messages(body, problems)
    _check_system(body.get("system"), problems)
    _check_order(turns, problems)
    _check_pairing(turns, problems)
    _check_sizes(body, turns, problems)
    _check_thinking(body, turns, frozenset(betas), problems)
    return problems


# --- settings and tools


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append(Problem("model", "a model is required"))
    max_tokens = body.get("max_tokens")
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0:
        problems.append(Problem("max_tokens", "a whole number of tokens is required"))
    number_in(body, "temperature", 0, 1, problems)
    number_in(body, "top_p", 0, 1, problems)
    number_in(body, "top_k", 0, 1e9, problems)
    one_of(body, "stream", (True, False), problems)
    for i, stop in enumerate(read(body.get("stop_sequences") or [], list[str], "stop_sequences", problems) or []):
        if not stop.strip():
            problems.append(Problem(f"stop_sequences.{i}", "a stop sequence must contain non-whitespace"))


def _check_tools(body: dict[str, Any], problems: list[Problem]) -> None:
    tools = as_list(body.get("tools"))
    if body.get("tools") is not None and not isinstance(body["tools"], list):
        problems.append(Problem("tools", "must be an array"))
    for i, raw in enumerate(tools):
        if as_object(raw).get("type") not in (None, "custom"):
            continue
        tool = read(raw, Tool, f"tools.{i}.custom", problems)
        if tool is not None:
            _check_schema(tool.input_schema, f"tools.{i}.custom.input_schema", problems)
    names = [str(as_object(t).get("name")) for t in tools if "name" in as_object(t)]
    problems += [Problem("tools", f"tool names must be unique: {name}") for name in repeats(names)]
    choice = as_object(body.get("tool_choice"))
    if not choice:
        return
    if choice.get("type") not in ("auto", "any", "tool", "none"):
        problems.append(Problem("tool_choice.type", f"unknown value {choice.get('type')!r}"))
    elif not tools and not body.get("mcp_servers"):
        problems.append(Problem("tool_choice", "may only be given together with tools"))
    elif choice["type"] == "tool" and choice.get("name") not in names:
        problems.append(Problem("tool_choice.name", f"no tool is called {choice.get('name')!r}"))


def _check_schema(schema: dict[str, Any], where: str, problems: list[Problem]) -> None:
    if schema.get("type") != "object":
        problems.append(Problem(f"{where}.type", f"must be 'object', not {schema.get('type')!r}"))
    problems += [
        Problem(where, f"{name} is not supported at the top level")
        for name in ("oneOf", "allOf", "anyOf")
        if name in schema
    ]
    properties = schema.get("properties", {})
    if not is_object(properties):
        problems.append(Problem(f"{where}.properties", "must be an object"))
    for name in as_object(properties):
        if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name):
            problems.append(
                Problem(f"{where}.properties", f"property name {name!r} must match ^[a-zA-Z0-9_.-]{{1,64}}$")
            )


def _check_system(system: object, problems: list[Problem]) -> None:
    if system is None or isinstance(system, str):
        return
    for i, raw in enumerate(as_list(system)):
        block = read(raw, Text, f"system.{i}", problems)
        if block is not None and not block.text:
            problems.append(Problem(f"system.{i}", "text content blocks must be non-empty"))
    if not isinstance(system, list):
        problems.append(Problem("system", "must be a string or an array of text blocks"))


# --- messages


def _read_messages(body: dict[str, Any], problems: list[Problem]) -> list[Turn]:
    """All messages as turns; what is malformed is reported and left out."""
    raw_messages = as_list(body.get("messages"))
    if not raw_messages:
        problems.append(Problem("messages", "at least one message is required"))
    turns: list[Turn] = []
    for i, raw in enumerate(raw_messages):
        where = f"messages.{i}"
        message = read(raw, Message, where, problems)
        if message is None:
            continue
        content: list[Any] = (
            [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
        )
        is_last = i == len(raw_messages) - 1
        if not content and not (is_last and message.role == "assistant"):
            problems.append(Problem(where, "messages must have non-empty content"))
        blocks = [_read_block(b, message.role, f"{where}.content.{n}", problems) for n, b in enumerate(content)]
        if message.role == "assistant":
            _check_assistant(blocks, where, problems)
        if turns and turns[-1].role == message.role:
            turns[-1].blocks += blocks
        else:
            turns.append(Turn(message.role, where, blocks))
    return turns


def _read_block(raw: object, owner: str, where: str, problems: list[Problem]) -> Closed | None:
    kind = as_object(raw).get("type")
    if not isinstance(kind, str):
        problems.append(Problem(where, "a block must be an object with a type"))
        return None
    if kind not in _BLOCKS:
        return None
    if kind not in _ALLOWED[owner]:
        problems.append(Problem(where, f"{kind} blocks are not allowed in {owner} content"))
        return None
    block = read(raw, _BLOCKS[kind], f"{where}.{kind}", problems)
    if isinstance(block, Text) and not block.text.strip():
        what = "contain non-whitespace text" if block.text else "be non-empty"
        problems.append(Problem(where, f"text content blocks must {what}"))
    if isinstance(block, Image) and isinstance(block.source, Base64):
        _check_image(block.source, where, problems)
    if isinstance(block, ToolResult):
        if block.is_error and not block.content:
            problems.append(Problem(where, "content cannot be empty if is_error is true"))
        if isinstance(block.content, list):
            for n, inner in enumerate(block.content):
                _read_block(inner, "tool_result", f"{where}.tool_result.content.{n}", problems)
    return block


def _check_image(source: Base64, where: str, problems: list[Problem]) -> None:
    size = decoded_size(source.data)
    if not size:
        problems.append(Problem(f"{where}.source.data", "must be base64 and not empty"))
    elif size > MAX_IMAGE_BYTES:
        problems.append(Problem(f"{where}.source.data", f"an image has at most 5 MB, this one {size} bytes"))


def _check_assistant(blocks: list[Closed | None], where: str, problems: list[Problem]) -> None:
    """Thinking comes first, and is not all there is. Server tools, which may interrupt it, are not judged."""
    if not blocks or None in blocks:
        return
    thinking = [isinstance(b, Thinking | RedactedThinking) for b in blocks]
    if thinking[-1]:
        problems.append(Problem(where, "the final block in an assistant message cannot be thinking"))
    elif any(thinking) and not thinking[0]:
        problems.append(Problem(f"{where}.content.0", "thinking must come before everything else in a message"))
    elif any(thinking[n] for n in range(len(blocks)) if any(isinstance(b, ToolUse) for b in blocks[:n])):
        problems.append(Problem(where, "thinking must come before tool_use"))


def _check_order(turns: list[Turn], problems: list[Problem]) -> None:
    if not turns:
        return
    if turns[0].role != "user":
        problems.append(Problem(turns[0].where, "the first message must have the user role"))
    last = turns[-1]
    if last.role == "assistant" and last.blocks:
        final = last.blocks[-1]
        if isinstance(final, Text) and final.text != final.text.rstrip():
            problems.append(Problem("messages", "final assistant content cannot end with trailing whitespace"))


def _check_pairing(turns: list[Turn], problems: list[Problem]) -> None:
    """Each tool_use is answered once, in the next user turn, before anything else there; nothing else is answered."""
    ids = [b.id for t in turns for b in t.blocks if isinstance(b, ToolUse)]
    problems += [Problem("messages", f"tool_use ids must be unique: {id}") for id in repeats(ids)]
    open_ids: list[str] = []
    for turn in turns:
        answered = [b.tool_use_id for b in turn.blocks if isinstance(b, ToolResult)] if turn.role == "user" else []
        for id in [i for i in open_ids if i not in answered]:
            problems.append(Problem(turn.where, f"tool_use {id} has no tool_result at the start of this message"))
        for id in [i for i in answered if i not in open_ids]:
            problems.append(Problem(turn.where, f"tool_result {id} has no tool_use in the previous message"))
        problems += [Problem(turn.where, f"tool_use {id} has more than one tool_result") for id in repeats(answered)]
        is_result = [isinstance(b, ToolResult) for b in turn.blocks]
        if answered and not all(is_result[: len(answered)]):
            problems.append(Problem(turn.where, "tool_result blocks must come first in the message"))
        open_ids = [b.id for b in turn.blocks if isinstance(b, ToolUse)]
    for id in open_ids:
        problems.append(Problem(turns[-1].where, f"tool_use {id} has no tool_result in a next message"))


def _check_sizes(body: dict[str, Any], turns: list[Turn], problems: list[Problem]) -> None:
    images = breakpoints = 0
    for turn in turns:
        for block in turn.blocks:
            inner = as_list(block.content) if isinstance(block, ToolResult) else []
            images += isinstance(block, Image) + sum(as_object(b).get("type") == "image" for b in inner)
            breakpoints += getattr(block, "cache_control", None) is not None
            breakpoints += sum(as_object(b).get("cache_control") is not None for b in inner)
    for raw in [*as_list(body.get("tools")), *as_list(body.get("system")), body]:
        breakpoints += as_object(raw).get("cache_control") is not None
    if images > MAX_IMAGES:
        problems.append(Problem("messages", f"at most {MAX_IMAGES} images are allowed, found {images}"))
    if breakpoints > MAX_CACHE_BREAKPOINTS:
        what = f"at most {MAX_CACHE_BREAKPOINTS} blocks may have cache_control, found {breakpoints}"
        problems.append(Problem("messages", what))


# --- thinking


def _check_thinking(body: dict[str, Any], turns: list[Turn], betas: frozenset[str], problems: list[Problem]) -> None:
    if body.get("thinking") is None:
        return
    config = read(body["thinking"], ThinkingConfig, "thinking", problems)
    if config is None or config.type != "enabled":
        return
    budget, max_tokens = config.budget_tokens, body.get("max_tokens")
    if budget is None or budget < MIN_THINKING_TOKENS:
        problems.append(Problem("thinking.enabled.budget_tokens", f"must be at least {MIN_THINKING_TOKENS}"))
    elif isinstance(max_tokens, int) and max_tokens <= budget and INTERLEAVED not in betas:
        problems.append(Problem("max_tokens", f"must be greater than thinking.budget_tokens ({budget})"))
    if body.get("temperature") not in (None, 1):
        problems.append(Problem("temperature", "may only be 1 when thinking is enabled"))
    if body.get("top_k") is not None:
        problems.append(Problem("top_k", "must be unset when thinking is enabled"))
    number_in(body, "top_p", 0.95, 1, problems)
    if as_object(body.get("tool_choice")).get("type") in ("any", "tool"):
        problems.append(Problem("tool_choice", "thinking may not be enabled when a tool is forced"))
    if turns and turns[-1].role == "assistant":
        problems.append(Problem(turns[-1].where, "the answer cannot be begun by the caller when thinking is enabled"))
    loop = _loop(turns)
    if loop is not None and not isinstance(loop.blocks[0], Thinking | RedactedThinking | None):
        what = "when thinking is enabled, the turn of a tool loop must start with a thinking block"
        problems.append(Problem(f"{loop.where}.content.0", what))


def _loop(turns: list[Turn]) -> Turn | None:
    """The first assistant turn of the tool loop that this request continues; None if it continues none."""
    first: Turn | None = None
    for turn in reversed(turns):
        if turn.role == "user" and not any(isinstance(b, ToolResult) for b in turn.blocks):
            break
        if turn.role == "assistant" and turn.blocks:
            first = turn
    return first if turns and turns[-1].role == "user" else None
