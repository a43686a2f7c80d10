"""The rules of Google's generateContent API that a request must keep, at AI Studio and at Vertex AI.

Sources: ai.google.dev/api/generate-content and /api/caching (fields, ranges), the guides on function calling, thinking, thought
signatures and structured output, docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference, and the APIs' own refusals:
calls follow a user's turn, as many results follow them at once, text may not be empty, calls of Gemini 3 are signed. Which
model and platform are meant is told by the path.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

MAX_STOP_SEQUENCES = 5
MAX_INLINE_BYTES = 100 * 1024 * 1024
MAX_FUNCTIONS = 512
NAME = r"^[A-Za-z_][A-Za-z0-9_.:-]{0,127}$"

_NAMES = "contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent serviceTier store"
_GENERATION_NAMES = (
    "stopSequences responseMimeType responseSchema responseJsonSchema responseModalities candidateCount maxOutputTokens"
    " temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs logprobs enableEnhancedCivicAnswers"
    " speechConfig thinkingConfig imageConfig mediaResolution audioTimestamp routingConfig modelSelectionConfig"
)
_TOOL_NAMES = (
    "functionDeclarations googleSearch googleSearchRetrieval codeExecution urlContext googleMaps computerUse fileSearch"
    " mcpServers retrieval enterpriseWebSearch parallelAiSearch exaAiSearch"
)
_FIELDS = frozenset(_NAMES.split())
_VERTEX_FIELDS = frozenset(("labels", "modelArmorConfig"))
_GENERATION = frozenset(_GENERATION_NAMES.split())
_TOOLS = frozenset(_TOOL_NAMES.split())
_TOOL_CONFIG = ("functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations")
_CALLING = ("mode", "allowedFunctionNames", "streamFunctionCallArguments")
_THINKING = ("includeThoughts", "thinkingBudget", "thinkingLevel")
_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_MODES = ("AUTO", "ANY", "NONE", "VALIDATED")
_NOT_AT_VERTEX = ("toolCall", "toolResponse", "partMetadata")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class FunctionCall(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    args: dict[str, Any] | None = None
    id: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class FunctionResponse(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    response: dict[str, Any]
    id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    parts: list[dict[str, Any]] | None = None
    willContinue: bool | None = None
    scheduling: Literal["SILENT", "WHEN_IDLE", "INTERRUPT"] | None = None


class Blob(Closed):
    mimeType: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+/[A-Za-z0-9.+_-]+$")]
    data: Annotated[str, msgspec.Meta(min_length=1)]
    displayName: str | None = None


class FileData(Closed):
    fileUri: Annotated[str, msgspec.Meta(pattern=r"^(https?|gs)://")]
    mimeType: str | None = None
    displayName: str | None = None


class Part(Closed):
    text: str | None = None
    inlineData: Blob | None = None
    fileData: FileData | None = None
    functionCall: FunctionCall | None = None
    functionResponse: FunctionResponse | None = None
    executableCode: dict[str, Any] | None = None
    codeExecutionResult: dict[str, Any] | None = None
    toolCall: dict[str, Any] | None = None
    toolResponse: dict[str, Any] | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    videoMetadata: dict[str, Any] | None = None
    mediaResolution: dict[str, Any] | None = None
    partMetadata: dict[str, Any] | None = None


_BESIDE = ("thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata")
_DATA = tuple([name for name in Part.__struct_fields__ if name not in _BESIDE])
_OF_MODEL = ("functionCall", "executableCode", "codeExecutionResult", "toolCall", "toolResponse")


class Content(Closed):
    role: Literal["user", "model"]
    parts: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]


class Instruction(Closed):
    parts: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    role: str | None = None


class Declaration(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parametersJsonSchema: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    responseJsonSchema: dict[str, Any] | None = None
    behavior: str | None = None


class Where(msgspec.Struct, frozen=True):
    """What a request's path says."""

    model: str
    is_vertex: bool

    @property
    def version(self) -> float:
        """Of the model; that of the newest if its name has none."""
        found = re.match(r"gemini-(\d+(?:\.\d+)?)", self.model)
        return float(found[1]) if found else 99.0


