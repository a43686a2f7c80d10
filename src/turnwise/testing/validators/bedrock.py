"""The rules of AWS Bedrock's Converse API that a request must keep.

Sources: docs.aws.amazon.com/bedrock, API reference of Converse and its content blocks (fields, patterns, sizes, "at most 20
images, 5 documents"), prompt caching (4 checkpoints), tool use; and the API's own error messages for what the reference leaves
out: alternation, blank text, names of documents, tools in the history, where a cache point may stand.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from ...wire.percent import decoded
from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, read, repeats

MAX_IMAGES = 20
MAX_IMAGE_BYTES = 3_750_000
MAX_DOCUMENTS = 5
MAX_DOCUMENT_BYTES = 4_500_000
MAX_CACHE_POINTS = 4
_CALL_ID = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
"""Stricter than the reference of today, which also takes `.` and `:`: what was recorded of older models does not."""
_NAME = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
_FILE_NAME = Annotated[str, msgspec.Meta(pattern=r"^(?!.*\s\s)[a-zA-Z0-9\s\-()\[\]]{1,200}$")]
_PATH = re.compile(r"(?:/bedrock)?/model/([^/]{1,2048})/converse(-stream)?")
_ROLES = ("user", "assistant", "system")

Text = Annotated[str, msgspec.Meta(min_length=1)]


class CachePoint(Closed):
    type: Literal["default"]
    ttl: Literal["5m", "1h"] | None = None


class S3Location(Closed):
    uri: Annotated[str, msgspec.Meta(pattern="^s3://[a-z0-9]")]
    bucketOwner: str | None = None


class Bytes(Closed):
    """Where the data is: one of the two."""

    bytes: str | None = None
    s3Location: S3Location | None = None


class Image(Closed):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: Bytes


class Document(Closed):
    name: _FILE_NAME
    source: dict[str, Any]
    format: Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | None = None
    context: str | None = None
    citations: dict[str, bool] | None = None


class Audio(Closed):
    format: str
    source: Bytes


class Video(Closed):
    format: str
    source: Bytes


class ToolUse(Closed):
    toolUseId: _CALL_ID
    name: _NAME
    input: dict[str, Any]
    type: Literal["server_tool_use"] | None = None


class ToolResult(Closed):
    toolUseId: _CALL_ID
    content: list[dict[str, Any]]
    status: Literal["success", "error"] | None = None
    type: str | None = None


class ReasoningText(Closed):
    text: str
    signature: Text


class Reasoning(Closed):
    reasoningText: ReasoningText | None = None
    redactedContent: Text | None = None


class Citations(Closed):
    citations: tuple[dict[str, Any], ...] = ()
    content: tuple[dict[str, str], ...] = ()


class ToolSpec(Closed):
    name: _NAME
    inputSchema: dict[str, Any]
    description: Text | None = None
    strict: bool | None = None


class SystemTool(Closed):
    name: _NAME


class InferenceConfig(Closed):
    maxTokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: float | None = None
    topP: float | None = None
    stopSequences: tuple[Text, ...] = ()


class JsonSchema(Closed):
    schema: str
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]+$")] | None = None
    description: str | None = None


class Structure(Closed):
    jsonSchema: JsonSchema


class TextFormat(Closed):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(Closed):
    textFormat: TextFormat | None = None
    effort: str | None = None


class Body(Closed):
    """The request. What only some callers send is not read further."""

    messages: list[dict[str, Any]]
    system: tuple[dict[str, Any], ...] = ()
    inferenceConfig: InferenceConfig | None = None
    toolConfig: dict[str, Any] | None = None
    outputConfig: OutputConfig | None = None
    additionalModelRequestFields: dict[str, Any] | None = None
    additionalModelResponseFieldPaths: list[str] | None = None
    guardrailConfig: dict[str, Any] | None = None
    promptVariables: dict[str, Any] | None = None
    requestMetadata: dict[str, str] | None = None
    performanceConfig: dict[str, str] | None = None
    serviceTier: dict[str, str] | None = None


_KINDS: dict[str, type[Closed] | type[str]] = {
    "text": str,
    "image": Image,
    "document": Document,
    "audio": Audio,
    "video": Video,
    "toolUse": ToolUse,
    "toolResult": ToolResult,
    "reasoningContent": Reasoning,
    "citationsContent": Citations,
    "cachePoint": CachePoint,
    "toolSpec": ToolSpec,
    "systemTool": SystemTool,
}
_ALLOWED = {
    "user": ("text", "image", "document", "audio", "video", "toolResult", "cachePoint"),
    "assistant": ("text", "toolUse", "toolResult", "reasoningContent", "citationsContent", "cachePoint"),
    "toolResult": ("text", "json", "image", "document", "video", "searchResult"),
    "system": ("text", "cachePoint", "guardContent"),
    "tools": ("toolSpec", "systemTool", "cachePoint"),
}
_UNREAD = ("guardContent", "searchResult", "toolAddition", "toolRemoval", "json")
"""Blocks that are let through unread."""

Block = tuple[str, Any]
"""What a block is, and its typed value; None if it could not be read."""


def check(body: dict[str, Any], path: str = "") -> list[Problem]:
    """The problems of a request body for POST /model/{model}/converse or /converse-stream; none if the list is empty."""
    problems: list[Problem] = []
    if path:
        _check_path(path.partition("?")[0], problems)
    read_body = read(body, Body, "", problems)
    _check_settings(body, problems)
    names = _check_tools(body, problems)
    turns = _read_messages(body, problems)
    for i, raw in enumerate(as_list(body.get("system"))):
        _read_block(raw, "system", f"system.{i}", problems)
    _check_turns(turns, problems)
    _check_pairing(turns, problems)
    _check_sizes(body, turns, problems)
    if not names and any(kind in ("toolUse", "toolResult") for _, blocks in turns for kind, _ in blocks):
        what = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        problems.append(Problem("toolConfig", what))
    if read_body is not None and "/anthropic." in path.replace("us.", "").replace("eu.", ""):
        _check_claude(read_body, turns, problems)
    return problems


def _check_path(path: str, problems: list[Problem]) -> None:
    found = _PATH.fullmatch(path)
    if found is None:
        problems.append(Problem("path", f"{path!r} is not one of Converse"))
    elif not re.fullmatch(r"[a-zA-Z0-9_.:/-]+", decoded(found[1])):
        problems.append(Problem("modelId", "The provided model identifier is invalid."))


# --- settings and tools


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    inference = as_object(body.get("inferenceConfig"))
    for name in ("temperature", "topP"):
        number_in(inference, name, 0, 1, problems)
    for i, stop in enumerate(as_list(inference.get("stopSequences"))):
        if isinstance(stop, str) and not stop.strip():
            problems.append(Problem(f"inferenceConfig.stopSequences.{i}", "a stop sequence must not be blank"))


def _check_tools(body: dict[str, Any], problems: list[Problem]) -> list[str]:
    """The names of the tools that are offered."""
    config = as_object(body.get("toolConfig"))
    if not config:
        return []
    problems += [Problem(f"toolConfig.{n}", "unknown field") for n in config if n not in ("tools", "toolChoice")]
    names: list[str] = []
    for i, raw in enumerate(as_list(config.get("tools"))):
        kind, tool = _read_block(raw, "tools", f"toolConfig.tools.{i}", problems)
        if isinstance(tool, ToolSpec | SystemTool):
            names.append(tool.name)
        if isinstance(tool, ToolSpec) and not is_object(tool.inputSchema.get("json")):
            problems.append(Problem(f"toolConfig.tools.{i}.{kind}.inputSchema.json", "must be an object"))
    if not names:
        problems.append(Problem("toolConfig.tools", "at least one tool is required"))
    problems += [Problem("toolConfig.tools", f"tool names must be unique: {name}") for name in repeats(names)]
    choice = as_object(config.get("toolChoice"))
    if config.get("toolChoice") is not None and (len(choice) != 1 or next(iter(choice)) not in ("auto", "any", "tool")):
        problems.append(Problem("toolConfig.toolChoice", "must be one of auto, any, tool"))
    if "tool" in choice and as_object(choice["tool"]).get("name") not in names:
        problems.append(Problem("toolConfig.toolChoice.tool.name", "no tool has this name"))
    return names


def _check_claude(body: Body, turns: list[tuple[str, list[Block]]], problems: list[Problem]) -> None:
    """Claude's own rules while it thinks by budget."""
    more = body.additionalModelRequestFields or {}
    thinking = as_object(more.get("thinking"))
    if thinking.get("type") != "enabled":
        return
    budget, config = thinking.get("budget_tokens"), body.inferenceConfig or InferenceConfig()
    if not isinstance(budget, int) or budget < 1024:
        problems.append(Problem("thinking.enabled.budget_tokens", "must be at least 1024"))
    elif config.maxTokens is not None and config.maxTokens <= budget:
        problems.append(Problem("inferenceConfig.maxTokens", f"must be greater than thinking.budget_tokens ({budget})"))
    if config.temperature not in (None, 1):
        problems.append(Problem("inferenceConfig.temperature", "may only be 1 when thinking is enabled"))
    if set(as_object(as_object(body.toolConfig).get("toolChoice"))) & {"any", "tool"}:
        problems.append(Problem("toolConfig.toolChoice", "thinking may not be enabled when a tool is forced"))
    begun: list[Block] | None = None
    for role, blocks in reversed(turns):
        if role == "user" and not any(kind == "toolResult" for kind, _ in blocks):
            break
        if role == "assistant":
            begun = blocks
    if begun and turns[-1][0] == "user" and begun[0][0] != "reasoningContent":
        problems.append(
            Problem("messages", "the turn of a tool loop must start with reasoning when thinking is enabled")
        )


