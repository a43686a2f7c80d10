"""The rules of OpenAI's Responses API that a request must keep.

Sources: platform.openai.com/docs/api-reference/responses/create (fields, ranges, items, tools), the guides on reasoning (an item
of reasoning is followed by what it led to), function calling (an output per call) and conversation state, and the API's own
refusals: "No tool output found for function call …", "Item … of type 'reasoning' was provided without its required following
item", "Items are not persisted when `store` is set to false". Arguments of calls need not be JSON. Items of tools that the
provider runs are looked at as far as their kind and id: their fields are the provider's own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

MAX_TOOLS = 128
MAX_ID_CHARS = 64
MIN_OUTPUT_TOKENS = 16
NAME = r"^[a-zA-Z0-9_-]{1,64}$"

_NAMES = (
    "model input instructions stream stream_options tools tool_choice parallel_tool_calls max_tool_calls temperature top_p"
    " top_logprobs max_output_tokens reasoning text store include metadata user safety_identifier prompt_cache_key"
    " prompt_cache_options prompt_cache_retention service_tier truncation background conversation previous_response_id prompt"
    " context_management moderation"
)
_FIELDS = frozenset(_NAMES.split())
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_INCLUDE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Status = Literal["in_progress", "completed", "incomplete"]


# --- content parts


class InputText(Closed, tag_field="type", tag="input_text"):
    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputImage(Closed, tag_field="type", tag="input_image"):
    detail: Literal["auto", "low", "high", "original"] = "auto"
    image_url: Annotated[str, msgspec.Meta(pattern="^(https?://|data:image/(png|jpeg|webp|gif);base64,)")] | None = None
    file_id: str | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputFile(Closed, tag_field="type", tag="input_file"):
    file_id: str | None = None
    file_url: str | None = None
    file_data: Annotated[str, msgspec.Meta(pattern="^data:[^;,]+;base64,")] | None = None
    filename: str | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class OutputText(Closed, tag_field="type", tag="output_text"):
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[Any] | None = None


class Refusal(Closed, tag_field="type", tag="refusal"):
    refusal: str


InputPart = InputText | InputImage | InputFile
OutputPart = OutputText | Refusal


# --- items


class Message(Closed):
    """A message of any role. What the model said is plain text, or, with its id, the item that it was."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    type: Literal["message"] = "message"
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class SummaryText(Closed, tag_field="type", tag="summary_text"):
    text: str


class ReasoningText(Closed, tag_field="type", tag="reasoning_text"):
    text: str


class Reasoning(Closed):
    type: Literal["reasoning"]
    id: str
    summary: list[SummaryText]
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class FunctionCall(Closed):
    type: Literal["function_call"]
    call_id: Id
    name: Name
    arguments: str
    id: str | None = None
    status: Status | None = None
    namespace: str | None = None
    caller: dict[str, Any] | None = None


class CustomCall(Closed):
    type: Literal["custom_tool_call"]
    call_id: Id
    name: Name
    input: str
    id: str | None = None
    namespace: str | None = None
    caller: dict[str, Any] | None = None


class CallOutput(Closed):
    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: Id
    output: str | list[InputPart]
    id: str | None = None
    status: Status | None = None
    caller: dict[str, Any] | None = None


Item = Message | Reasoning | FunctionCall | CustomCall | CallOutput
_KINDS: dict[str, type[Closed]] = {
    "message": Message,
    "reasoning": Reasoning,
    "function_call": FunctionCall,
    "custom_tool_call": CustomCall,
    "function_call_output": CallOutput,
    "custom_tool_call_output": CallOutput,
}
_ANSWERS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
_CALLER_ANSWERS = {
    "computer_call": "computer_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
_NEED_ID = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "local_shell_call",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
)
_PASSED = (
    *_NEED_ID,
    *_CALLER_ANSWERS,
    *_CALLER_ANSWERS.values(),
    *("tool_search_call", "tool_search_output", "compaction", "compaction_trigger", "mcp_approval_response"),
    *("item_reference", "additional_tools", "program", "program_output"),
)


def check(body: dict[str, Any]) -> list[Problem]:
    """The problems of a request body for POST /v1/responses; none if the list is empty."""
    problems: list[Problem] = [Problem(name, "Unknown parameter") for name in body if name not in _FIELDS]
    _check_settings(body, problems)
    _check_formats(body, problems)
    _check_tools(body, problems)
    raw: Any = body.get("input")
    if isinstance(raw, str):
        return problems
    if raw != as_list(raw):
        problems.append(Problem("input", "must be a string or an array of items"))
    items = as_list(raw)
    _check_items(items, problems)
    if body.get("previous_response_id") is None and body.get("conversation") is None:
        _check_pairing(items, problems)
    _check_reasoning(items, body.get("store") is False, problems)
    return problems