class Turn(msgspec.Struct, frozen=True):
    """A content with its parts read, as far as they can be."""

    where: str
    role: str
    parts: list[Part]

    @property
    def calls(self) -> list[FunctionCall]:
        return [p.functionCall for p in self.parts if p.functionCall is not None]

    @property
    def answers(self) -> list[FunctionResponse]:
        return [p.functionResponse for p in self.parts if p.functionResponse is not None]


def check(body: dict[str, Any], path: str = "") -> list[Problem]:
    """The problems of a request body for POST …:generateContent or …:streamGenerateContent; none if the list is empty."""
    problems: list[Problem] = []
    at = _where(path)
    known = _FIELDS | _VERTEX_FIELDS if at.is_vertex or not path else _FIELDS
    problems += [Problem(name, "is no field of a request") for name in body if name not in known]
    turns = _turns(body.get("contents"), at, problems)
    _check_instruction(body.get("systemInstruction"), problems)
    names = _check_tools(body.get("tools"), problems)
    _check_tool_config(body.get("toolConfig"), names, problems)
    _check_generation(body.get("generationConfig"), bool(names), at, problems)
    _check_safety(body.get("safetySettings"), problems)
    if body.get("cachedContent") is not None:
        for name in ("systemInstruction", "tools", "toolConfig"):
            if body.get(name):
                problems.append(Problem("cachedContent", f"cannot be used together with {name}"))
    _check_order(turns, problems)
    _check_calls(turns, at, problems)
    return problems


def _where(path: str) -> Where:
    found = re.search(r"/(?:models|tunedModels|endpoints)/([^/:?]+)", path)
    return Where(found[1].lower() if found else "", "/publishers/" in path or "/endpoints/" in path)


# --- contents -----------------------------------------------------------------------------------------------------------


def _turns(contents: object, at: Where, problems: list[Problem]) -> list[Turn]:
    listed = as_list(contents)
    if not listed:
        problems.append(Problem("contents", "must hold at least one content"))
    turns: list[Turn] = []
    inline = 0
    for index, raw in enumerate(listed):
        where = f"contents[{index}]"
        content = read(raw, Content, where, problems)
        if content is None:
            continue
        parts: list[Part] = []
        for nth, one in enumerate(content.parts):
            part = read(one, Part, f"{where}.parts[{nth}]", problems)
            if part is not None:
                _check_part(part, content.role, f"{where}.parts[{nth}]", at, problems)
                inline += (_size(part.inlineData) or 0) if part.inlineData else 0
                parts.append(part)
        turns.append(Turn(where, content.role, parts))
    if inline > MAX_INLINE_BYTES:
        problems.append(Problem("contents", f"hold more than {MAX_INLINE_BYTES} bytes of inline data"))
    return turns


def _check_part(part: Part, role: str, where: str, at: Where, problems: list[Problem]) -> None:
    held = [name for name in _DATA if getattr(part, name) is not None]
    if len(held) != 1:
        problems.append(Problem(where, f"must hold exactly one kind of data, not {', '.join(held) or 'none'}"))
    if part.text is not None and not part.text.strip() and not part.thoughtSignature:
        problems.append(Problem(f"{where}.text", "must not be blank"))
    if role == "user":
        of_model = [n for n in held if n in _OF_MODEL] + (["thought"] if part.thought else [])
        problems += [Problem(f"{where}.{name}", "belongs to the model") for name in of_model]
    elif part.functionResponse is not None:
        problems.append(Problem(f"{where}.functionResponse", "belongs to the user"))
    signature = part.thoughtSignature
    if signature is not None and not _BASE64.fullmatch(signature):
        problems.append(Problem(f"{where}.thoughtSignature", "must be base64"))
    if part.inlineData is not None and _size(part.inlineData) is None:
        problems.append(Problem(f"{where}.inlineData.data", "must be base64"))
    if at.is_vertex:
        for name in _NOT_AT_VERTEX:
            if getattr(part, name) is not None:
                problems.append(Problem(f"{where}.{name}", "is not known to Vertex AI"))
        if part.fileData is not None and not part.fileData.mimeType:
            problems.append(Problem(f"{where}.fileData.mimeType", "is required"))