# --- messages


def _read_messages(body: dict[str, Any], problems: list[Problem]) -> list[tuple[str, list[Block]]]:
    turns: list[tuple[str, list[Block]]] = []
    raw_messages = as_list(body.get("messages"))
    if not raw_messages:
        problems.append(Problem("messages", "at least one message is required"))
    for i, raw in enumerate(raw_messages):
        where, message = f"messages.{i}", as_object(raw)
        role = message.get("role")
        problems += [Problem(f"{where}.{n}", "unknown field") for n in message if n not in ("role", "content")]
        if role not in _ROLES:
            problems.append(Problem(f"{where}.role", f"must be one of {', '.join(_ROLES)}"))
            continue
        content = as_list(message.get("content"))
        if not content:
            problems.append(Problem(f"{where}.content", "must not be empty"))
        blocks = [_read_block(b, str(role), f"{where}.content.{n}", problems) for n, b in enumerate(content)]
        _check_content(blocks, str(role), where, problems)
        turns.append((str(role), blocks))
    return turns


def _read_block(raw: object, owner: str, where: str, problems: list[Problem]) -> Block:
    fields = as_object(raw)
    if len(fields) != 1:
        problems.append(Problem(where, "a block must hold exactly one member"))
        return "", None
    kind, value = next(iter(fields.items()))
    if kind not in _ALLOWED[owner] and kind not in _UNREAD:
        problems.append(Problem(where, f"extraneous key [{kind}] is not permitted"))
        return "", None
    if kind in _UNREAD:
        return kind, None
    block = read(value, _KINDS[kind], f"{where}.{kind}", problems)
    if isinstance(block, str) and not block.strip():
        problems.append(Problem(f"{where}.text", "the text field is blank"))
    if isinstance(block, Reasoning) and (block.reasoningText is None) == (block.redactedContent is None):
        problems.append(Problem(where, "reasoning must hold exactly one member"))
    if isinstance(block, Citations):
        blank = not block.citations or any(not part.get("text", "").strip() for part in block.content)
        problems += [Problem(where, "citations and the text they are of must not be empty")] if blank else []
    if isinstance(block, Image | Audio | Document):
        _check_media(block, where, problems)
    if isinstance(block, ToolResult):
        for n, inner in enumerate(block.content):
            _read_block(inner, "toolResult", f"{where}.toolResult.content.{n}", problems)
        if not block.content:
            problems.append(Problem(where, "a result must not be empty"))
    return kind, block