# --- settings


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append(Problem("model", "Missing required parameter"))
    number_in(body, "temperature", 0, 2, problems)
    number_in(body, "top_p", 0, 1, problems)
    number_in(body, "top_logprobs", 0, 20, problems)
    for name in ("stream", "store", "parallel_tool_calls", "background"):
        one_of(body, name, (True, False), problems)
    one_of(body, "truncation", ("auto", "disabled"), problems)
    for name, least in (("max_output_tokens", MIN_OUTPUT_TOKENS), ("max_tool_calls", 1)):
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            problems.append(Problem(name, f"must be a whole number of at least {least}, not {value!r}"))
    if body.get("instructions") is not None and not isinstance(body["instructions"], str):
        problems.append(Problem("instructions", "must be a string"))
    unknown = [v for v in as_list(body.get("include")) if v not in _INCLUDE]
    problems += [Problem("include", f"unknown value {v!r}") for v in unknown]
    if body.get("stream_options") is not None and body.get("stream") is not True:
        problems.append(Problem("stream_options", "is only allowed when stream is enabled"))
    if len(as_object(body.get("metadata"))) > 16:
        problems.append(Problem("metadata", "at most 16 keys"))


def _check_formats(body: dict[str, Any], problems: list[Problem]) -> None:
    reasoning, text = as_object(body.get("reasoning")), as_object(body.get("text"))
    one_of(reasoning, "effort", _EFFORTS, problems)
    one_of(reasoning, "summary", ("auto", "concise", "detailed"), problems)
    one_of(text, "verbosity", ("low", "medium", "high"), problems)
    known = {
        "reasoning": ("effort", "summary", "generate_summary", "context", "mode"),
        "text": ("format", "verbosity"),
    }
    for name, fields in known.items():
        problems += [Problem(f"{name}.{f}", "Unknown parameter") for f in as_object(body.get(name)) if f not in fields]
    form = text.get("format")
    if form is None:
        return
    fields = as_object(form)
    if fields.get("type") == "json_schema":
        read(fields, _JsonSchema, "text.format", problems)
        if fields.get("strict") is True:
            _check_strict(as_object(fields.get("schema")), "text.format.schema", problems)
    elif fields.get("type") not in ("text", "json_object"):
        problems.append(Problem("text.format.type", f"unknown value {fields.get('type')!r}"))


class _JsonSchema(Closed):
    type: Literal["json_schema"]
    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class _FunctionTool(Closed):
    """`strict` may be null and may not be missing: then the API would make the schema strict by itself."""

    type: Literal["function"]
    name: Name
    parameters: dict[str, Any] | None
    strict: bool | None
    description: str | None = None
    defer_loading: bool | None = None


def _check_tools(body: dict[str, Any], problems: list[Problem]) -> None:
    tools = as_list(body.get("tools"))
    if len(tools) > MAX_TOOLS:
        problems.append(Problem("tools", f"at most {MAX_TOOLS} tools, not {len(tools)}"))
    names: list[str] = []
    for i, raw in enumerate(tools):
        where = f"tools[{i}]"
        if not isinstance(as_object(raw).get("type"), str):
            problems.append(Problem(f"{where}.type", "Missing required parameter"))
        elif raw["type"] == "function" and (tool := read(raw, _FunctionTool, where, problems)) is not None:
            names.append(tool.name)
            schema = tool.parameters or {}
            if schema and schema.get("type") != "object":
                problems.append(Problem(f"{where}.parameters", f"must have type 'object', not {schema.get('type')!r}"))
            if tool.strict:
                _check_strict(schema, f"{where}.parameters", problems)
    problems += [Problem("tools", f"tool names must be unique: {name}") for name in repeats(names)]
    choice = body.get("tool_choice")
    if choice is None or choice in ("auto", "none"):
        return
    if not tools:
        problems.append(Problem("tool_choice", "must be auto or none when there are no tools"))
    elif as_object(choice).get("type") == "function":
        if as_object(choice).get("name") not in names:
            problems.append(Problem("tool_choice", f"no tool is called {as_object(choice).get('name')!r}"))
    elif choice != "required" and not isinstance(as_object(choice).get("type"), str):
        problems.append(Problem("tool_choice", f"unknown value {choice!r}"))


def _check_strict(schema: dict[str, Any], where: str, problems: list[Problem]) -> None:
    properties = schema.get("properties", {})
    if not is_object(properties):
        problems.append(Problem(f"{where}.properties", "must be an object"))
    if schema.get("additionalProperties") is not False:
        problems.append(Problem(where, "strict needs additionalProperties to be false"))
    missing = [name for name in as_object(properties) if name not in as_list(schema.get("required"))]
    if missing:
        problems.append(Problem(where, f"strict needs all properties in required: {', '.join(missing)}"))


# --- items