def _size(blob: Blob) -> int | None:
    """How many bytes; None if it is not base64, of which both alphabets are taken."""
    return decoded_size(blob.data.replace("-", "+").replace("_", "/"))


def _check_order(turns: list[Turn], problems: list[Problem]) -> None:
    if not turns:
        return
    if turns[0].role != "user":
        problems.append(Problem(turns[0].where, "must be the user's: a conversation begins with the user"))
    if turns[-1].role != "user":
        problems.append(Problem(turns[-1].where, "must be the user's: a request ends with the user or with results"))
    for before, turn in pairwise(turns):
        if turn.calls and before.role != "user":
            what = "has calls, which must come immediately after a user turn or after a function response turn"
            problems.append(Problem(turn.where, what))


def _check_calls(turns: list[Turn], at: Where, problems: list[Problem]) -> None:
    """Every call has its result, all those of a turn in the content that follows, with the same names and ids."""
    for before, turn in zip([None, *turns], [*turns, None], strict=True):
        calls = before.calls if before else []
        answers = turn.answers if turn else []
        where = turn.where if turn else before.where if before else ""
        if len(calls) != len(answers):
            problems.append(Problem(where, f"has {len(answers)} function responses for {len(calls)} function calls"))
            continue
        if sorted([c.name for c in calls]) != sorted([a.name for a in answers]):
            problems.append(Problem(where, "answers functions of other names than were called"))
        if sorted([c.id or "" for c in calls]) != sorted([a.id or "" for a in answers]):
            problems.append(Problem(where, "answers calls of other ids than were made"))
    again = repeats([c.id for t in turns for c in t.calls if c.id])
    problems += [Problem("contents", f"the call id {id!r} occurs twice") for id in again]
    if at.version >= 3:
        _check_signatures(turns, problems)


def _check_signatures(turns: list[Turn], problems: list[Problem]) -> None:
    """Within the current turn, which begins with the user's last own words, the first call of each step is signed."""
    begin = max([i for i, t in enumerate(turns) if t.role == "user" and not t.answers], default=0)
    for turn in turns[begin:]:
        first = next((p for p in turn.parts if p.functionCall is not None), None)
        if first is not None and not first.thoughtSignature:
            problems.append(Problem(turn.where, "its first function call is missing a thought_signature"))


def _check_instruction(value: object, problems: list[Problem]) -> None:
    if value is None:
        return
    instruction = read(value, Instruction, "systemInstruction", problems)
    for index, raw in enumerate(instruction.parts if instruction else []):
        text = raw.get("text")
        if set(raw) != {"text"} or not isinstance(text, str) or not text.strip():
            problems.append(Problem(f"systemInstruction.parts[{index}]", "must be text that is not blank"))


# --- tools --------------------------------------------------------------------------------------------------------------


def _check_tools(value: object, problems: list[Problem]) -> list[str]:
    """The names of the functions that are declared."""
    names: list[str] = []
    for index, tool in enumerate(as_list(value)):
        where = f"tools[{index}]"
        if not is_object(tool) or not tool:
            problems.append(Problem(where, "must be an object that names a tool"))
            continue
        problems += [Problem(f"{where}.{name}", "is no tool") for name in as_object(tool) if name not in _TOOLS]
        for nth, raw in enumerate(as_list(as_object(tool).get("functionDeclarations"))):
            declared = read(raw, Declaration, f"{where}.functionDeclarations[{nth}]", problems)
            if declared is None:
                continue
            names.append(declared.name)
            if declared.parameters is not None and declared.parametersJsonSchema is not None:
                what = "parameters and parametersJsonSchema exclude each other"
                problems.append(Problem(f"{where}.functionDeclarations[{nth}]", what))
            schema = declared.parametersJsonSchema
            if schema is not None and schema.get("type") != "object":
                problems.append(
                    Problem(f"{where}.functionDeclarations[{nth}].parametersJsonSchema", "must be an object's")
                )
    problems += [Problem("tools", f"the function {name!r} is declared twice") for name in repeats(names)]
    if len(names) > MAX_FUNCTIONS:
        problems.append(Problem("tools", f"at most {MAX_FUNCTIONS} functions may be declared"))
    return names