def _check_media(block: Image | Audio | Document, where: str, problems: list[Problem]) -> None:
    source = block.source if isinstance(block.source, dict) else msgspec.to_builtins(block.source)
    given = {name: value for name, value in source.items() if value is not None}
    if len(given) != 1:
        problems.append(Problem(f"{where}.source", "must hold exactly one member"))
        return
    data = given.get("bytes")
    if data is None:
        return
    size = decoded_size(data) if isinstance(data, str) else None
    longest = (
        MAX_IMAGE_BYTES if isinstance(block, Image) else MAX_DOCUMENT_BYTES if isinstance(block, Document) else size
    )
    if not size:
        problems.append(Problem(f"{where}.source.bytes", "must be base64 and not empty"))
    elif longest is not None and size > longest:
        problems.append(Problem(f"{where}.source.bytes", f"at most {longest} bytes are taken, not {size}"))


def _check_content(blocks: list[Block], role: str, where: str, problems: list[Problem]) -> None:
    kinds = [kind for kind, _ in blocks]
    if "document" in kinds and "text" not in kinds:
        problems.append(Problem(where, "A conversation that includes documents must also include a text block."))
    for n, kind in enumerate(kinds):
        if kind == "cachePoint" and (n == 0 or kinds[n - 1] in ("reasoningContent", "document")):
            problems.append(Problem(f"{where}.content.{n}", "a cache point cannot stand here"))
    if role == "assistant" and kinds and kinds[-1] == "reasoningContent":
        problems.append(Problem(where, "the final block in an assistant message cannot be reasoning"))


