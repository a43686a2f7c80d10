"""The rules of OpenAI's Chat Completions API that a request must keep.

Sources: platform.openai.com/docs/api-reference/chat/create (fields, ranges, 128 tools, names, stop sequences), function calling
(a result per call, right after the calls), and the API's own refusals (call ids up to 40 characters). Arguments of calls
need not be JSON: the API says itself that a model may write invalid JSON. Assistant messages may carry the reasoning
fields of compatible hosts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

MAX_TOOLS = 128
MAX_STOP_SEQUENCES = 4
MAX_IMAGES = 500
MAX_IMAGE_BYTES_TOTAL = 50 * 1024 * 1024
NAME = r"^[a-zA-Z0-9_-]{1,64}$"

_NAMES = (
    "model messages stream stream_options tools tool_choice parallel_tool_calls temperature top_p n stop max_tokens"
    " max_completion_tokens presence_penalty frequency_penalty logit_bias logprobs top_logprobs user seed response_format"
    " service_tier store metadata modalities audio prediction reasoning_effort verbosity web_search_options functions"
    " function_call prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier moderation"
)
_FIELDS = frozenset(_NAMES.split())
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Text(Closed):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Any = None


class Refusal(Closed):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Closed):
    url: Annotated[str, msgspec.Meta(pattern="^(https?://|data:image/)")]
    detail: Literal["auto", "low", "high", "original"] = "auto"


class Image(Closed):
    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: Any = None


class AudioData(Closed):
    data: str
    format: Literal["wav", "mp3"]


class Audio(Closed):
    type: Literal["input_audio"]
    input_audio: AudioData
    prompt_cache_breakpoint: Any = None


class File(Closed):
    type: Literal["file"]
    file: dict[str, Any]
    prompt_cache_breakpoint: Any = None


class Function(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    arguments: str


class Call(Closed):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    function: Function | None = None
    type: Literal["function", "custom"] = "function"
    custom: dict[str, Any] | None = None


Content = str | list[dict[str, Any]]


class System(Closed, tag_field="role", tag="system"):
    content: Content
    name: str | None = None


class Developer(Closed, tag_field="role", tag="developer"):
    content: Content
    name: str | None = None


class User(Closed, tag_field="role", tag="user"):
    content: Content
    name: str | None = None


class Assistant(Closed, tag_field="role", tag="assistant"):
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    annotations: list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None


class ToolAnswer(Closed, tag_field="role", tag="tool"):
    tool_call_id: str
    content: Content
    name: str | None = None


class FunctionAnswer(Closed, tag_field="role", tag="function"):
    name: str
    content: str | None


Message = System | Developer | User | Assistant | ToolAnswer | FunctionAnswer
_PARTS: dict[str, type[Closed]] = {
    "text": Text,
    "refusal": Refusal,
    "image_url": Image,
    "input_audio": Audio,
    "file": File,
}


class FunctionTool(Closed):
    name: Annotated[str, msgspec.Meta(pattern=NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Closed):
    type: Literal["function", "custom"]
    function: FunctionTool | None = None
    custom: dict[str, Any] | None = None


def check(body: dict[str, Any]) -> list[Problem]:
    """The problems of a request body for POST /v1/chat/completions; none if the list is empty."""
    problems: list[Problem] = [Problem(name, "Unknown parameter") for name in body if name not in _FIELDS]
    _check_settings(body, problems)
    _check_limits(body, problems)
    _check_tools(body, problems)
    messages = _read_messages(body, problems)
    _check_pairing(messages, problems)
    _check_images(messages, problems)
    return problems


# --- settings and tools


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append(Problem("model", "you must provide a model parameter"))
    number_in(body, "temperature", 0, 2, problems)
    number_in(body, "top_p", 0, 1, problems)
    number_in(body, "presence_penalty", -2, 2, problems)
    number_in(body, "frequency_penalty", -2, 2, problems)
    number_in(body, "n", 1, 128, problems)
    number_in(body, "top_logprobs", 0, 20, problems)
    one_of(body, "stream", (True, False), problems)
    one_of(body, "reasoning_effort", _EFFORTS, problems)
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        problems.append(Problem("top_logprobs", "needs logprobs to be true"))
    if body.get("stream_options") is not None and body.get("stream") is not True:
        problems.append(Problem("stream_options", "is only allowed when stream is enabled"))
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        problems.append(Problem("seed", f"must be an integer, not {seed!r}"))
    stop = body.get("stop")
    stops = read([stop] if isinstance(stop, str) else stop or [], list[str], "stop", problems) or []
    if len(stops) > MAX_STOP_SEQUENCES:
        problems.append(Problem("stop", f"at most {MAX_STOP_SEQUENCES} sequences, not {len(stops)}"))


def _check_limits(body: dict[str, Any], problems: list[Problem]) -> None:
    given = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    if len(given) == 2:
        problems.append(Problem("max_tokens", "cannot be set together with max_completion_tokens"))
    problems += [
        Problem(name, f"must be a whole number of at least 1, not {body[name]!r}")
        for name in given
        if isinstance(body[name], bool) or not isinstance(body[name], int) or body[name] < 1
    ]
    if len(as_object(body.get("metadata"))) > 16:
        problems.append(Problem("metadata", "at most 16 keys"))


def _check_tools(body: dict[str, Any], problems: list[Problem]) -> None:
    raw_tools = body.get("tools")
    tools = as_list(raw_tools)
    if raw_tools is not None and not tools:
        problems.append(Problem("tools", "must be an array with at least one tool; leave it out if there is none"))
    if len(tools) > MAX_TOOLS:
        problems.append(Problem("tools", f"at most {MAX_TOOLS} tools, not {len(tools)}"))
    names: list[str] = []
    for i, raw in enumerate(tools):
        tool = read(raw, Tool, f"tools[{i}]", problems)
        if tool is None or tool.type == "custom":
            continue
        if tool.function is None:
            problems.append(Problem(f"tools[{i}].function", "Missing required parameter"))
            continue
        names.append(tool.function.name)
        _check_schema(tool.function, f"tools[{i}].function", problems)
    problems += [Problem("tools", f"tool names must be unique: {name}") for name in repeats(names)]
    if not tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None and body[name] != "none":
                problems.append(Problem(name, "is only allowed when tools are specified"))
        return
    _check_choice(body.get("tool_choice"), names, problems)


def _check_choice(choice: object, names: list[str], problems: list[Problem]) -> None:
    if choice is None or choice in ("auto", "none", "required"):
        return
    kind = as_object(choice).get("type")
    if kind == "function":
        name = as_object(as_object(choice).get("function")).get("name")
        if name not in names:
            problems.append(Problem("tool_choice", f"no tool is called {name!r}"))
    elif kind not in ("allowed_tools", "custom"):
        problems.append(Problem("tool_choice", f"unknown value {choice!r}"))


def _check_schema(function: FunctionTool, where: str, problems: list[Problem]) -> None:
    schema = function.parameters
    if schema is None:
        return
    if schema.get("type") != "object":
        problems.append(Problem(f"{where}.parameters", f"schema must have type 'object', not {schema.get('type')!r}"))
    properties = schema.get("properties", {})
    if not is_object(properties):
        problems.append(Problem(f"{where}.parameters.properties", "must be an object"))
    if function.strict:
        if schema.get("additionalProperties") is not False:
            problems.append(Problem(f"{where}.parameters", "strict needs additionalProperties to be false"))
        missing = [name for name in as_object(properties) if name not in as_list(schema.get("required"))]
        if missing:
            problems.append(
                Problem(f"{where}.parameters", f"strict needs all properties in required: {', '.join(missing)}")
            )


# --- messages


def _read_messages(body: dict[str, Any], problems: list[Problem]) -> list[Message | None]:
    """All messages; what is malformed is reported and None."""
    raw_messages = as_list(body.get("messages"))
    if not raw_messages:
        problems.append(Problem("messages", "must be an array with at least one message"))
    messages: list[Message | None] = []
    for i, raw in enumerate(raw_messages):
        where = f"messages[{i}]"
        message: Message | None = read(raw, Message, where, problems)  # type: ignore[arg-type]
        messages.append(message)
        if message is None:
            continue
        _check_content(message, where, problems)
        if isinstance(message, Assistant):
            _check_assistant(message, where, problems)
    return messages


def _check_content(message: Message, where: str, problems: list[Problem]) -> None:
    content = message.content
    if not isinstance(content, list):
        return
    if not content:
        problems.append(Problem(f"{where}.content", "must be a string or an array with at least one part"))
    if isinstance(message, User):
        allowed = ("text", "image_url", "input_audio", "file")
    else:
        allowed = ("text", "refusal") if isinstance(message, Assistant) else ("text",)
    for n, raw in enumerate(content):
        at = f"{where}.content[{n}]"
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in allowed:
            problems.append(Problem(at, f"parts here are {' or '.join(allowed)}, not {kind!r}"))
            continue
        part = read(raw, _PARTS[kind], at, problems)
        if isinstance(part, Image) and part.image_url.url.startswith("data:"):
            head, _, data = part.image_url.url.partition(",")
            if not head.endswith(";base64") or not decoded_size(data):
                problems.append(Problem(f"{at}.image_url.url", "a data URL must carry base64 and not be empty"))


def _check_assistant(message: Assistant, where: str, problems: list[Problem]) -> None:
    calls = message.tool_calls
    if calls == []:
        problems.append(Problem(f"{where}.tool_calls", "must not be empty; leave it out if there is none"))
    if message.content is None and not (calls or message.function_call or message.refusal or message.audio):
        problems.append(Problem(f"{where}.content", "is required unless there are tool_calls"))
    for n, call in enumerate(calls or []):
        if (call.function if call.type == "function" else call.custom) is None:
            problems.append(Problem(f"{where}.tool_calls[{n}].{call.type}", "Missing required parameter"))
    problems += [
        Problem(f"{where}.tool_calls", f"call ids must be unique: {id}") for id in repeats([c.id for c in calls or []])
    ]


def _check_pairing(messages: list[Message | None], problems: list[Problem]) -> None:
    """Each call is answered once, by tool messages right after it; nothing else is answered."""
    asked: list[str] = []
    answered: list[str] = []

    def settle(where: str) -> None:
        unanswered = [id for id in asked if id not in answered]
        if unanswered:
            what = (
                f"tool_calls must be followed by tool messages for each tool_call_id; missing: {', '.join(unanswered)}"
            )
            problems.append(Problem(where, what))

    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, ToolAnswer):
            settle(where)
            asked, answered = [], []
            if isinstance(message, Assistant):
                asked = [c.id for c in message.tool_calls or []]
            continue
        id = message.tool_call_id
        if not asked:
            problems.append(Problem(f"{where}.role", "a tool message must follow a message with tool_calls"))
        elif id not in asked:
            problems.append(
                Problem(f"{where}.tool_call_id", f"{id!r} is not among the tool_calls of the previous message")
            )
        elif id in answered:
            problems.append(Problem(f"{where}.tool_call_id", f"{id!r} is answered twice"))
        answered.append(id)
    settle("messages")


def _check_images(messages: list[Message | None], problems: list[Problem]) -> None:
    urls: list[str] = []
    for message in messages:
        content: Any = message.content if isinstance(message, User) else None
        urls += [
            str(as_object(as_object(p).get("image_url")).get("url", "")) for p in as_list(content) if "image_url" in p
        ]
    size = sum([len(url) * 3 // 4 for url in urls if url.startswith("data:")])
    if len(urls) > MAX_IMAGES:
        problems.append(Problem("messages", f"at most {MAX_IMAGES} images, not {len(urls)}"))
    if size > MAX_IMAGE_BYTES_TOTAL:
        problems.append(Problem("messages", f"images have at most 50 MB together, these about {size} bytes"))