def _check_tool_config(value: object, names: list[str], problems: list[Problem]) -> None:
    config = as_object(value)
    where = "toolConfig.functionCallingConfig"
    problems += [Problem(f"toolConfig.{n}", "is no field of toolConfig") for n in config if n not in _TOOL_CONFIG]
    calling = as_object(config.get("functionCallingConfig"))
    problems += [Problem(f"{where}.{name}", "is no field of it") for name in calling if name not in _CALLING]
    one_of(calling, "mode", _MODES, problems)
    allowed = as_list(calling.get("allowedFunctionNames"))
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        problems.append(Problem(where, "allowedFunctionNames need the mode ANY or VALIDATED"))
    problems += [Problem(where, f"{name!r} is not declared") for name in allowed if name not in names]
    if calling.get("mode") in ("ANY", "VALIDATED") and not names:
        problems.append(Problem(where, "no function is declared that could be called"))


# --- the rest -----------------------------------------------------------------------------------------------------------


def _check_generation(value: object, has_functions: bool, at: Where, problems: list[Problem]) -> None:
    config = as_object(value)
    found: list[Problem] = [Problem(n, "is no field of generationConfig") for n in config if n not in _GENERATION]
    number_in(config, "temperature", 0, 2, found)
    number_in(config, "topP", 0, 1, found)
    number_in(config, "topK", 1, 1e6, found)
    number_in(config, "maxOutputTokens", 1, 1e7, found)
    number_in(config, "candidateCount", 1, 8, found)
    number_in(config, "seed", -(2**31), 2**31 - 1, found)
    number_in(config, "presencePenalty", -2, 2, found)
    number_in(config, "frequencyPenalty", -2, 2, found)
    stops = as_list(config.get("stopSequences"))
    if len(stops) > MAX_STOP_SEQUENCES or any(not isinstance(s, str) or not s for s in stops):
        found.append(Problem("stopSequences", f"must be at most {MAX_STOP_SEQUENCES} texts that are not empty"))
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if config.get(name) is not None]
    if len(schemas) > 1:
        found.append(Problem("responseSchema", "and responseJsonSchema exclude each other"))
    if schemas and config.get("responseMimeType") != "application/json":
        found.append(Problem(schemas[0], "needs the responseMimeType application/json"))
    if config.get("responseMimeType") == "application/json" and has_functions and at.version < 3:
        found.append(Problem("responseMimeType", "function calling with application/json is unsupported by this model"))
    _check_thinking(config.get("thinkingConfig"), at, found)
    problems += [Problem(f"generationConfig.{p.where}", p.what) for p in found]


def _check_thinking(value: object, at: Where, found: list[Problem]) -> None:
    config = as_object(value)
    found += [Problem(f"thinkingConfig.{name}", "is no field of it") for name in config if name not in _THINKING]
    one_of(config, "thinkingLevel", (*_LEVELS, *[level.lower() for level in _LEVELS]), found)
    number_in(config, "thinkingBudget", -1, 1e6, found)
    if config.get("thinkingLevel") is not None and config.get("thinkingBudget") is not None:
        found.append(Problem("thinkingConfig", "thinkingLevel and thinkingBudget exclude each other"))
    if config.get("thinkingLevel") is not None and at.version < 3:
        found.append(Problem("thinkingConfig.thinkingLevel", "is not supported by models before Gemini 3"))


def _check_safety(value: object, problems: list[Problem]) -> None:
    settings = [as_object(s) for s in as_list(value)]
    for index, setting in enumerate(settings):
        if not {"category", "threshold"} <= set(setting) <= {"category", "threshold", "method"}:
            problems.append(Problem(f"safetySettings[{index}]", "must have a category and a threshold"))
    again = repeats([str(s.get("category")) for s in settings])
    problems += [Problem("safetySettings", f"{category} is set twice") for category in again]