def _check_turns(turns: list[tuple[str, list[Block]]], problems: list[Problem]) -> None:
    said = [role for role, _ in turns if role != "system"]
    if said and said[0] != "user":
        problems.append(Problem("messages.0", "A conversation must start with a user message."))
    if any(a == b for a, b in pairwise(said)):
        problems.append(Problem("messages", "A conversation must alternate between user and assistant roles."))
    last = turns[-1][1][-1] if turns and turns[-1][1] else ("", None)
    if said and said[-1] == "assistant" and isinstance(last[1], str) and last[1] != last[1].rstrip():
        problems.append(Problem("messages", "final assistant content cannot end with trailing whitespace"))


def _check_pairing(turns: list[tuple[str, list[Block]]], problems: list[Problem]) -> None:
    """Each call is answered once, in the next message. What Bedrock ran itself is answered where it was called."""
    calls = [b.toolUseId for _, blocks in turns for _, b in blocks if isinstance(b, ToolUse)]
    problems += [Problem("messages", f"toolUse ids must be unique: {id}") for id in repeats(calls)]
    open_ids: list[str] = []
    for n, (role, blocks) in enumerate(turns):
        where = f"messages.{n}"
        answered = [b.toolUseId for _, b in blocks if isinstance(b, ToolResult)] if role == "user" else []
        if role == "user":
            problems += [
                Problem(where, f"Expected toolResult blocks for the following Ids: {id}")
                for id in open_ids
                if id not in answered
            ]
            problems += [
                Problem(where, f"toolResult {id} has no toolUse in the message before")
                for id in answered
                if id not in open_ids
            ]
            problems += [Problem(where, f"toolUse {id} has more than one toolResult") for id in repeats(answered)]
        open_ids = [b.toolUseId for _, b in blocks if isinstance(b, ToolUse) and b.type is None]
    for id in open_ids:
        problems.append(Problem(f"messages.{len(turns) - 1}", f"toolUse {id} has no toolResult in a next message"))


def _check_sizes(body: dict[str, Any], turns: list[tuple[str, list[Block]]], problems: list[Problem]) -> None:
    blocks = [b for _, found in turns for b in found]
    names = [b.name for _, b in blocks if isinstance(b, Document)]
    for _, block in blocks:
        for raw in block.content if isinstance(block, ToolResult) else []:
            names += [str(as_object(raw["document"]).get("name"))] if "document" in raw else []
    if repeats(names):
        problems.append(Problem("messages", "Messages can't contain duplicate document names."))
    for n, (_, found) in enumerate(turns):
        kinds = [kind for kind, _ in found]
        for kind, most in (("image", MAX_IMAGES), ("document", MAX_DOCUMENTS)):
            if kinds.count(kind) > most:
                problems.append(Problem(f"messages.{n}", f"at most {most} blocks of {kind} are taken in a message"))
    rest = [*as_list(body.get("system")), *as_list(as_object(body.get("toolConfig")).get("tools"))]
    points = sum(kind == "cachePoint" for kind, _ in blocks) + sum("cachePoint" in as_object(raw) for raw in rest)
    if points > MAX_CACHE_POINTS:
        problems.append(Problem("messages", f"at most {MAX_CACHE_POINTS} cache points are taken, found {points}"))