def _check_items(items: list[Any], problems: list[Problem]) -> None:
    for i, raw in enumerate(items):
        where, kind = f"input[{i}]", _kind(raw)
        if kind in _PASSED:
            if kind in _NEED_ID and not as_object(raw).get("id"):
                problems.append(Problem(f"{where}.id", "Missing required parameter"))
        elif kind not in _KINDS:
            problems.append(Problem(f"{where}.type", f"unknown value {kind!r}"))
        elif isinstance(item := read(raw, _KINDS[kind], where, problems), Message):
            _check_message(item, where, problems)
        elif isinstance(item, CallOutput) and not isinstance(item.output, str):
            _check_parts(item.output, f"{where}.output", problems)


def _kind(raw: object) -> str:
    """An item's type; messages may leave it out."""
    fields = as_object(raw)
    kind = fields.get("type", "message" if "role" in fields else None)
    return kind if isinstance(kind, str) else ""


def _check_message(message: Message, where: str, problems: list[Problem]) -> None:
    if isinstance(message.content, str):
        if not message.content.strip():
            problems.append(Problem(f"{where}.content", "must not be blank"))
        if message.id is not None:
            problems.append(Problem(f"{where}.content", "of a message with an id must be an array of its parts"))
        return
    if message.role == "assistant":
        if message.id is None or message.status is None:
            problems.append(Problem(where, "what the model said is text, or an item with its id and status"))
        read(message.content, list[OutputPart], f"{where}.content", problems)
    else:
        if message.phase is not None:
            problems.append(Problem(f"{where}.phase", "is for what the assistant said"))
        parts = read(message.content, list[InputPart], f"{where}.content", problems)
        _check_parts(parts or [], f"{where}.content", problems)
    if not message.content:
        problems.append(Problem(f"{where}.content", "must be a string or an array with at least one part"))


def _check_parts(parts: list[InputPart], where: str, problems: list[Problem]) -> None:
    for n, part in enumerate(parts):
        at = f"{where}[{n}]"
        if isinstance(part, InputText):
            if not part.text.strip():
                problems.append(Problem(f"{at}.text", "must not be blank"))
            continue
        given = [part.image_url] if isinstance(part, InputImage) else [part.file_url, part.file_data]
        if sum(v is not None for v in [*given, part.file_id]) != 1:
            problems.append(Problem(at, "needs exactly one of a URL, a file id and data"))
        inline = [v.partition(",")[2] for v in given if v is not None and v.startswith("data:")]
        if any(not decoded_size(data) for data in inline):
            problems.append(Problem(at, "a data URL must carry base64 and not be empty"))


def _check_pairing(items: list[Any], problems: list[Problem]) -> None:
    """Each call is answered once, by an item of the right kind after it and before anybody else speaks; nothing else is answered."""
    asked: dict[str, str] = {}
    owed: dict[str, str] = {}
    for i, raw in enumerate(items):
        where, kind, id = f"input[{i}]", _kind(raw), as_object(raw).get("call_id")
        if kind in ("function_call", "custom_tool_call"):
            if id in asked:
                problems.append(Problem(f"{where}.call_id", f"Duplicate item found with call id {id!r}"))
            asked[str(id)] = owed[str(id)] = kind
        elif kind in _ANSWERS:
            if owed.pop(str(id), None) != _ANSWERS[kind]:
                problems.append(Problem(f"{where}.call_id", f"No tool call found for {kind} with call_id {id!r}"))
        elif kind == "message" and as_object(raw).get("role") != "assistant":
            problems += [Problem(where, f"No tool output found for {k} {c}") for c, k in owed.items()]
            owed.clear()
    problems += [Problem("input", f"No tool output found for {k} {c}") for c, k in owed.items()]
    answers = {(_kind(i), as_object(i).get("call_id")) for i in items}
    for i, raw in enumerate(items):
        wanted = _CALLER_ANSWERS.get(_kind(raw))
        if wanted and (wanted, as_object(raw).get("call_id")) not in answers:
            problems.append(Problem(f"input[{i}]", f"No tool output found for {_kind(raw)}"))


def _check_reasoning(items: list[Any], is_stateless: bool, problems: list[Problem]) -> None:
    for i, raw in enumerate(items):
        if _kind(raw) != "reasoning":
            continue
        fields = as_object(raw)
        after = next((n for n in items[i + 1 :] if _kind(n) != "reasoning"), None)
        if after is None or _kind(after) in _ANSWERS or as_object(after).get("role", "assistant") != "assistant":
            what = f"Item {fields.get('id')!r} of type 'reasoning' was provided without its required following item"
            problems.append(Problem(f"input[{i}]", what))
        if is_stateless and not fields.get("encrypted_content") and not fields.get("content"):
            problems.append(Problem(f"input[{i}]", f"Item with id {fields.get('id')!r} not found: nothing is stored"))
